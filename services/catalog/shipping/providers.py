"""What the fulfillment providers in the box offer. The rows of providers say which of them a store has; those of
payment providers follow what the payments service says it has, those of fulfillment providers what orders says.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from services.chassis import copies
from services.chassis.commands import CommandHandler
from services.chassis.consumers import Event, Listener
from services.chassis.db import Db

OPTIONS: dict[str, list[dict[str, Any]]] = {
    "manual": [{"id": "manual-fulfillment"}, {"id": "manual-fulfillment-return", "is_return": True}],
}


def can_calculate(provider_id: str) -> bool:
    """Whether the provider works out a price from the cart. None in the box does."""
    return False


INSTALL = """
insert into payment_providers as p (id, is_installed)
select id, id = any($1::text[]) from (select unnest($1::text[]) union select id from payment_providers) as known(id)
on conflict (id) do update set is_installed = excluded.is_installed
where p.is_installed is distinct from excluded.is_installed
"""


async def install_payment(db: Db, ids: list[str]) -> None:
    """Let regions offer these payment providers, and no others."""
    await db.execute(INSTALL, ids)


async def on_payment_providers(db: Db, event: Event) -> None:
    await install_payment(db, event.data["ids"])


async def payment_providers(db: Db, body: dict[str, Any]) -> dict[str, Any]:
    """The command `payment_providers` {ids} -> {}, when the payments service starts: does what the event does."""
    await install_payment(db, body["ids"])
    return {}


# $1 provider ids
INSTALL_FULFILLMENT = INSTALL.replace("payment_providers", "fulfillment_providers")
OFFERS = "select id, body -> 'options' as options from copies where kind = 'fulfillment_provider' and id = any($1)"


async def install_fulfillment(db: Db, offers: dict[str, list[dict[str, Any]]], sequence: int) -> None:
    """Let regions have these fulfillment providers, and no others, and keep what each of them offers."""
    await db.execute(INSTALL_FULFILLMENT, sorted(offers))
    kept = [{"id": id_, "sequence": sequence, "body": {"options": options}} for id_, options in offers.items()]
    await copies.store(db, "fulfillment_provider", kept)


async def on_fulfillment_providers(db: Db, event: Event) -> None:
    await install_fulfillment(db, event.data["providers"], event.sequence)


async def fulfillment_providers(db: Db, body: dict[str, Any]) -> dict[str, Any]:
    """The command `fulfillment_providers` {providers: {id: options}} -> {}, when the orders service starts: does what
    the event does, but what an event brought stays."""
    await install_fulfillment(db, body["providers"], 0)
    return {}


async def options_of(db: Db, provider_ids: list[str]) -> dict[str, list[dict[str, Any]]]:
    """Returns what each of these fulfillment providers offers; those in the box offer it from the start."""
    offered = {row["id"]: orjson.loads(row["options"]) for row in await db.fetch(OFFERS, provider_ids)}
    return OPTIONS | offered


LISTENERS: Mapping[str, Listener] = {
    "payment_providers.changed": on_payment_providers,
    "fulfillment_providers.changed": on_fulfillment_providers,
}
COMMANDS: Mapping[str, CommandHandler] = {
    "payment_providers": payment_providers,
    "fulfillment_providers": fulfillment_providers,
}
