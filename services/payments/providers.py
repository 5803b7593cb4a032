"""Payment providers: who moves the money.

A provider is found under its id through the entry points of the group `mercer.payment_providers` (an object of the
protocol in provider_protocol.py, or something that makes one when called); `system`, `manual` and, where it has a key,
`stripe` are in the box. The event payment_providers.changed says which ones there are, and the catalog is notified when
a process starts, so that regions can offer them.
"""

from functools import cache, partial

from aiohttp import web

from services.chassis import plugins
from services.chassis.db import Db
from services.chassis.errors import InvalidData
from services.chassis.outbox import emit
from services.payments.provider_protocol import Data, Provider, Row
from services.payments.remote import notify_payment_providers
from services.payments.settings import StripeSettings

GROUP = "mercer.payment_providers"


class System:
    """Money that is settled outside of this system: nothing to do, nothing to remember."""

    remote = False

    async def authorize(self, payment: Row, key: str) -> Data:
        return {}

    async def capture(self, payment: Row, key: str) -> Data:
        return {}

    async def cancel(self, payment: Row, key: str) -> Data:
        return {}

    async def refund(self, payment: Row, amount: int, key: str) -> Data:
        return {}


class Manual:
    """Money that staff collect; the state is kept in `data`."""

    remote = False

    async def authorize(self, payment: Row, key: str) -> Data:
        return {"status": "authorized"}

    async def capture(self, payment: Row, key: str) -> Data:
        return {"status": "captured"}

    async def cancel(self, payment: Row, key: str) -> Data:
        return {"status": "canceled"}

    async def refund(self, payment: Row, amount: int, key: str) -> Data:
        data: Data = payment["data"]
        return data


@cache
def providers() -> dict[str, Provider]:
    """The providers that are installed, by id."""
    return {"system": System(), "manual": Manual(), **stripe(), **plugins.installed(GROUP)}


def stripe() -> dict[str, Provider]:
    """Stripe, if there is a key for it."""
    settings = StripeSettings()
    if settings.stripe_api_key is None:
        return {}
    from services.payments.stripe_provider import Stripe  # the SDK is large

    return {"stripe": Stripe(settings.stripe_api_key, settings.stripe_api_base, settings.stripe_webhook_secret)}


def provider(provider_id: str) -> Provider:
    """Raises InvalidData for one that is not installed."""
    if provider_id not in providers():
        raise InvalidData(f"There is no payment provider {provider_id} here.")
    return providers()[provider_id]


STORE_PROVIDERS = """
insert into emitted_providers as e (ids) values ($1) on conflict (sole) do update set ids = excluded.ids
where e.ids is distinct from excluded.ids
returning true
"""


def offered() -> list[str]:
    """The ids of those that regions can offer: not `system`."""
    return sorted(set(providers()) - {"system"})


async def emit_providers(db: Db) -> None:
    """Emit which providers there are, if that has changed."""
    ids = offered()
    if await db.fetchval(STORE_PROVIDERS, ids):
        await emit(db, "payment_providers.changed", "payment_providers", {"ids": ids})


async def notify_catalog(app: web.Application) -> None:
    """So that regions can offer them from the first start on."""
    await notify_payment_providers(app, offered())


open_providers = partial(plugins.kept_open, providers=providers, at_start=emit_providers)
