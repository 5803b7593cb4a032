"""Everything that moves stock, at the same moment and on the same orders, in an installation that reserves when orders
are placed. Afterwards each line has as much reserved as it needs, none of a canceled order has any, what is missing is
what left and did not come back, and nothing was sold that is not there.

`STOCK_OPERATIONS` sets how many operations there are in all, `STOCK_SEED` which ones.
"""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from services.chassis.keys import SETTINGS
from tests.support.client import Client
from tests.support.factories.swaps import customer
from tests.support.factories.warehouses import Warehouse, make_warehouse
from tests.support.invariants import check_stock
from tests.support.stack import Stack
from tests.support.waiting import until

Row = dict[str, Any]
OPERATIONS = int(os.environ.get("STOCK_OPERATIONS") or 240)
SEED = int(os.environ.get("STOCK_SEED") or 1)
AT_ONCE = 6
PIECES = 25  # of each variant at each of two locations
REFUSED = {400, 404, 409}

# Lines of what is alive, and what is left to fulfill of each.
LINES = """
select l.id, l.variant_id, l.quantity - coalesce(l.fulfilled_quantity, 0) as unfulfilled
from line_items l
left join swaps s on s.id = l.swap_id
left join claims c on c.id = l.claim_order_id
join orders o on o.id = coalesce(l.order_id, s.order_id, c.order_id)
where o.sales_channel_id = $1 and not l.is_return and o.canceled_at is null and s.canceled_at is null
    and c.canceled_at is null and (l.swap_id is null or s.confirmed_at is not null)
"""
GONE = """
select l.variant_id, sum(i.quantity)::int as quantity
from fulfillment_items i join fulfillments f on f.id = i.fulfillment_id join line_items l on l.id = i.item_id
where f.canceled_at is null and f.location_id = any($1) group by 1
"""
BACK = """
select l.variant_id, sum(i.received_quantity)::int as quantity
from return_items i join returns r on r.id = i.return_id join line_items l on l.id = i.item_id
where r.status in ('received', 'requires_action') and r.location_id = any($1) group by 1
"""
RESERVED = """
select line_item_id, sum(quantity)::int as quantity from reservations where location_id = any($1) group by 1
"""
LEVELS = """
select v.variant_id, sum(l.stocked_quantity)::int as stocked, sum(l.reserved_quantity)::int as reserved
from inventory_levels l join variant_items v using (inventory_item_id) where l.location_id = any($1) group by 1
"""
BUSY = "select count(*) from sagas where status in ('running', 'compensating')"


class Player:
    """Does what merchants and customers do, in any order, to whichever order."""

    def __init__(self, api: Client, stack: Stack, house: Warehouse, places: list[str], chance: random.Random) -> None:
        self.api, self.visitor, self.house, self.places = api, customer(stack), house, places
        self.chance, self.orders = chance, list[str]()
        self.outcomes: Counter[tuple[str, int]] = Counter()

    @property
    def place(self) -> str:
        return self.chance.choice(self.places)

    async def post(self, what: str, path: str, body: Any = None) -> Any:
        """The answer; None when it was refused."""
        return await self.asked(what, self.api.post(path, body))

    async def asked(self, what: str, request: Awaitable[tuple[int, Any]]) -> Any:
        status, answer = await request
        self.outcomes[what, status] += 1
        assert status == 200 or status in REFUSED, (what, status, answer)
        return answer if status == 200 else None

    async def shown(self) -> Row:
        """Any order."""
        path = f"/admin/orders/{self.chance.choice(self.orders)}"
        query = {"expand": "items,fulfillments.items,returns.items,edits,claims.additional_items,claims.fulfillments,"
                 "swaps.additional_items,swaps.fulfillments"}  # fmt: skip
        order: Row = (await self.api.ok("GET", path, query=query))["order"]
        return order

    async def order(self) -> None:
        shop, few = self.house.shop, self.chance.randint
        wanted = [(shop.small, few(1, 4)), (shop.large, few(0, 3)), (shop.small, few(0, 1))]
        body = shop.draft(items=[{"variant_id": variant, "quantity": n} for variant, n in wanted if n])
        draft = (await self.api.ok("POST", "/admin/draft-orders", body))["draft_order"]["id"]
        placed = await self.post("place", f"/admin/draft-orders/{draft}/pay")
        if placed:
            self.orders.append(placed["order"]["id"])

    async def cancel(self) -> None:
        await self.post("cancel", f"/admin/orders/{(await self.shown())['id']}/cancel")

    async def fulfill(self) -> None:
        order = await self.shown()
        items = [
            {"item_id": line["id"], "quantity": self.chance.randint(1, left)}
            for line in self.chance.sample(order["items"], k=min(len(order["items"]), self.chance.randint(1, 2)))
            if (left := line["quantity"] - (line["fulfilled_quantity"] or 0)) > 0
        ]
        if items:
            path = f"/admin/orders/{order['id']}/fulfillment"
            await self.post("fulfill", path, {"items": items, "location_id": self.place})

    async def cancel_fulfillment(self) -> None:
        order = await self.shown()
        if fulfillments := [
            fulfillment["id"] for fulfillment in order["fulfillments"] if not fulfillment["canceled_at"]
        ]:
            path = f"/admin/orders/{order['id']}/fulfillments/{self.chance.choice(fulfillments)}/cancel"
            await self.post("cancel fulfillment", path)

    async def ship(self) -> None:
        order = await self.shown()
        if fulfillments := [
            fulfillment["id"] for fulfillment in order["fulfillments"] if not fulfillment["canceled_at"]
        ]:
            body = {"fulfillment_id": self.chance.choice(fulfillments)}
            await self.post("ship", f"/admin/orders/{order['id']}/shipment", body)

    async def send_back(self) -> None:
        order = await self.shown()
        if lines := [line for line in order["items"] if line["shipped_quantity"]]:
            items = [{"item_id": self.chance.choice(lines)["id"], "quantity": 1}]
            body = {"items": items, "refund": 0, "receive_now": self.chance.random() < 0.5, "location_id": self.place}
            await self.post("return", f"/admin/orders/{order['id']}/return", body)

    async def receive(self) -> None:
        order = await self.shown()
        if returned := [row for row in order["returns"] if row["status"] == "requested"]:
            row = self.chance.choice(returned)
            items = [{"item_id": item["item_id"], "quantity": item["quantity"]} for item in row["items"]]
            body = {"items": items, "location_id": self.place}
            await self.post("receive", f"/admin/returns/{row['id']}/receive", body)

    async def edit(self) -> None:
        order = await self.shown()
        edits = [edit["id"] for edit in order["edits"] if edit["status"] in ("created", "requested")]
        begun = None if edits else await self.post("edit", "/admin/order-edits", {"order_id": order["id"]})
        if not (begun or edits):
            return
        path = f"/admin/order-edits/{begun['order_edit']['id'] if begun else self.chance.choice(edits)}"
        if begun and begun["order_edit"]["items"]:
            lines, shop = begun["order_edit"]["items"], self.house.shop
            line, quantity = self.chance.choice(lines), self.chance.randint(1, 6)
            await self.post("resize", f"{path}/items/{line['id']}", {"quantity": quantity})
            if self.chance.random() < 0.3:
                await self.post("add", f"{path}/items", {"variant_id": shop.large, "quantity": quantity})
            if self.chance.random() < 0.3:
                other = self.chance.choice(lines)["id"]
                await self.asked("remove", self.api.delete(f"{path}/items/{other}"))
        await self.post("confirm", f"{path}/{'confirm' if self.chance.random() < 0.9 else 'cancel'}")

    async def claim(self) -> None:
        order = await self.shown()
        if lines := [line for line in order["items"] if line["fulfilled_quantity"]]:
            shop = self.house.shop
            body = {
                "type": "replace",
                "claim_items": [{"item_id": self.chance.choice(lines)["id"], "quantity": 1, "reason": "other"}],
                "additional_items": [{"variant_id": shop.small, "quantity": self.chance.randint(1, 3)}],
                "shipping_methods": [{"option_id": shop.shipping_option, "price": 0}],
            }
            await self.post("claim", f"/admin/orders/{order['id']}/claims", body)

    async def further(self) -> None:
        """Fulfill one of the order's claims or swaps."""
        order = await self.shown()
        owners = [("claims", row) for row in order["claims"]] + [("swaps", row) for row in order["swaps"]]
        if not owners:
            return
        kind, row = self.chance.choice(owners)
        path = f"/admin/orders/{order['id']}/{kind}/{row['id']}"
        fulfillments = [fulfillment["id"] for fulfillment in row["fulfillments"] if not fulfillment["canceled_at"]]
        if fulfillments:
            await self.post(
                f"cancel fulfillment of {kind}", f"{path}/fulfillments/{self.chance.choice(fulfillments)}/cancel"
            )
        elif self.chance.random() < 0.5:
            await self.post(f"fulfill {kind}", f"{path}/fulfillments", {"location_id": self.place})
        else:
            await self.post(f"cancel {kind}", f"{path}/cancel")

    async def swap(self) -> None:
        order = await self.shown()
        lines = [line for line in order["items"] if line["fulfilled_quantity"]]
        if not lines:
            return
        shop, known = self.house.shop, {swap["id"] for swap in order["swaps"]}
        body = {
            "return_items": [{"item_id": self.chance.choice(lines)["id"], "quantity": 1}],
            "additional_items": [{"variant_id": shop.large, "quantity": self.chance.randint(1, 2)}],
            "custom_shipping_options": [{"option_id": shop.shipping_option, "price": 0}],
            "return_location_id": self.place,
            "allow_backorder": False,
        }
        made = await self.post("swap", f"/admin/orders/{order['id']}/swaps", body)
        for swap in made["order"]["swaps"] if made else ():
            if swap["id"] not in known and swap["order_id"] == order["id"]:
                cart = f"/store/carts/{swap['cart_id']}"
                method = {"option_id": shop.shipping_option}
                if not await self.asked("method", self.visitor.post(f"{cart}/shipping-methods", method)):
                    return
                await self.asked("session", self.visitor.post(f"{cart}/payment-sessions"))
                await self.asked("complete", self.visitor.post(f"{cart}/complete"))
                return

    async def reserve(self) -> None:
        order = await self.shown()
        if not order["items"]:
            return
        line, body = self.chance.choice(order["items"]), {"location_id": self.place, "quantity": 1}
        if self.chance.random() < 0.5:
            await self.post("reserve", f"/admin/orders/{order['id']}/line-items/{line['id']}/reserve", body)
        else:
            body |= {"inventory_item_id": self.house.items[line["variant_id"]], "line_item_id": line["id"]}
            await self.post("by hand", "/admin/reservations", body)

    async def unreserve(self) -> None:
        path = f"/admin/orders/{self.chance.choice(self.orders)}/reservations"
        if rows := (await self.api.ok("GET", path))["reservations"]:
            row = self.chance.choice(rows)
            await self.asked("unreserve", self.api.delete(f"/admin/reservations/{row['id']}"))

    async def play(self, left: list[None], what: Sequence[Callable[[], Awaitable[None]]]) -> None:
        while left:
            left.pop()
            await (self.chance.choice(what) if len(self.orders) > 3 else self.order)()


@pytest.fixture
async def house(api: Client) -> Warehouse:
    return await make_warehouse(api, PIECES)


@pytest.fixture
async def places(api: Client, house: Warehouse) -> list[str]:
    """Two locations that stock both variants."""
    other: str = (await api.ok("POST", "/admin/stock-locations", {"name": "Other"}))["stock_location"]["id"]
    path = f"/admin/sales-channels/{house.shop.channel}/stock-locations"
    await api.ok("POST", path, {"location_id": other})
    body = {"location_id": other, "stocked_quantity": PIECES}
    for item in house.items.values():
        await api.ok("POST", f"/admin/inventory-items/{item}/location-levels", body)
    return [house.location, other]


@pytest.mark.parametrize("by_hand", [False, True])
async def test_nothing_is_lost_or_sold_twice(
    api: Client,
    stack: Stack,
    house: Warehouse,
    places: list[str],
    monkeypatch: pytest.MonkeyPatch,
    by_hand: bool,
) -> None:
    """`by_hand`: merchants also make and delete reservations themselves."""
    monkeypatch.setattr(stack.apps["orders"][SETTINGS], "reserve_stock", "on_placement")
    player = Player(api, stack, house, places, random.Random(SEED))
    p = player
    what = [p.order, p.cancel, p.fulfill, p.fulfill, p.fulfill, p.cancel_fulfillment, p.ship, p.ship, p.send_back,
            p.receive, p.edit, p.edit, p.claim, p.further, p.further, p.swap]  # fmt: skip
    what += [p.reserve, p.unreserve] if by_hand else []
    left = [None] * (OPERATIONS // 2)
    await asyncio.gather(*(player.play(left, what) for _ in range(AT_ONCE)))

    async def at_rest() -> bool:
        return not await stack.pool("orders").fetchval(BUSY)

    await until(at_rest)
    assert player.outcomes["place", 200] and player.outcomes["fulfill", 200] and player.outcomes["confirm", 200]
    await check_stock(stack)
    orders, inventory = stack.pool("orders"), stack.pool("inventory")
    lines = {
        row["id"]: row for row in await orders.fetch(LINES, house.shop.channel) if row["variant_id"] in house.items
    }
    reserved = {row["line_item_id"]: row["quantity"] for row in await inventory.fetch(RESERVED, places)}
    assert reserved.keys() <= lines.keys(), "reserved for lines that are no more"
    needed = {id_: row["unfulfilled"] for id_, row in lines.items()}
    assert not {id_: (n, needed[id_]) for id_, n in reserved.items() if n > needed[id_]}, "more than is needed"
    if not by_hand:
        assert reserved == {id_: n for id_, n in needed.items() if n}, "less than is needed"
    out = {row["variant_id"]: row["quantity"] for row in await orders.fetch(GONE, places)}
    back = {row["variant_id"]: row["quantity"] for row in await orders.fetch(BACK, places)}
    for row in await inventory.fetch(LEVELS, places):
        variant = row["variant_id"]
        assert row["stocked"] == 2 * PIECES - out.get(variant, 0) + back.get(variant, 0), "lost, or made of nothing"
        if not by_hand:
            assert row["reserved"] <= row["stocked"], "sold twice"
