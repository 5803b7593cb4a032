"""Fulfillment providers: who takes fulfillments to customers.

A provider is found under its id through the entry points of the group `mercer.fulfillment_providers` (an object of this
protocol, or something that makes one when called); `manual`, which merchants do by hand, is in the box.

A provider that talks to somebody else's server says `remote = True`. It is then called outside of any transaction, by a
recorded saga that is resumed after a crash, so it can be asked the same thing twice: `key` is the same then, and names
the operation to the other side. It raises NotAllowed or InvalidData when it is certain that nothing happened, and any
other exception when it is not; what may have happened is compensated, by `cancel`, before the request is refused. What
it returns becomes the `data` of the fulfillment (documents such as labels: as links in there), or the return's
`shipping_data`. Which ones there are, and what they offer, is in the event fulfillment_providers.changed; the catalog
is notified when a process starts, too, so that regions can have them. One that has a method `close` is closed when the
process ends.
"""

import asyncio
from collections.abc import Awaitable
from functools import cache, partial
from typing import Any, Protocol

import structlog
from aiohttp import web

from services.chassis import plugins
from services.chassis.db import Db
from services.chassis.errors import ApiError, NotAllowed, Unavailable
from services.chassis.jsons import json_text
from services.chassis.outbox import emit
from services.orders.remote import notify_fulfillment_providers

log = structlog.get_logger()

GROUP = "mercer.fulfillment_providers"
ANSWER_SECONDS = 10.0  # that a provider gets for an answer; less than the lease of a saga

Data = dict[str, Any]
Row = dict[str, Any]


class Provider(Protocol):
    """How to reach one fulfillment provider. `options` are what shipping options can be made of."""

    remote: bool
    options: list[Data]

    async def validate(self, option: Data, data: Data, cart: Row) -> Data:
        """The `data` that a shipping method keeps, out of what the request said. `option` is the shipping option's
        data, `cart` has region_id, customer_id and items."""
        ...

    async def create(self, fulfillment: Row, key: str) -> Data:
        """Request it from the carrier: {id, order, items, method, location_id}; see REQUESTED
        (fulfillments/creations.py)."""
        ...

    async def cancel(self, fulfillment: Row, key: str) -> Data:
        """Cancel it: {id, data}. `data` is null when it is not known whether it ever was requested."""
        ...

    async def create_return(self, return_: Row, key: str) -> Data:
        """A label for goods that come back: {id, order, items, method}."""
        ...

    async def cancel_return(self, return_: Row, key: str) -> Data:
        """Cancel the label: {id, data}, as for fulfillments."""
        ...


class Manual:
    """Staff take fulfillments to the post office: nothing to do, nothing to remember."""

    remote = False

    def __init__(self) -> None:
        self.options: list[Data] = [
            {"id": "manual-fulfillment"},
            {"id": "manual-fulfillment-return", "is_return": True},
        ]

    async def validate(self, option: Data, data: Data, cart: Row) -> Data:
        return data

    async def create(self, fulfillment: Row, key: str) -> Data:
        return {}

    async def cancel(self, fulfillment: Row, key: str) -> Data:
        return {}

    async def create_return(self, return_: Row, key: str) -> Data:
        return {}

    async def cancel_return(self, return_: Row, key: str) -> Data:
        return {}


@cache
def providers() -> dict[str, Provider]:
    """The providers that are installed, by id; `manual` always is."""
    return {"manual": Manual(), **plugins.installed(GROUP)}


def provider(provider_id: str) -> Provider:
    """Raises NotAllowed for one that is not installed any more."""
    if provider_id not in providers():
        raise NotAllowed(f"The fulfillment provider {provider_id} is not installed.")
    return providers()[provider_id]


def is_remote(provider_id: str) -> bool:
    """Whether it is asked over a network. One that is not installed is, so that whoever asks it is refused."""
    return provider_id not in providers() or providers()[provider_id].remote


def any_remote() -> bool:
    """Whether any provider is asked over a network."""
    return any(each.remote for each in providers().values())


async def answer_of(provider_id: str, answer: Awaitable[Data]) -> Data:
    """The provider's answer. Raises what it refuses with, and Unavailable for everything else."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await answer
    except ApiError as error:
        if error.status < 500:
            raise
        raise Unavailable(error.message, outcome_unknown=True) from error
    except Exception as error:
        log.warning("fulfillment provider in trouble", provider=provider_id, error=repr(error))
        message = f"The fulfillment provider {provider_id} does not answer right now; try again later."
        raise Unavailable(message, outcome_unknown=True) from error


async def validated(provider_id: str, option: Data, data: Data, cart: Row) -> Data:
    """The data of a new shipping method. Raises what the provider refuses with, or Unavailable; changes nothing."""
    if not is_remote(provider_id):
        return data
    return await answer_of(provider_id, provider(provider_id).validate(option, data, cart))


# Which there are

STORE_PROVIDERS = """
insert into emitted_fulfillment_providers as e (providers) values ($1::text::jsonb)
on conflict (sole) do update set providers = excluded.providers where e.providers is distinct from excluded.providers
returning true
"""


def offers() -> dict[str, list[Data]]:
    """What each of them offers, by id."""
    return {id_: each.options for id_, each in sorted(providers().items())}


async def emit_providers(db: Db) -> None:
    """Emit which providers there are, and what they offer, if that has changed."""
    if await db.fetchval(STORE_PROVIDERS, json_text(offers())):
        await emit(db, "fulfillment_providers.changed", "fulfillment_providers", {"providers": offers()})


async def notify_catalog(app: web.Application) -> None:
    """Notify the catalog of them, so that regions can have them from the first start on."""
    await notify_fulfillment_providers(app, offers())


open_providers = partial(plugins.kept_open, providers=providers, at_start=emit_providers)
