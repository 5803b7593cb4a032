"""Shipping options: what shipping costs in a region, and for which carts. Lists show the price with its tax."""

from typing import Any, Literal

from pydantic import Field

from services.catalog.answers import LIVE, chosen, listed, one
from services.catalog.bodies import Amount, Metadata, sent
from services.catalog.products.reads import PRODUCT
from services.catalog.resources import SHIPPING_OPTION, SHIPPING_PROFILE
from services.catalog.shipping.documents import SHIPPING_KINDS
from services.catalog.shipping.providers import can_calculate
from services.chassis.db import Db
from services.chassis.documents import doc
from services.chassis.embed import Many, One, Resource, Value, tree
from services.chassis.errors import InvalidData, NotFound
from services.chassis.http import ABSENT, Body
from services.chassis.ids import new_id
from services.chassis.jsons import json_or_null
from services.chassis.operations import deletion, listing, post, showing
from services.chassis.outbox import emit
from services.chassis.params import dates, described, flag, search, text, texts
from services.chassis.queries import page
from services.chassis.schemas import Either, Rows

EXPAND = tree(("region", "profile", "requirements"))
WRITTEN = {"shipping_option": Rows((SHIPPING_OPTION,), EXPAND)}
FILTERS = {
    "id": texts("{t}.id"),
    "name": text("{t}.name"),
    "region_id": text("{t}.region_id"),
    "is_return": described(flag("{t}.is_return"), "Whether they are for what comes back, or for what goes out."),
    "admin_only": described(flag("{t}.admin_only"), "Whether only users can choose them, or customers, too."),
    "q": described(search("lower({t}.name) like {q}"), "A part of the name, in any case."),
    "created_at": dates("{t}.created_at"),
    "updated_at": dates("{t}.updated_at"),
    "deleted_at": described(dates("{t}.deleted_at"), "Deleted options are listed in place of the others."),
}

# The option's own tax rates, or else that of its region, where taxes are automatic. {p} is the option.
OWN_RATES = "tax_rates r join shipping_tax_rates s on s.rate_id = r.id where s.shipping_option_id = {p}.id"
RATES = f"""(
    select case when not g.automatic_taxes then '[]' else coalesce(
        (select json_agg(json_build_object('rate', r.rate, 'name', r.name, 'code', r.code) order by r.created_at, r.id)
            from {OWN_RATES}),
        json_build_array(json_build_object('rate', g.tax_rate, 'name', 'default', 'code', 'default'))
    ) end from regions g where g.id = {{p}}.region_id
)"""  # noqa: S608 - the text is ours
RATE = f"""(
    select case when not g.automatic_taxes then 0 else coalesce(
        (select sum(coalesce(r.rate, 0) / 100) from {OWN_RATES}), g.tax_rate / 100
    ) end from regions g where g.id = {{p}}.region_id
)"""  # noqa: S608
# Rounded half up, in double precision.
TAX = f"""(
    select floor(x.rate * coalesce({{p}}.amount, 0) / case when {{p}}.includes_tax then 1 + x.rate else 1 end + 0.5)
    from (select {RATE} as rate) x
)"""  # noqa: S608
PROFILE = Resource(
    SHIPPING_PROFILE.table,
    SHIPPING_PROFILE.columns,
    {
        "products": Many(PRODUCT, "{t}.profile_id = {p}.id and {t}.deleted_at is null"),
        "shipping_options": Many(SHIPPING_OPTION, "{t}.profile_id = {p}.id and {t}.deleted_at is null"),
    },
)
TAXED = Resource(
    SHIPPING_OPTION.table,
    SHIPPING_OPTION.columns,
    {
        **SHIPPING_OPTION.relations,
        "profile": One(PROFILE, "{t}.id = {p}.profile_id and {t}.deleted_at is null"),
        "price_incl_tax": Value(f"coalesce({{p}}.amount, 0) + case when {{p}}.includes_tax then 0 else {TAX} end"),
        "tax_amount": Value(TAX),
        "tax_rates": Value(RATES, [{"rate": Either((float, None)), "name": str, "code": Either((str, None))}]),
    },
    always=tree(("price_incl_tax", "tax_amount", "tax_rates")),
)


class RequirementBody(Body):
    type: Literal["min_subtotal", "max_subtotal"]
    """Whether the cart's net subtotal has to be at least the amount, or below it. Taxes count where the option's amount
    includes them."""
    amount: Amount
    """In minor units of the region's currency."""


class RequirementUpdate(RequirementBody):
    id: str | None = None
    """A requirement of the option, which changes; a new one is made without it."""


class ShippingOptionBody(Body):
    name: str
    region_id: str
    profile_id: str | None = None
    """Which products it can ship. Without one: those of the default profile."""
    provider_id: str
    """A fulfillment provider of the region."""
    price_type: Literal["flat_rate", "calculated"]
    """Whether it costs `amount`, or what its provider works out for a cart."""
    amount: Amount | None = None
    """In minor units of the region's currency. A `flat_rate` needs it."""
    data: dict[str, Any]
    """What the provider needs to know: one of the region's fulfillment options."""
    requirements: list[RequirementBody] = Field(default=[])
    """Which carts can have it: one of each type at most."""
    is_return: bool = False
    """Whether it is for what comes back, not for what goes out."""
    admin_only: bool = False
    """Whether only users can choose it, not customers."""
    includes_tax: bool = False
    """Whether `amount` includes taxes."""
    metadata: Metadata = None


class ShippingOptionUpdate(Body):
    requirements: list[RequirementUpdate]
    """All that the option has from now on: one of each type at most."""
    name: str = ABSENT
    price_type: Literal["flat_rate", "calculated"] = ABSENT
    """Whether it costs `amount`, or what its provider works out for a cart."""
    amount: Amount = ABSENT
    """In minor units of the region's currency."""
    admin_only: bool = ABSENT
    """Whether only users can choose it, not customers."""
    includes_tax: bool = ABSENT
    """Whether `amount` includes taxes."""
    metadata: Metadata = None


# Shared locks: the option shows both, and they may be changing now.
LOCK_REGION = "select id from regions where id = $1 and deleted_at is null for share"
LOCK_PROFILE = """
select id from shipping_profiles
where deleted_at is null and ($1::text is null and type = 'default' or id = $1)
order by created_at, id limit 1 for share
"""
OFFERED = "select true from region_fulfillment_providers where region_id = $1 and provider_id = $2"
INSERT_OPTION = """
insert into shipping_options
    (id, name, region_id, profile_id, provider_id, price_type, amount, data,
    is_return, admin_only, includes_tax, metadata)
values ($1, $2, $3, $4, $5, $6, $7, $8::text::jsonb, $9, $10, $11, $12::text::jsonb)
"""
# $2: the body as JSON; what it does not name stays.
UPDATE_OPTION = """
update shipping_options t set
    (name, price_type, amount, admin_only, includes_tax) = (
        select n.name, n.price_type, n.amount, n.admin_only, n.includes_tax
        from jsonb_populate_record(t, $2::text::jsonb - 'metadata') n
    ),
    metadata = updated_metadata(t.metadata, $2::text::jsonb),
    updated_at = now()
where id = $1
"""
REQUIREMENTS_OF = "select id from shipping_option_requirements where shipping_option_id = $1 and deleted_at is null"
# $2, $3, $4: ids, types and amounts of all that the option has from now on.
SET_REQUIREMENTS = """
with gone as (
    update shipping_option_requirements set deleted_at = now()
    where shipping_option_id = $1 and deleted_at is null and not id = any($2::text[])
)
insert into shipping_option_requirements as r (id, shipping_option_id, type, amount)
select g.id, $1, g.type, g.amount from unnest($2::text[], $3::text[], $4::bigint[]) as g(id, type, amount)
on conflict (id) do update set type = excluded.type, amount = excluded.amount
"""
LOCK_OPTION = "select provider_id from shipping_options where id = $1 and deleted_at is null for no key update"


def check_requirements(requirements: list[RequirementBody]) -> None:
    """Raises InvalidData unless there is one of a type at most, and the least subtotal is not over the most."""
    amounts = {requirement.type: requirement.amount for requirement in requirements}
    if len(amounts) < len(requirements):
        raise InvalidData("requirements: only one of each type is possible.")
    if len(amounts) == 2 and amounts["min_subtotal"] > amounts["max_subtotal"]:
        raise InvalidData("requirements: min_subtotal must not be over max_subtotal.")


def check_price(price_type: str | None, amount: int | None, provider_id: str) -> None:
    """Raises InvalidData for a price that nobody can work out."""
    if price_type == "calculated" and not can_calculate(provider_id):
        raise InvalidData(f"price_type: the provider {provider_id} cannot calculate prices; use flat_rate.")
    if price_type == "flat_rate" and amount is None:
        raise InvalidData("amount: a flat_rate needs one, 0 or more.")


async def access_option(db: Db, option_id: str) -> str:
    """Lock the option; returns its provider. Raises NotFound."""
    provider: str | None = await db.fetchval(LOCK_OPTION, option_id)
    if provider is None:
        raise NotFound(f"There is no shipping option {option_id}.")
    return provider


async def set_requirements(db: Db, option_id: str, requirements: list[tuple[str, RequirementBody]]) -> None:
    """Let the option have these requirements, each with its id, and no others."""
    ids, types = [id_ for id_, _ in requirements], [body.type for _, body in requirements]
    await db.execute(SET_REQUIREMENTS, option_id, ids, types, [body.amount for _, body in requirements])


async def create_option(db: Db, body: ShippingOptionBody) -> str:
    """Returns the id of a new option; without a profile it is in the default one. Raises NotFound or InvalidData."""
    if not await db.fetchval(LOCK_REGION, body.region_id):
        raise NotFound(f"region_id: there is no region {body.region_id}.")
    profile_id = await db.fetchval(LOCK_PROFILE, body.profile_id or None)
    if profile_id is None:
        raise NotFound(f"profile_id: there is no shipping profile {body.profile_id}.")
    if not await db.fetchval(OFFERED, body.region_id, body.provider_id):
        raise InvalidData(f"provider_id: the region has no fulfillment provider {body.provider_id}.")
    check_price(body.price_type, body.amount, body.provider_id)
    check_requirements(body.requirements)
    option_id = new_id("so")
    await db.execute(
        INSERT_OPTION,
        option_id,
        body.name,
        body.region_id,
        profile_id,
        body.provider_id,
        body.price_type,
        body.amount,
        json_or_null(body.data),
        body.is_return,
        body.admin_only,
        body.includes_tax,
        json_or_null(body.metadata),
    )
    await set_requirements(db, option_id, [(new_id("sor"), requirement) for requirement in body.requirements])
    await emit(db, "shipping_option.created", option_id, await doc(db, "shipping_option", option_id, SHIPPING_KINDS))
    return option_id


async def update_option(db: Db, option_id: str, body: ShippingOptionUpdate) -> None:
    """Change what the body names; its requirements are all that the option has. Raises NotFound or InvalidData."""
    provider_id = await access_option(db, option_id)
    check_price(body.price_type, body.amount or 0, provider_id)
    check_requirements([*body.requirements])
    held = {row["id"] for row in await db.fetch(REQUIREMENTS_OF, option_id)}
    named = [r.id for r in body.requirements if r.id is not None]
    if len({*named}) < len(named):
        raise InvalidData("requirements: an id is given twice.")
    unknown = sorted({*named} - held)
    if unknown:
        raise InvalidData(f"requirements: the option has no {', '.join(unknown)}.")
    await db.execute(UPDATE_OPTION, option_id, sent(body))
    await set_requirements(db, option_id, [(r.id or new_id("sor"), r) for r in body.requirements])
    await emit(db, "shipping_option.updated", option_id, await doc(db, "shipping_option", option_id, SHIPPING_KINDS))


async def remove_option(db: Db, option_id: str) -> None:
    """Delete the option, if it is there."""
    statement = "update shipping_options set deleted_at = now() where id = $1 and deleted_at is null returning id"
    if await db.fetchval(statement, option_id):
        data = await doc(db, "shipping_option", option_id, SHIPPING_KINDS)
        await emit(db, "shipping_option.deleted", option_id, data)


async def option_json(db: Db, option_id: str) -> str:
    """`{"shipping_option": ...}` with its relations. Raises NotFound."""
    return await one(db, "shipping_option", SHIPPING_OPTION, chosen(SHIPPING_OPTION, EXPAND), option_id)


# Handlers


async def post_shipping_options(db: Db, body: ShippingOptionBody) -> str:
    return await option_json(db, await create_option(db, body))


async def post_shipping_option(db: Db, option_id: str, body: ShippingOptionUpdate) -> str:
    await update_option(db, option_id, body)
    return await option_json(db, option_id)


OPERATIONS = [
    listing(
        "/admin/shipping-options",
        "shipping_options",
        page(TAXED, FILTERS, limit=50, expand=EXPAND, where=listed),
        "List shipping options",
        description="The newest come first, each with its price and tax by the rates of this moment.",
    ),
    post(
        "/admin/shipping-options",
        post_shipping_options,
        "Create a shipping option",
        description="A region or a profile that does not exist is refused with 404; a provider that the region does "
        "not have, a `calculated` price of a provider that cannot calculate, and a `flat_rate` without an amount "
        "with 400.",
        body=ShippingOptionBody,
        example={
            "name": "Standard",
            "region_id": "reg_01HZX3M7N9Q1S3V5X7Z9B1D3F5",
            "provider_id": "manual",
            "price_type": "flat_rate",
            "amount": 490,
            "data": {"id": "manual-fulfillment"},
            "requirements": [{"type": "max_subtotal", "amount": 5000}],
        },
        answer=WRITTEN,
        errors=(NotFound, InvalidData),
    ),
    showing(
        "/admin/shipping-options/{id}",
        "shipping_option",
        SHIPPING_OPTION,
        "Get a shipping option",
        description="Without the price with its tax, which lists show.",
        expand=EXPAND,
        where=LIVE,
    ),
    post(
        "/admin/shipping-options/{id}",
        post_shipping_option,
        "Update a shipping option",
        description="Requirements have to be sent, and replace those that are there; what else is not sent stays. "
        "Shipping methods that were made of the option stay as they are.",
        body=ShippingOptionUpdate,
        example={"amount": 590, "requirements": []},
        answer=WRITTEN,
        errors=(NotFound, InvalidData),
    ),
    deletion(
        "/admin/shipping-options/{id}",
        remove_option,
        "shipping-option",
        "Delete a shipping option",
        description="Shipping methods that were made of it stay. An option that is not there is no error.",
    ),
]
