"""Swaps for tests: an order of which something was sent, a swap of it, and its customer, who confirms it."""

from dataclasses import dataclass
from typing import Any

from tests.support.client import Client
from tests.support.factories.shops import Shop, place
from tests.support.factories.warehouses import Warehouse, make_warehouse
from tests.support.stack import Stack

Row = dict[str, Any]


def customer(stack: Stack) -> Client:
    """Somebody without credentials, at the gateway."""
    return Client(stack.session, stack.urls["gateway"], dict)


async def sent_order(api: Client, shop: Shop, **more: Any) -> Row:
    """An order of 2 of the small variant (and 1 of the large), 40.00 with shipping, all of it fulfilled."""
    items = [{"variant_id": shop.small, "quantity": 2}, {"variant_id": shop.large, "quantity": 1}]
    order = await place(api, shop, **{"items": items} | more)
    items = [{"item_id": line["id"], "quantity": line["quantity"]} for line in order["items"]]
    fulfilled: Row = (await api.ok("POST", f"/admin/orders/{order['id']}/fulfillment", {"items": items}))["order"]
    return fulfilled


def line_of(order: Row, variant_id: str | None) -> str:
    """Id of the order's line of that variant."""
    return str(next(line["id"] for line in order["items"] if line["variant_id"] == variant_id))


def swap_body(
    shop: Shop, order: Row, *, back: dict[str, int], new: dict[str, int], shipping: int | None = None, **more: Any
) -> Row:
    """Quantities by variant that come back, and that the customer gets; `shipping` is what sending them costs."""
    offered = [] if shipping is None else [{"option_id": shop.shipping_option, "price": shipping}]
    return {
        "return_items": [{"item_id": line_of(order, variant), "quantity": n} for variant, n in back.items()],
        "additional_items": [{"variant_id": variant, "quantity": n} for variant, n in new.items()],
        "custom_shipping_options": offered,
        **more,
    }


@dataclass
class Swapping:
    """A swap of an order, and all that can be done with it."""

    api: Client
    visitor: Client
    shop: Shop
    order: Row
    id: str
    cart: str

    @property
    def path(self) -> str:
        return f"/admin/orders/{self.order['id']}/swaps/{self.id}"

    async def shown(self) -> Row:
        swap: Row = (await self.api.ok("GET", f"/admin/swaps/{self.id}"))["swap"]
        return swap

    async def order_now(self) -> Row:
        order: Row = (await self.api.ok("GET", f"/admin/orders/{self.order['id']}"))["order"]
        return order

    async def choose(self, paying: Row | None = None) -> Row:
        """The customer chooses how it is sent, and how to pay if there is something to pay; the cart after it."""
        path = f"/store/carts/{self.cart}"
        await self.visitor.ok("POST", f"{path}/shipping-methods", {"option_id": self.shop.shipping_option})
        return await self.pay(paying)

    async def pay(self, paying: Row | None = None) -> Row:
        """The customer chooses, again, how to pay: `paying` is the body of the payment session."""
        path = f"/store/carts/{self.cart}/payment-sessions"
        cart: Row = (await self.visitor.ok("POST", path, paying))["cart"]
        return cart

    async def confirm(self) -> Row:
        """The customer does all of it."""
        await self.choose()
        done = await self.visitor.ok("POST", f"/store/carts/{self.cart}/complete")
        assert done["type"] == "swap"
        swap: Row = done["data"]
        return swap

    async def cancel_return(self) -> None:
        await self.api.ok("POST", f"/admin/returns/{(await self.shown())['return_order']['id']}/cancel")

    async def post(self, action: str, body: Any = None) -> tuple[int, Any]:
        return await self.api.post(f"{self.path}/{action}", body)

    async def ok(self, action: str, body: Any = None) -> Row:
        """The swap as the order shows it after an action that has to succeed."""
        order = (await self.api.ok("POST", f"{self.path}/{action}", body))["order"]
        swap: Row = next(swap for swap in order["swaps"] if swap["id"] == self.id)
        return swap


async def swap_of(api: Client, stack: Stack, shop: Shop, order: Row, **options: Any) -> Swapping:
    """A new swap; see `swap_body`."""
    before = {swap["id"] for swap in order["swaps"]}
    body = swap_body(shop, order, **options)
    after = (await api.ok("POST", f"/admin/orders/{order['id']}/swaps", body))["order"]
    swap = next(swap for swap in after["swaps"] if swap["id"] not in before)
    return Swapping(api, customer(stack), shop, after, swap["id"], swap["cart_id"])


@dataclass
class SwapShop:
    """A shop whose stock is counted, at one location: what is sent in exchange is of the large variant."""

    api: Client
    stack: Stack
    house: Warehouse

    async def level(self) -> tuple[int, int]:
        """How much of the large variant is stocked, and how much of that is reserved."""
        return (await self.house.stock(self.stack))[self.house.shop.large]

    async def swap(
        self, new: int = 2, *, back: int = 1, bought: int = 4, paying: Row | None = None, **more: Any
    ) -> Swapping:
        """So many of the small variant (10.00), of those that were bought, for so many of the large (15.00); all is
        chosen, nothing confirmed."""
        shop = self.house.shop
        order = await place(self.api, shop, items=[{"variant_id": shop.small, "quantity": bought}])
        body = {"items": [{"item_id": order["items"][0]["id"], "quantity": bought}]}
        order = (await self.api.ok("POST", f"/admin/orders/{order['id']}/fulfillment", body))["order"]
        options = {"back": {shop.small: back}, "new": {shop.large: new}, "shipping": 0}
        swap = await swap_of(self.api, self.stack, shop, order, **options, **more)
        await swap.choose(paying)
        return swap


async def depot_of(api: Client, stack: Stack, pieces: int) -> SwapShop:
    """A shop that has so many pieces of each variant."""
    return SwapShop(api, stack, await make_warehouse(api, pieces))
