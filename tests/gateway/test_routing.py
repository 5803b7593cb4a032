"""Which service answers what: what they declare, heard at the start, again, and when something is unknown."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import unquote

import pytest
from aiohttp import web

from gateway import routing
from gateway.parts import PARTS
from gateway.routing import table
from services.chassis.declared import PATH, Declarations, Declared, declarations
from services.chassis.http import ACTOR_HEADER
from tests.support import operations
from tests.support.edge import Edge, FakeService, Start, raw
from tests.support.waiting import until

Services = dict[str, FakeService]
REAL = {
    name: declarations(service.operations).operations
    for name, service in operations.services().items()
    if name != "gateway"
}
ALL = table(REAL, complete=True)
WITHOUT_PAYMENTS = table({name: of for name, of in REAL.items() if name != "payments"}, complete=False)


def service_of(known: routing.Table, path: str, method: str = "GET", *, public: bool = False) -> str | None:
    """The service that answers a path, as it was sent, if it is public as expected."""
    way = known.way(method, unquote(path), path)
    return way.service if way and way.public is public else None


@pytest.mark.parametrize(
    ("path", "service"),
    [
        ("/admin/orders", "orders"),
        ("/admin/orders/order_1/fulfillment", "orders"),
        ("/admin/orders/what/nobody/declares", "orders"),
        ("/admin/store", "catalog"),
        ("/admin/variants/variant_1", "catalog"),
        ("/admin/variants/variant_1/inventory", "inventory"),
        ("/admin/variants/variant_1/inventory/more", "inventory"),
        ("/admin/variants/variant_1/more", "catalog"),
        ("/admin/variants//inventory", "catalog"),
        ("/admin/variants/variant_1/x/inventory", "catalog"),
        ("/admin/sales-channels/sc_1/products/batch", "catalog"),
        ("/admin/sales-channels/sc_1/stock-locations", "inventory"),
        ("/admin/payment-collections/paycol_1", "payments"),
        ("/admin/gift-cards", "payments"),
        ("/admin/stock-locations/sloc_1", "inventory"),
        ("/admin/auth", None),
        ("/admin/nothing", None),
        ("/admin", None),
        ("/orders", None),
        ("//admin/orders", None),
        ("/store/orders", None),
        ("/store/uploads/x", None),
    ],
)
def test_who_answers_what_needs_credentials(path: str, service: str | None) -> None:
    assert service_of(ALL, path) == service


def test_every_declared_path_has_its_service() -> None:
    for name, declared in REAL.items():
        for each in declared:
            path = routing.PARAMETER.sub("x", each.path)
            for known in (ALL, WITHOUT_PAYMENTS):
                heard = known is ALL or name != "payments"
                assert service_of(known, path, each.method, public=each.public) == (name if heard else None), path


def test_before_all_are_heard_only_what_is_declared_is_forwarded() -> None:
    assert service_of(WITHOUT_PAYMENTS, "/admin/orders/order_1") == "orders"
    assert service_of(WITHOUT_PAYMENTS, "/admin/orders/order_1", "PUT") == "orders"
    assert service_of(WITHOUT_PAYMENTS, "/admin/orders/order_1/unheard-of") is None
    assert service_of(WITHOUT_PAYMENTS, "/admin/payments/pay_1") is None


def test_who_shares_a_path_answers_by_method() -> None:
    both = table(
        {
            "a": [Declared(method="GET", path="/x/y/{id}"), Declared(method="GET", path="/x/y/{id}/{word}/more")],
            "b": [Declared(method="POST", path="/x/y/{id}"), Declared(method="GET", path="/x/y/{id}/word")],
        },
        complete=True,
    )
    assert [service_of(both, "/x/y/1", method) for method in ("GET", "HEAD", "POST", "PUT")] == ["a", "a", "b", "a"]
    assert [service_of(both, f"/x/y/1/word{more}") for more in ("", "/more", "/else")] == ["b", "a", "b"]
    assert service_of(both, "/x/y/1/other/more") == "a"


@pytest.mark.parametrize(
    ("method", "path", "service"),
    [
        ("GET", "/store/uploads/file_01-a.png", "catalog"),
        ("HEAD", "/store/uploads/file_01-a.png", "catalog"),
        ("POST", "/store/uploads/file_01-a.png", None),
        ("GET", "/store/uploads/", None),
        ("GET", "/store/uploads/..", None),
        ("GET", "/store/uploads/.a", None),
        ("GET", "/store/uploads/_a", None),
        ("GET", "/store/uploads/a%2eb", None),
        ("GET", "/store/uploads/a%2fb", None),
        ("GET", "/store/uploads/a/b", None),
        ("GET", "/store/uploads/a/", None),
        ("GET", "/store/uploads/a\n", None),
        ("GET", "//store/uploads/a", None),
        ("GET", "/store/../store/uploads/a", None),
        ("POST", "/store/carts/cart_1/complete", "orders"),
        ("POST", "/store/carts/cart_1/complete/", None),
        ("POST", "/store/carts/cart_1/other", None),
        ("POST", "/store/carts/cart.1/complete", None),
        ("POST", "/store/carts/cart%5f1/complete", None),
        ("POST", "/store/carts/../complete", None),
        ("POST", "/store/carts//complete", None),
        ("GET", "/store/carts/cart_1/complete", None),
        ("POST", "/webhooks/stripe", "payments"),
        ("GET", "/webhooks/stripe", None),
        ("POST", "/webhooks/%73tripe", None),
        ("POST", "/webhooks/stripe/x", None),
        ("GET", "/admin/orders", None),
        ("OPTIONS", "*", None),
        ("GET", "", None),
    ],
)
def test_what_anybody_may_ask_for(method: str, path: str, service: str | None) -> None:
    assert service_of(ALL, path, method, public=True) == service


def test_a_pattern_of_its_own_does_not_open_what_is_not_plain() -> None:
    wide = table({"a": [Declared(method="GET", path="/x/{rest:.*}", public=True)]}, complete=True)
    assert service_of(wide, "/x/a/b.c", public=True) == "a"
    for path in ("/x/a/../b", "/x/%61", "/x//a", "/x/a\n"):
        assert wide.way("GET", unquote(path), path) is None


@pytest.mark.parametrize("path", ["/store/carts/cart_1/complete", "/webhooks/stripe"])
async def test_what_anybody_may_send_is_small(edge: Edge, services: Services, path: str) -> None:
    assert (await edge.post(path, data=b"x" * 262_144, anonymous=True)).status == 200
    answer = await edge.post(path, data=b"x" * 262_145, anonymous=True)
    assert (answer.status, answer.body["type"]) == (413, "invalid_data")


# Services that come and go


Newcomer = tuple[FakeService, Callable[[], Awaitable[None]], Callable[[], Awaitable[None]]]


@pytest.fixture
async def newcomer() -> AsyncIterator[Newcomer]:
    """A service on a port of its own, to start and to stop."""
    service = FakeService("orders", declared=Declarations(operations=[Declared(method="GET", path="/admin/orders")]))
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", service.answer)
    runners: list[web.AppRunner] = []
    port = 0

    async def come() -> None:
        nonlocal port
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port, reuse_address=True)
        await site.start()
        runners.append(runner)
        port = runner.addresses[0][1]
        service.url = f"http://127.0.0.1:{port}"

    async def go() -> None:
        await runners.pop().cleanup()

    await come()
    await go()  # the port is known
    yield service, come, go
    for runner in runners:
        await runner.cleanup()


async def test_the_gateway_may_start_first(start: Start, newcomer: Newcomer, uid: str) -> None:
    orders, come, go = newcomer
    edge = await start(orders_url=orders.url)
    for path in ("/admin/orders", "/admin/nothing", f"/nothing/{uid}"):
        answer = await edge.get(path)
        assert (answer.status, answer.body["type"]) == (503, "unavailable")
        assert "orders could not be reached" in answer.body["message"]
        if path.startswith("/admin"):
            assert (await edge.get(path, anonymous=True)).status == 401
    assert (await edge.get(f"/admin/products/{uid}")).status == 200
    health = await edge.get("/health", anonymous=True)
    assert (health.status, health.body["services"]["orders"]) == (503, "down")
    await come()
    # From when it is healthy requests reach it.
    assert (await edge.get("/health", anonymous=True)).status == 200
    assert (await edge.get("/admin/orders")).body["service"] == "orders"
    assert (await edge.get("/admin/nothing")).status == 404
    # What was heard stands while it is away.
    await go()
    answer = await edge.get("/admin/orders")
    assert (answer.status, answer.body["message"].startswith("The orders service cannot be reached")) == (503, True)
    assert (await edge.get("/admin/nothing")).status == 404


async def test_a_service_that_comes_up_is_heard_without_being_asked_for(start: Start, newcomer: Newcomer) -> None:
    orders, come, _ = newcomer
    edge = await start(orders_url=orders.url)
    assert (await edge.get("/admin/orders")).status == 503
    await come()

    async def heard() -> bool:
        return bool(not edge.app[PARTS].routing.missing)

    await until(heard)
    assert (await edge.get("/admin/orders")).status == 200


async def test_a_new_path_is_heard_when_it_is_first_asked_for(
    start: Start, newcomer: Newcomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders, come, go = newcomer
    await come()
    edge = await start(orders_url=orders.url)
    monkeypatch.setattr(routing, "UNKNOWN_AGAIN", 0.0)
    path, public = "/admin/parcels/p_1", "/store/parcels/p_1"
    assert (await edge.get(path)).status == 404
    await go()
    orders.declared.operations += [
        Declared(method="GET", path="/admin/parcels/{id}"),
        Declared(method="GET", path="/store/parcels/{id}", public=True),
    ]
    await come()
    assert (await edge.get(path)).status == 200
    assert (await edge.get(path, anonymous=True)).status == 401
    assert (await edge.get(public, anonymous=True)).status == 200


async def test_a_newer_service_is_heard_after_a_while(
    start: Start, newcomer: Newcomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the path leads to somebody up to now: the segment was the catalog's alone."""
    orders, come, _ = newcomer
    await come()
    monkeypatch.setattr(routing, "ASKED_AGAIN", 0.05)
    edge = await start(orders_url=orders.url)
    path = "/admin/products/prod_1/orders"
    assert (await edge.get(path)).body["service"] == "catalog"
    orders.declared.operations.append(Declared(method="GET", path="/admin/products/{id}/orders"))

    async def heard() -> bool:
        return bool((await edge.get(path)).body["service"] == "orders")

    await until(heard)


async def test_an_unknown_path_does_not_ask_for_every_reader(start: Start, services: Services) -> None:
    asked = 0

    async def counted(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        assert request.headers[ACTOR_HEADER]
        return web.Response(body=services["orders"].declared.model_dump_json(), content_type="application/json")

    edge = await start()
    assert (await edge.get("/nothing")).status == 404
    services["orders"].behaviours[PATH] = counted
    edge.app[PARTS].routing._asked.clear()
    try:
        answers = await asyncio.gather(*(edge.get("/nothing") for _ in range(20)))
    finally:
        del services["orders"].behaviours[PATH]
    assert {answer.status for answer in answers} == {404}
    assert asked == 1


async def test_a_service_that_hangs_holds_up_none_of_the_others(
    start: Start, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routing, "ANSWER_SECONDS", 60.0)
    awake = asyncio.Event()

    async def asleep(request: web.Request) -> web.Response:
        await awake.wait()
        return web.Response(body=services["orders"].declared.model_dump_json())

    services["orders"].behaviours[PATH] = asleep
    try:
        async with asyncio.timeout(30):
            edge = await start()
            assert (await edge.get("/admin/products")).status == 200
            waiting = asyncio.create_task(edge.get("/admin/orders"))
            assert (await edge.get("/admin/stock-locations")).status == 200
            assert not waiting.done()
            awake.set()
            assert (await waiting).status == 200
    finally:
        del services["orders"].behaviours[PATH]


@pytest.mark.parametrize("said", ["[]", "no", '{"operations": [{"method": "GET"}]}', "unclosed", "asleep", "404"])
async def test_what_is_no_declaration_is_not_taken_for_one(
    start: Start, services: Services, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routing, "ANSWER_SECONDS", 0.2)

    async def nonsense(request: web.Request) -> web.Response:
        if said == "asleep":
            await asyncio.sleep(1)
        if said == "404":
            raise web.HTTPNotFound
        unclosed = Declarations(operations=[Declared(method="GET", path="/x/y/{z:(}", public=True)])
        return web.Response(body=unclosed.model_dump_json() if said == "unclosed" else said)

    services["orders"].behaviours[PATH] = nonsense
    try:
        edge = await start()
        assert (await edge.get("/admin/orders")).status == 503
        assert (await edge.get("/health", anonymous=True)).body["services"]["orders"] == "unavailable"
        assert (await edge.get("/admin/products")).status == 200
    finally:
        del services["orders"].behaviours[PATH]


async def test_a_path_that_means_another_is_no_way_in(edge: Edge, services: Services) -> None:
    before = sum(len(service.seen) for service in services.values())
    for path in (
        "/store/uploads/..%2f..%2fadmin%2forders",
        "/store/carts/x%2f..%2fcomplete/complete",
        "/store//uploads/a",
    ):
        for method in ("GET", "POST"):
            answer = await raw(edge.url, f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            assert answer.split(b" ")[1] == b"404"
    assert sum(len(service.seen) for service in services.values()) == before
