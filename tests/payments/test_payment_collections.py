"""Payment collections over HTTP and by command: what edits of orders ask for."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aio_pika
import orjson
import pytest

from services.chassis.errors import ApiError
from services.chassis.ids import new_id
from tests.support.client import Client
from tests.support.commands import Ask
from tests.support.factories.shops import Shop, set_up
from tests.support.stack import Stack
from tests.support.waiting import until

Row = dict[str, Any]
Collected = Callable[..., Awaitable[Row]]


@pytest.fixture
async def shop(api: Client) -> Shop:
    return await set_up(api)


@pytest.fixture
async def collection_events(stack: Stack) -> AsyncIterator[list[Row]]:
    """Events about payment collections, as they come."""
    events: list[Row] = []
    connection = await aio_pika.connect(stack.rabbitmq_url)
    async with connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(f"{stack.namespace}.events", "payment-collection.#")

        async def note(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            events.append(orjson.loads(message.body))

        await queue.consume(note, no_ack=True)
        yield events


@pytest.fixture
def collected(ask: Ask, shop: Shop) -> Collected:
    """`await collected(amount=3000)`: a fresh collection, as orders has it made."""

    async def make(**more: Any) -> Row:
        body = {
            "payment_collection_id": new_id("paycol"),
            "order_edit_id": new_id("oe"),
            "amount": 3000,
            "currency_code": "eur",
            "region_id": shop.region,
            "description": "First wording",
            "created_by": "usr_test",
        } | more
        reply = await ask("create_collection", body, key=f"{body['payment_collection_id']}:create")
        assert await ask("create_collection", body, key=f"{body['payment_collection_id']}:create") == reply
        [document] = reply["copies"]["payment_collection"]
        assert (document["id"], document["sequence"]) == (body["payment_collection_id"], 1)
        made: Row = document["body"]
        return made

    return make


def path_of(collection: Row, *more: str) -> str:
    return "/".join(("/admin/payment-collections", collection["id"], *more))


async def shown(api: Client, collection: Row) -> Row:
    """All columns."""
    found: Row = (await api.ok("POST", path_of(collection), {}))["payment_collection"]
    return found


async def copies(stack: Stack, collection: Row) -> Any:
    """(status, description, whether it is gone), as orders shows it with an edit."""
    row = await stack.pool("orders").fetchrow(
        "select body ->> 'status' as status, body ->> 'description' as description, body is null as gone "
        "from copies where kind = 'payment_collection' and id = $1",
        collection["id"],
    )
    return row and tuple(row)


async def test_a_collection_is_shown(api: Client, shop: Shop, collected: Collected) -> None:
    made = await collected()
    region = (await api.ok("GET", f"/admin/regions/{shop.region}", query={"expand": ""}))["region"]
    found = (await api.ok("GET", path_of(made)))["payment_collection"]
    assert found == {
        "id": made["id"],
        "type": "order_edit",
        "status": "not_paid",
        "description": "First wording",
        "amount": 3000,
        "authorized_amount": None,
        "currency_code": "eur",
        "metadata": None,
        "region": region,
        "payment_sessions": [],
        "payments": [],
    }
    narrow = {"fields": "amount,created_by", "expand": "currency,region.currency"}
    found = (await api.ok("GET", path_of(made), query=narrow))["payment_collection"]
    assert found.keys() == {"id", "amount", "created_by", "currency", "region"}
    assert (found["currency"]["code"], found["region"]["currency"]) == ("eur", found["currency"])
    assert (await api.ok("GET", path_of(made), query={"fields": "id", "expand": ""})) == {
        "payment_collection": {"id": made["id"]}
    }
    for query in ({"colour": "red"}, {"fields": "colour"}, {"expand": "colour"}):
        assert (await api.get(path_of(made), query=query))[0] == 400
    assert (await api.get(path_of(made), anonymous=True))[0] == 401


async def test_a_region_that_is_not_known_yet(api: Client, stack: Stack, shop: Shop, collected: Collected) -> None:
    made = await collected()

    async def heard() -> Any:
        return await stack.pool("payments").fetchval("delete from copies where id = $1 returning true", shop.region)

    await until(heard)
    found = (await api.ok("GET", path_of(made), query={"fields": "id", "expand": "region"}))["payment_collection"]
    assert found["region"]["id"] == shop.region


async def test_a_collection_is_described(
    api: Client, stack: Stack, collected: Collected, collection_events: list[Row]
) -> None:
    made = await collected()
    body = {"description": "Second wording", "metadata": {"a": 1, "b": 2}}
    after = (await api.ok("POST", path_of(made), body))["payment_collection"]
    assert after == made | body | {"updated_at": after["updated_at"]}
    after = (await api.ok("POST", path_of(made), {"metadata": {"b": "", "c": 3}}))["payment_collection"]
    assert (after["metadata"], after["description"]) == ({"a": 1, "c": 3}, "Second wording")
    assert await copies(stack, made) == ("not_paid", "Second wording", False)
    before = await shown(api, made)
    for wrong in ({"description": 5}, {"amount": 5}, {"metadata": "none"}, {"status": "authorized"}):
        status, answer = await api.post(path_of(made), wrong)
        assert (status, answer["type"]) == (400, "invalid_data")
    assert await shown(api, made) | {"updated_at": ""} == before | {"updated_at": ""}
    cleared = (await api.ok("POST", path_of(made), {"description": None, "metadata": None}))["payment_collection"]
    assert (cleared["description"], cleared["metadata"]) == (None, None)

    async def told() -> bool:
        return len([e for e in collection_events if e["data"].get("id") == made["id"]]) >= 5

    await until(told)
    names = [e["type"] for e in collection_events if e["data"].get("id") == made["id"]]
    assert names == ["payment-collection.created"] + ["payment-collection.updated"] * (len(names) - 1)


async def test_a_collection_is_authorized(
    api: Client, stack: Stack, collected: Collected, collection_events: list[Row]
) -> None:
    made = await collected()
    payments = await stack.pool("payments").fetchval("select count(*) from payments")
    answers = await asyncio.gather(*(api.post(path_of(made, "authorize")) for _ in range(4)))
    assert [status for status, _ in answers] == [200] * 4
    after = await shown(api, made)
    assert after == made | {"status": "authorized", "authorized_amount": 3000, "updated_at": after["updated_at"]}
    assert (await copies(stack, made))[0] == "authorized"
    status, answer = await api.delete(path_of(made))
    assert (status, answer["type"]) == (400, "not_allowed")
    assert (await shown(api, made))["deleted_at"] is None
    assert await stack.pool("payments").fetchval("select count(*) from payments") == payments

    async def told() -> bool:
        return any(e["type"] == "payment-collection.payment_authorized" for e in collection_events)

    await until(told)


async def test_a_collection_that_was_replaced_is_deleted(api: Client, stack: Stack, collected: Collected) -> None:
    first = await collected()
    # The one that its edit asks for stays.
    status, answer = await api.delete(path_of(first))
    assert (status, answer["type"]) == (400, "not_allowed")
    second = await collected(order_edit_id=await edit_of(stack, first), amount=2000)
    gone = {"id": first["id"], "object": "payment_collection", "deleted": True}
    assert await api.ok("DELETE", path_of(first)) == gone
    for method, path in (("GET", ""), ("POST", ""), ("POST", "/authorize")):
        status, answer = await api.request(method, path_of(first) + path, {} if method == "POST" else None)
        assert (status, answer["type"]) == (404, "not_found")
    assert await api.ok("DELETE", path_of(first)) == gone
    assert await copies(stack, first) == (None, None, True)
    assert (await shown(api, second))["amount"] == 2000
    assert (await api.delete(path_of(second)))[0] == 400


async def edit_of(stack: Stack, collection: Row) -> str:
    found = "select order_edit_id from payment_collections where id = $1"
    return str(await stack.pool("payments").fetchval(found, collection["id"]))


async def test_what_is_not_there(api: Client) -> None:
    missing = {"id": "paycol_missing"}
    assert (await api.get(path_of(missing)))[0] == 404
    assert (await api.post(path_of(missing), {"description": "Nobody"}))[0] == 404
    assert (await api.post(path_of(missing, "authorize")))[0] == 404
    assert await api.ok("DELETE", path_of(missing)) == {
        "id": "paycol_missing", "object": "payment_collection", "deleted": True,
    }  # fmt: skip


async def test_dropped_before_or_after_it_came(api: Client, ask: Ask, collected: Collected) -> None:
    made = await collected()
    drop = {"id": made["id"], "compensates": f"{made['id']}:create"}
    for _ in range(2):
        assert await ask("drop_collection", drop, key=f"{made['id']}:drop") == {}
    assert (await api.get(path_of(made)))[0] == 404
    late = new_id("paycol")
    compensate = {"id": late, "compensates": f"{late}:create"}
    assert await ask("drop_collection", compensate, key=f"{late}:drop") == {}
    with pytest.raises(ApiError) as refused:
        await collected(payment_collection_id=late)
    assert refused.value.status == 409
    assert (await api.get(path_of({"id": late})))[0] == 404


@pytest.mark.parametrize(
    "wrong", [{"amount": 0}, {"amount": 1.5}, {"order_edit_id": ""}, {"payment_collection_id": ""}]
)
async def test_a_command_that_makes_no_sense(collected: Collected, wrong: Row) -> None:
    with pytest.raises(ApiError) as refused:
        await collected(**wrong)
    assert (refused.value.status, refused.value.type) == (400, "invalid_data")
