"""A shop that the carrier of the tests serves (fake_carrier.py), which is found as an installed package."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from services.chassis.commands import call
from services.chassis.keys import BUS
from services.orders import fulfillment_providers
from tests.support.client import Client
from tests.support.factories.shops import Shop, set_up
from tests.support.fake_carrier import URL, CarrierProvider, FakeCarrier, open_carrier
from tests.support.stack import Stack
from tests.support.waiting import until


@asynccontextmanager
async def installed_carrier(stack: Stack, folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeCarrier]:
    """The carrier's server; its provider is installed here, from a folder, and in processes that are started now."""
    info = folder / "mercer_courier-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mercer-courier\nVersion: 1\n")
    provider = f"{CarrierProvider.__module__}:{CarrierProvider.__name__}"
    (info / "entry_points.txt").write_text(f"[mercer.fulfillment_providers]\ncourier = {provider}\n")
    async with open_carrier() as carrier:
        carrier.environment = {URL: carrier.url, "PYTHONPATH": str(folder)}
        for name, value in carrier.environment.items():
            monkeypatch.setenv(name, value)
        with monkeypatch.context() as patch:
            patch.syspath_prepend(folder)
            fulfillment_providers.providers.cache_clear()
            assert sorted(fulfillment_providers.providers()) == ["courier", "manual"]
            await offer_providers(stack)
            yield carrier
        fulfillment_providers.providers.cache_clear()
        await offer_providers(stack)


async def offer_providers(stack: Stack) -> None:
    """Have the catalog hear which providers there are."""
    async with stack.pool("orders").acquire() as db, db.transaction():
        await fulfillment_providers.emit_providers(db)
    offers, bus = fulfillment_providers.offers(), stack.apps["orders"][BUS]

    async def known() -> bool:
        # Again, for what orders said when it started may come after it.
        await call(bus, "catalog", "fulfillment_providers", {"providers": offers})
        query = "select array(select id from fulfillment_providers where is_installed order by id)"
        return bool(await stack.pool("catalog").fetchval(query) == [*offers])

    await until(known)


async def served(api: Client) -> Shop:
    """A shop that the carrier serves, and that counts its stock."""
    shop = await set_up(api, manage_inventory=True)
    await api.ok("POST", f"/admin/regions/{shop.region}/fulfillment-providers", {"provider_id": "courier"})
    return shop


async def option(api: Client, shop: Shop, name: str = "express", *, returns: bool = False) -> str:
    profiles = (await api.ok("GET", "/admin/shipping-profiles"))["shipping_profiles"]
    body = {
        "name": name,
        "region_id": shop.region,
        "profile_id": next(p["id"] for p in profiles if p["type"] == "default"),
        "provider_id": "courier",
        "price_type": "flat_rate",
        "amount": 700,
        "is_return": returns,
        "data": {"id": name},
    }
    option_id: str = (await api.ok("POST", "/admin/shipping-options", body))["shipping_option"]["id"]
    return option_id
