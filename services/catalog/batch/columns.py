"""The columns of product files: what export and import call them, and amounts in major units.

A price column is `Price EUR`, or `Price <region> [EUR]` with the region's name, or its id where several have the name.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Literal

from services.catalog.bodies import MAX_AMOUNT

SIZES = ("weight", "length", "width", "height")
CUSTOMS = ("hs_code", "origin_country", "mid_code", "material")
NAMES = {"hs_code": "HS Code", "mid_code": "MID Code", "sku": "SKU"}


def columns(of: str, *fields: str) -> dict[str, str]:
    """{column: field}, in order: `hs_code` of Product is `Product HS Code`."""
    return {f"{of} {NAMES.get(field, field.replace('_', ' ').title())}": field for field in fields}


PRODUCT = columns(
    "Product", "id", "handle", "title", "subtitle", "description", "status", "thumbnail", *SIZES, *CUSTOMS
)
COLLECTION = columns("Product Collection", "title", "handle")
TYPE, TAGS = "Product Type", "Product Tags"
PRODUCT_REST = columns("Product", "discountable", "external_id")
PROFILE = columns("Product Profile", "name", "type")
VARIANT = columns(
    "Variant",
    "id",
    "title",
    "sku",
    "barcode",
    "inventory_quantity",
    "allow_backorder",
    "manage_inventory",
    *SIZES,
    *CUSTOMS,
)
PLAIN = frozenset([*PRODUCT, *COLLECTION, TYPE, TAGS, *PRODUCT_REST, *PROFILE, *VARIANT])
NUMBERED = re.compile(
    r"Option (?P<option>[1-9]\d{0,2}) (?P<part>Name|Value)|Image (?P<image>[1-9]\d{0,2}) Url"
    r"|Sales Channel (?P<channel>[1-9]\d{0,2}) (?P<channel_part>Id|Name|Description)"
    r"|Product Category (?P<category>[1-9]\d{0,2}) (?P<category_part>Handle|Name|Description)"
)
REGION_PRICE = re.compile(r"Price (?P<region>.+) \[(?P<currency>[A-Za-z]{3})\]", re.DOTALL)
CURRENCY_PRICE = re.compile(r"Price (?P<currency>[A-Za-z]{3})")

# As payment providers take amounts (and Medusa keeps them): all others have two decimals.
WITHOUT_DECIMALS = frozenset(
    ("bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "ugx", "vnd", "vuv", "xaf", "xof", "xpf")
)
WITH_THREE = frozenset(("bhd", "jod", "kwd", "omr", "tnd"))
AMOUNT = re.compile(r"\d{1,16}(\.\d{1,9})?")


def decimals(currency: str) -> int:
    """How many decimals the amounts of a currency (lower case) have."""
    return 0 if currency in WITHOUT_DECIMALS else 3 if currency in WITH_THREE else 2


def major(amount: int, currency: str) -> str:
    """1050 minor units as `10.5`, 1000 as `10`."""
    text = f"{Decimal(amount).scaleb(-decimals(currency)):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def minor(cell: str, currency: str) -> int:
    """`10.5` as 1050; more decimals than the currency has are rounded. Raises ValueError."""
    if not AMOUNT.fullmatch(cell):
        raise ValueError("must be an amount such as 10.50")
    amount = int(Decimal(cell).scaleb(decimals(currency)).quantize(Decimal(1), ROUND_HALF_UP))
    if amount > MAX_AMOUNT:
        raise ValueError("is too large")
    return amount


@dataclass(frozen=True)
class PriceColumn:
    """Where a price holds: in a currency (lower case), or in a region with that currency."""

    currency: str
    region: str | None = None

    @property
    def name(self) -> str:
        """Name of the column; `region` is what the file calls the region."""
        code = self.currency.upper()
        return f"Price {self.region} [{code}]" if self.region is not None else f"Price {code}"


def price_column(name: str) -> PriceColumn | None:
    """The price that a column of this name has, if it is one."""
    if match := REGION_PRICE.fullmatch(name):
        return PriceColumn(match["currency"].lower(), match["region"])
    if match := CURRENCY_PRICE.fullmatch(name):
        return PriceColumn(match["currency"].lower())
    return None


Part = Literal["option_name", "option_value", "image", "channel_id", "channel_name", "category"]


def numbered(names: list[str]) -> Mapping[Part, dict[int, str]]:
    """{part: {number: column}} of the columns that there can be any number of, in the order of the numbers."""
    by_part: dict[Part, dict[int, str]] = {
        "option_name": {},
        "option_value": {},
        "image": {},
        "channel_id": {},
        "channel_name": {},
        "category": {},
    }
    for name in names:
        match = NUMBERED.fullmatch(name)
        if match is None:
            continue
        if match["option"]:
            by_part["option_name" if match["part"] == "Name" else "option_value"][int(match["option"])] = name
        elif match["image"]:
            by_part["image"][int(match["image"])] = name
        elif match["channel"] and match["channel_part"] != "Description":
            by_part["channel_id" if match["channel_part"] == "Id" else "channel_name"][int(match["channel"])] = name
        elif match["category"] and match["category_part"] == "Handle":
            by_part["category"][int(match["category"])] = name
    return {part: dict(sorted(of.items())) for part, of in by_part.items()}


def is_known(name: str) -> bool:
    """Whether a product file may have this column."""
    return name in PLAIN or NUMBERED.fullmatch(name) is not None or price_column(name) is not None
