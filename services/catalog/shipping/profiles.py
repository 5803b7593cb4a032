"""Shipping profiles: products that ship alike, and the shipping options for them. A product has one profile."""

from typing import Literal

from services.catalog.answers import LIVE, chosen, one
from services.catalog.bodies import Metadata, sent
from services.catalog.products.documents import PRODUCT_KINDS
from services.catalog.products.reads import PLAIN_PRODUCT
from services.catalog.resources import SHIPPING_OPTION, SHIPPING_PROFILE
from services.catalog.shipping.documents import SHIPPING_KINDS
from services.chassis.db import Db
from services.chassis.documents import doc, each_doc
from services.chassis.embed import Many, Resource, page_sql, tree
from services.chassis.errors import NotAllowed, NotFound
from services.chassis.http import ABSENT, Body
from services.chassis.ids import new_id
from services.chassis.jsons import json_or_null
from services.chassis.operations import deletion, get, post, showing
from services.chassis.outbox import emit, emit_all
from services.chassis.schemas import Rows

WITH_CONTENTS = Resource(
    SHIPPING_PROFILE.table,
    SHIPPING_PROFILE.columns,
    {
        "products": Many(
            Resource(PLAIN_PRODUCT.table, PLAIN_PRODUCT.columns, PLAIN_PRODUCT.relations, always=tree(("profiles",))),
            "{t}.profile_id = {p}.id and {t}.deleted_at is null",
        ),
        "shipping_options": Many(SHIPPING_OPTION, "{t}.profile_id = {p}.id and {t}.deleted_at is null"),
    },
)
EXPAND = tree(("products", "shipping_options"))
Type = Literal["default", "gift_card", "custom"]


class ShippingProfileBody(Body):
    name: str
    type: Type
    """`default` for products that name no other profile, `gift_card` for gift cards."""
    metadata: Metadata = None


class ShippingProfileUpdate(Body):
    name: str = ABSENT
    type: Type = ABSENT
    """`default` for products that name no other profile, `gift_card` for gift cards."""
    metadata: Metadata = None
    products: list[str] | None = None
    """Ids of products that move to this profile. Those that are in it stay."""
    shipping_options: list[str] | None = None
    """Ids of shipping options that move to this profile. Those that are in it stay."""


INSERT_PROFILE = "insert into shipping_profiles (id, name, type, metadata) values ($1, $2, $3, $4::text::jsonb)"
# $2: the body as JSON; what it does not name stays.
UPDATE_PROFILE = """
update shipping_profiles t set
    (name, type) = (select n.name, n.type from jsonb_populate_record(t, $2::text::jsonb - 'metadata') n),
    metadata = updated_metadata(t.metadata, $2::text::jsonb),
    updated_at = now()
where id = $1
"""
# Every other one of its kind is locked, too, so that the last two are not given up at once.
LOCK_PROFILES = """
select id, type from shipping_profiles
where deleted_at is null and (id = $1 or type = (select type from shipping_profiles where id = $1 and type <> 'custom'))
order by id for no key update
"""
LOCK_OPTIONS = """
select id, id = any($2::text[]) as moves from shipping_options
where deleted_at is null and (id = any($2::text[]) or profile_id = $1) order by id for no key update
"""
LOCK_PRODUCTS = """
select id from products where deleted_at is null and id = any($1::text[]) order by id for no key update
"""
MOVE_OPTIONS = "update shipping_options set profile_id = $1, updated_at = now() where id = any($2::text[])"
MOVE_PRODUCTS = "update products set profile_id = $1, updated_at = now() where id = any($2::text[])"


OLDEST_PROFILES = page_sql(
    SHIPPING_PROFILE, chosen(SHIPPING_PROFILE), "{t}.deleted_at is null", "{t}.created_at, {t}.id", "10", "0"
)


async def access_profile(db: Db, profile_id: str) -> tuple[str, bool]:
    """Lock the profile; returns its type, and whether it is the only one of a type that there must be.

    Raises NotFound.
    """
    types = {row["id"]: row["type"] for row in await db.fetch(LOCK_PROFILES, profile_id)}
    if profile_id not in types:
        raise NotFound(f"There is no shipping profile {profile_id}.")
    return types[profile_id], len(types) == 1 and types[profile_id] != "custom"


async def create_profile(db: Db, body: ShippingProfileBody) -> str:
    """Returns the id of a new profile without contents."""
    profile_id = new_id("sp")
    await db.execute(INSERT_PROFILE, profile_id, body.name, body.type, json_or_null(body.metadata))
    data = await doc(db, "shipping_profile", profile_id, SHIPPING_KINDS)
    await emit(db, "shipping_profile.created", profile_id, data)
    return profile_id


async def update_profile(db: Db, profile_id: str, body: ShippingProfileUpdate) -> None:
    """Change what the body names, and move the products and options to this profile. Raises NotFound or NotAllowed."""
    type_, needed = await access_profile(db, profile_id)
    if needed and body.type not in (None, type_):
        raise NotAllowed(f"This is the only profile of type {type_}; make another one first.")
    options = await db.fetch(LOCK_OPTIONS, profile_id, body.shipping_options or [])
    check_known("shipping option", body.shipping_options, {row["id"] for row in options if row["moves"]})
    products = {row["id"] for row in await db.fetch(LOCK_PRODUCTS, body.products or [])}
    check_known("product", body.products, products)
    await db.execute(UPDATE_PROFILE, profile_id, sent(body))
    await db.execute(MOVE_OPTIONS, profile_id, body.shipping_options or [])
    await db.execute(MOVE_PRODUCTS, profile_id, body.products or [])
    data = await doc(db, "shipping_profile", profile_id, SHIPPING_KINDS)
    await emit(db, "shipping_profile.updated", profile_id, data)
    # Its options show the profile, so all of them have changed.
    shown = await each_doc(db, "shipping_option", [row["id"] for row in options], SHIPPING_KINDS)
    await emit_all(db, "shipping_option.updated", shown)
    await emit_all(db, "product.updated", await each_doc(db, "product", sorted(products), PRODUCT_KINDS))


def check_known(noun: str, ids: list[str] | None, known: set[str]) -> None:
    """Raises NotFound for the ids that are not known."""
    missing = sorted(set(ids or ()) - known)
    if missing:
        raise NotFound(f"There is no {noun} {', '.join(missing)}.")


async def remove_profile(db: Db, profile_id: str) -> None:
    """Delete the profile, if it is there; what is in it keeps its id. Raises NotAllowed for one that must be there."""
    try:
        type_, needed = await access_profile(db, profile_id)
    except NotFound:
        return
    if needed:
        raise NotAllowed(f"This is the only profile of type {type_}; products need one.")
    await db.execute("update shipping_profiles set deleted_at = now() where id = $1", profile_id)
    data = await doc(db, "shipping_profile", profile_id, SHIPPING_KINDS)
    await emit(db, "shipping_profile.deleted", profile_id, data)


async def profile_json(db: Db, profile_id: str) -> str:
    """`{"shipping_profile": ...}` with its contents. Raises NotFound."""
    return await one(db, "shipping_profile", WITH_CONTENTS, chosen(WITH_CONTENTS, EXPAND), profile_id)


# Handlers


async def get_shipping_profiles(db: Db) -> str:
    rows, _ = await db.fetchrow(OLDEST_PROFILES)
    return f'{{"shipping_profiles":{rows}}}'


async def post_shipping_profiles(db: Db, body: ShippingProfileBody) -> str:
    profile_id = await create_profile(db, body)
    return await one(db, "shipping_profile", SHIPPING_PROFILE, chosen(SHIPPING_PROFILE), profile_id)


async def post_shipping_profile(db: Db, profile_id: str, body: ShippingProfileUpdate) -> str:
    await update_profile(db, profile_id, body)
    return await profile_json(db, profile_id)


OPERATIONS = [
    get(
        "/admin/shipping-profiles",
        get_shipping_profiles,
        "List shipping profiles",
        description="The ten oldest.",
        answer={"shipping_profiles": [SHIPPING_PROFILE]},
    ),
    post(
        "/admin/shipping-profiles",
        post_shipping_profiles,
        "Create a shipping profile",
        description="Nothing is in it yet: products and shipping options are moved to it by an update.",
        body=ShippingProfileBody,
        example={"name": "Bulky goods", "type": "custom"},
        answer={"shipping_profile": SHIPPING_PROFILE},
    ),
    showing(
        "/admin/shipping-profiles/{id}",
        "shipping_profile",
        WITH_CONTENTS,
        "Get a shipping profile",
        description="With all its products and shipping options.",
        expand=EXPAND,
        where=LIVE,
    ),
    post(
        "/admin/shipping-profiles/{id}",
        post_shipping_profile,
        "Update a shipping profile",
        description="What is not sent stays. The only profile of type `default` or `gift_card` keeps its type.",
        body=ShippingProfileUpdate,
        example={"products": ["prod_01HZX3N5R7T9V1X3Z5B7D9F1H3"]},
        answer={"shipping_profile": Rows((WITH_CONTENTS,), EXPAND)},
        errors=(NotFound, NotAllowed),
    ),
    deletion(
        "/admin/shipping-profiles/{id}",
        remove_profile,
        "shipping_profile",
        "Delete a shipping profile",
        description="Refused for the only one of type `default` or `gift_card`. What is in it keeps its id. A profile "
        "that is not there is no error.",
        errors=(NotAllowed,),
    ),
]
