"""Addresses of carts, orders and claims: what requests say of them, and how they are kept."""

from collections.abc import Sequence
from typing import Any

import orjson

from services.chassis.db import Db
from services.chassis.errors import ApiError, InvalidData, NotAllowed
from services.chassis.http import Body
from services.chassis.ids import new_id
from services.chassis.jsons import json_text
from services.orders.pricing.quotes import Row

ADD_ADDRESS = """
insert into addresses (
    id, company, first_name, last_name, address_1, address_2, city, country_code, province, postal_code, phone, metadata
)
select $1, company, first_name, last_name, address_1, address_2, city, country_code, province, postal_code, phone,
    nullif(metadata, 'null')
from jsonb_populate_record(null::addresses, $2::text::jsonb)
"""
# Drafts may share an address, and a change of it. What an order was sent to, and a customer's own, stays as it is
# there: the draft gets a copy with the changes.
SHARED = """
select exists (select from orders where billing_address_id = $1 or shipping_address_id = $1)
    or exists (select from customers where billing_address_id = $1)
    or exists (select from addresses where id = $1 and customer_id is not null)
"""
ADDRESS = "select to_jsonb(a)::text from addresses a where id = $1 and deleted_at is null"
CHANGE_ADDRESS = """
update addresses a set
    (company, first_name, last_name, address_1, address_2, city, country_code, province, postal_code, phone, metadata)
    = (select company, first_name, last_name, address_1, address_2, city, country_code, province, postal_code, phone,
        nullif(metadata, 'null') from jsonb_populate_record(a, $2::text::jsonb)),
    updated_at = now()
where id = $1
"""


class AddressBody(Body):
    company: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    address_1: str | None = None
    address_2: str | None = None
    city: str | None = None
    country_code: str | None = None
    province: str | None = None
    postal_code: str | None = None
    phone: str | None = None
    metadata: dict[str, Any] | None = None


def check_country(code: object, countries: Sequence[str | None], error: type[ApiError], what: str) -> None:
    """Raises `error` unless the region has the country."""
    if code not in countries:
        raise error(f"{what}: the region does not have the country {code}; codes are lower case, like {countries[:1]}.")


async def new_address(db: Db, address: AddressBody | str | None, countries: Sequence[str], what: str) -> str | None:
    """Id of the address for a new draft: a new row, or the one that was named. Raises NotAllowed or InvalidData."""
    if address is None:
        return None
    if isinstance(address, str):
        check_country((await address_row(db, address, what))["country_code"], [*countries, None], NotAllowed, what)
        return address
    check_country(address.country_code, countries, NotAllowed, what)
    return await add_address(db, address.model_dump())


async def changed_address(
    db: Db, current: str | None, address: AddressBody | str | None, countries: Sequence[str], what: str
) -> str | None:
    """Id of the address after an update: what was sent is merged into the one there is. Raises InvalidData."""
    if address is None:
        return current
    if isinstance(address, str):
        check_country((await address_row(db, address, what))["country_code"], [*countries, None], InvalidData, what)
        return address
    sent = address.model_dump(exclude_unset=True)
    if sent.get("country_code") is not None:
        check_country(sent["country_code"], countries, InvalidData, what)
    return await merge_address(db, current, sent, what)


async def merge_address(db: Db, current: str | None, sent: Row, what: str) -> str:
    """Change the address, or make one: where there is none, or where it is not the draft's to change."""
    if current is None:
        return await add_address(db, sent)
    row = await address_row(db, current, what)
    merged = {name: sent.get(name, row[name]) for name in AddressBody.model_fields}
    if await db.fetchval(SHARED, current):
        return await add_address(db, merged)
    await db.execute(CHANGE_ADDRESS, current, json_text(merged))
    return current


async def address_row(db: Db, address_id: str, what: str) -> Row:
    """Raises InvalidData when there is none."""
    text = await db.fetchval(ADDRESS, address_id)
    if text is None:
        raise InvalidData(f"{what}: there is no address {address_id}.")
    row: Row = orjson.loads(text)
    return row


async def add_address(db: Db, address: Row) -> str:
    address_id = new_id("addr")
    await db.execute(ADD_ADDRESS, address_id, json_text(address))
    return address_id
