"""What was answered under an Idempotency-Key is answered again while the services that were asked for it are away."""

from typing import Any

import pytest

from services.chassis.bus import Bus
from services.chassis.errors import Unavailable
from tests.support.client import Client
from tests.support.factories.shops import place, set_up


async def test_answered_without_the_broker(api: Client, uid: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = await set_up(api)
    order = await place(api, shop)
    group = (await api.ok("POST", "/admin/customer-groups", {"name": uid}))["customer_group"]["id"]
    price_list = {"name": uid, "description": "d", "type": "sale", "prices": [], "customer_groups": [{"id": group}]}
    asked: list[tuple[str, dict[str, Any]]] = [
        ("/admin/price-lists", price_list),
        ("/admin/gift-cards", {"region_id": shop.region, "value": 5000}),
        (f"/admin/orders/{order['id']}/shipping-methods", {"option_id": shop.shipping_option, "price": 700}),
        (f"/admin/orders/{order['id']}/refund", {"amount": 100, "reason": "other"}),
        ("/admin/draft-orders", shop.draft()),
    ]
    answers = []
    for number, (path, body) in enumerate(asked):
        answers.append(await api.post(path, body, headers={"Idempotency-Key": f"{uid}-{number}"}))
        assert answers[-1][0] == 200, answers[-1]

    async def away(*_: Any, **__: Any) -> Any:
        raise Unavailable("There is no broker.")

    monkeypatch.setattr(Bus, "request", away)
    for number, (path, body) in enumerate(asked):
        key = {"Idempotency-Key": f"{uid}-{number}"}
        assert await api.post(path, body, headers=key) == answers[number], path
        assert (await api.post(path, body))[0] == 503, path
        assert (await api.post(path, body | {"more": 1}, headers=key))[0] == 409, path
