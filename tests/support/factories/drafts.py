"""Draft orders that the tests start from."""

from typing import Any

from tests.support.client import Client
from tests.support.factories.shops import Shop

Draft = dict[str, Any]
ID = "/admin/draft-orders/{}"


async def make(api: Client, shop: Shop, **more: Any) -> Draft:
    draft: Draft = (await api.ok("POST", "/admin/draft-orders", shop.draft(**more)))["draft_order"]
    return draft


async def shown(api: Client, draft: Draft) -> Draft:
    answer: Draft = (await api.ok("GET", ID.format(draft["id"])))["draft_order"]
    return answer
