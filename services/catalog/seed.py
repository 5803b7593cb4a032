"""What is there from the first start: currencies, countries, providers, shipping profiles, the store and its channel.

Names come from Unicode's CLDR (Babel) and ISO 3166 (pycountry). The tables below hold what Medusa's users know
differently; `currencies.csv` has the symbols, which CLDR has changed since shops got used to them.
"""

import csv
from pathlib import Path

import pycountry
from babel import Locale

from services.chassis.db import Db
from services.chassis.ids import new_id

CURRENCIES = Path(__file__).parent / "currencies.csv"

CURRENCY_NAMES = {
    "czk": "Czech Republic Koruna",
    "gbp": "British Pound Sterling",
    "ils": "Israeli New Sheqel",
    "mmk": "Myanma Kyat",
    "mnt": "Mongolian Tugrig",
    "pen": "Peruvian Nuevo Sol",
    "qar": "Qatari Rial",
    "ttd": "Trinidad and Tobago Dollar",
    "uzs": "Uzbekistan Som",
    "vef": "Venezuelan Bolívar",
    "xaf": "CFA Franc BEAC",
    "xof": "CFA Franc BCEAO",
    "zmk": "Zambian Kwacha",
    "zwl": "Zimbabwean Dollar",
}
COUNTRY_NAMES = {
    "BO": "Bolivia",
    "CD": "Congo, the Democratic Republic of the",
    "CI": "Cote D'Ivoire",
    "CV": "Cape Verde",
    "CZ": "Czech Republic",
    "HM": "Heard Island And Mcdonald Islands",
    "IM": "Isle Of Man",
    "MK": "Macedonia, the Former Yugoslav Republic of",
    "PS": "Palestinian Territory, Occupied",
    "RE": "Reunion",
    "SH": "Saint Helena",
    "SX": "Sint Maarten",
    "SZ": "Swaziland",
    "TL": "Timor Leste",
    "TR": "Turkey",
    "VE": "Venezuela",
}
COUNTRY_CODES = {"BV": "BVD", "RO": "ROM"}
NOT_IN_ISO = [("XK", "XKX", 900, "Kosovo")]

SEED_LOCK = 7305215  # any fixed number: two processes that start together must not both be the first

SEED = """
with seeded_currencies as (
    insert into currencies (code, name, symbol, symbol_native)
    select * from unnest($1::text[], $2::text[], $3::text[], $4::text[])
), seeded_countries as (
    insert into countries (id, iso_2, iso_3, num_code, name, display_name)
    select * from unnest($5::int[], $6::text[], $7::text[], $8::int[], $9::text[], $10::text[])
), seeded_payment_providers as (
    insert into payment_providers (id) values ('manual')
), seeded_fulfillment_providers as (
    insert into fulfillment_providers (id) values ('manual')
), seeded_profiles as (
    insert into shipping_profiles (id, name, type)
    values ($11, 'Default Shipping Profile', 'default'), ($12, 'Gift Card Profile', 'gift_card')
), channel as (
    insert into sales_channels (id, name, description) values ($13, 'Default Sales Channel', 'Created by Mercer')
), store as (
    insert into stores (id, name, default_currency_code, default_sales_channel_id)
    values ($14, 'Mercer Store', 'usd', $13)
)
insert into store_currencies (store_id, currency_code) values ($14, 'usd')
"""


def currencies() -> list[tuple[str, str, str, str]]:
    """(code, name, symbol, native symbol), by code."""
    names = Locale("en").currencies
    with CURRENCIES.open(encoding="utf-8", newline="") as file:
        return [
            (
                row["code"],
                CURRENCY_NAMES.get(row["code"]) or names[row["code"].upper()],
                row["symbol"],
                row["symbol_native"],
            )
            for row in csv.DictReader(file)
        ]


def countries() -> list[tuple[int, str, str, int, str, str]]:
    """(id, ISO 2, ISO 3, number, NAME, Name). The id is the place in the alphabet, as Medusa's clients know it."""
    known = [
        (
            country.alpha_2,
            COUNTRY_CODES.get(country.alpha_2, country.alpha_3),
            int(country.numeric),
            COUNTRY_NAMES.get(country.alpha_2, country.name),
        )
        for country in pycountry.countries
    ]
    ordered = sorted(known + NOT_IN_ISO, key=lambda country: country[3])
    return [
        (place, iso_2.lower(), iso_3.lower(), number, name.upper(), name)
        for place, (iso_2, iso_3, number, name) in enumerate(ordered, 1)
    ]


async def seed(db: Db) -> None:
    """Fill an empty database; does nothing to one that has a store."""
    if await db.fetchval("select exists (select from stores)"):
        return
    await db.execute("select pg_advisory_xact_lock($1)", SEED_LOCK)
    if await db.fetchval("select exists (select from stores)"):
        return
    ids = [new_id(prefix) for prefix in ("sp", "sp", "sc", "store")]
    await db.execute(
        SEED, *map(list, zip(*currencies(), strict=True)), *map(list, zip(*countries(), strict=True)), *ids
    )
