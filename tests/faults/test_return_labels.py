"""kill -9 between the steps of asking a carrier for the label of a return, of a swap's or a claim's return: after the
restart there is one label and what it is for, or neither; and the same request again is answered.
"""

from typing import Any

import pytest

from services.orders.claims.claims import CREATE_CLAIM
from services.orders.returns.returns import RETURN_NOW
from services.orders.swaps.swaps import CREATE_SWAP
from tests.support.client import Client
from tests.support.factories.carriers import option, served
from tests.support.factories.swaps import line_of, sent_order, swap_body
from tests.support.fake_carrier import FakeCarrier
from tests.support.fault_injection import Kill, compensated, points
from tests.support.invariants import check_books
from tests.support.stack import Stack

Row = dict[str, Any]
SAGAS = {
    "return": ("return_now", RETURN_NOW),
    "swaps": ("create_swap", CREATE_SWAP),
    "claims": ("create_claim", CREATE_CLAIM),
}


async def returns(stack: Stack, order: Row) -> list[tuple[str, Any]]:
    """(id, number of the label) of all that is to come back for the order, its swaps and claims."""
    rows = await stack.pool("orders").fetch(
        "select r.id, r.shipping_data ->> 'number' as number from returns r "
        "left join swaps s on s.id = r.swap_id left join claims c on c.id = r.claim_order_id "
        "where coalesce(r.order_id, s.order_id, c.order_id) = $1",
        order["id"],
    )
    return [(row["id"], row["number"]) for row in rows]


@pytest.mark.parametrize(
    ("what", "point"), [(what, point) for what, (_, steps) in SAGAS.items() for point in points(steps, "label", "rows")]
)
async def test_one_label(
    api: Client, stack: Stack, orders: Client, kill: Kill, carrier: FakeCarrier, what: str, point: str
) -> None:
    shop = await served(api)
    order = await sent_order(api, shop)
    item = {"item_id": line_of(order, shop.small), "quantity": 1}
    body: Row = {
        "return": {"items": [item]},
        "swaps": swap_body(shop, order, back={shop.small: 1}, new={shop.large: 1}),
        "claims": {"type": "refund", "claim_items": [item | {"reason": "wrong_item"}], "refund_amount": 900},
    }[what]
    body["return_shipping"] = {"option_id": await option(api, shop, "express-return", returns=True)}
    path, refund = f"/admin/orders/{order['id']}/{what}", 900 if what == "claims" else 0
    kill.environment = carrier.environment
    key = await kill("orders", SAGAS[what][0], point, path, body)
    if compensated(point):
        assert (await returns(stack, order), list(carrier.labels.values())) == ([], ["canceled"])
        assert (await check_books(stack, order["id"]))["refunded_total"] == 0
        carrier.labels.clear()
    status, _ = await orders.post(path, body, headers={"Idempotency-Key": key})
    ((id_, number),) = await returns(stack, order)
    assert (status, number, carrier.labels) == (200, "C-1", {id_: "waiting"})
    assert (await check_books(stack, order["id"]))["refunded_total"] == refund
