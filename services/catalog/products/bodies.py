"""What requests about products and variants may say. Sizes are whole numbers, as they are stored."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, field_validator, model_validator

from services.catalog.bodies import Amount, Metadata
from services.chassis.http import ABSENT, Body

MOST_INT = 2**31 - 1

Text = Annotated[str, StringConstraints(max_length=100_000)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Code = Annotated[str, StringConstraints(max_length=255)]
Url = Annotated[str, AfterValidator(lambda url: short_enough(url))]
Id = Annotated[str, StringConstraints(max_length=255)]
Int = Annotated[int, Field(ge=-MOST_INT - 1, le=MOST_INT)]
Size = Annotated[int, Field(ge=0, le=MOST_INT)] | None
Status = Literal["draft", "proposed", "published", "rejected"]


def short_enough(url: str) -> str:
    """The address, if an index entry has room for it."""
    if len(url.encode()) > 2000:
        raise ValueError("an address has at most 2000 bytes")
    return url


class IdBody(Body):
    id: Id


class TitleBody(Body):
    title: Name


class ValueBody(Body):
    """A tag or a type. It is found or made by its value; an `id` sent along does not matter."""

    id: Id | None = None
    value: Annotated[str, StringConstraints(min_length=1, max_length=255)]


class PriceBody(Body):
    """What a variant costs, in a region or in a currency."""

    currency_code: Annotated[str, StringConstraints(max_length=3)] | None = None
    region_id: Id | None = None
    amount: Amount
    min_quantity: Size = None
    max_quantity: Size = None

    @model_validator(mode="after")
    def in_one_place(self) -> Self:
        # An empty text says nothing.
        self.currency_code, self.region_id = self.currency_code or None, self.region_id or None
        if (self.currency_code is None) == (self.region_id is None):
            raise ValueError("a price has either a currency_code or a region_id")
        return self


class PriceUpdate(PriceBody):
    id: Id | None = None


class OptionValueBody(Body):
    value: Code


class VariantOptionBody(Body):
    option_id: Id
    value: Code


class VariantCodes(Body):
    """Properties of a variant that can be null, whatever else is being done to it."""

    sku: Code | None = None
    ean: Code | None = None
    upc: Code | None = None
    barcode: Code | None = None
    hs_code: Code | None = None
    origin_country: Code | None = None
    mid_code: Code | None = None
    material: Code | None = None
    weight: Size = None
    length: Size = None
    height: Size = None
    width: Size = None
    metadata: Metadata = None


class NewVariant(VariantCodes):
    """A variant of a new product: its values are those of the product's options, in their order."""

    title: Name
    inventory_quantity: Int = 0
    allow_backorder: bool = False
    manage_inventory: bool = True
    prices: Annotated[list[PriceBody], Field(max_length=1000)]
    options: Annotated[list[OptionValueBody], Field(max_length=100, default_factory=list)]


class VariantBody(NewVariant):
    """A variant added to a product."""

    options: Annotated[list[VariantOptionBody], Field(max_length=100)]  # type: ignore[assignment]  # says more


class VariantUpdate(VariantCodes):
    title: Name = ABSENT
    inventory_quantity: Int = ABSENT
    allow_backorder: bool = ABSENT
    manage_inventory: bool = ABSENT
    prices: Annotated[list[PriceUpdate], Field(max_length=1000)] | None = None
    options: Annotated[list[VariantOptionBody], Field(max_length=100)] | None = None


class VariantEntry(VariantUpdate):
    """One of a product's variants: with an id what changes of it, without an id a new one."""

    id: Id | None = None

    @model_validator(mode="after")
    def new_ones_have_a_title(self) -> Self:
        if self.id is None and "title" not in self.model_fields_set:
            raise ValueError("a new variant needs a title")
        return self


class ProductCodes(Body):
    """Properties of a product that can be null."""

    subtitle: Text | None = None
    description: Text | None = None
    thumbnail: Url | None = None
    handle: Annotated[str, StringConstraints(max_length=500)] | None = None
    collection_id: Id | None = None
    weight: Size = None
    length: Size = None
    height: Size = None
    width: Size = None
    hs_code: Code | None = None
    origin_country: Code | None = None
    mid_code: Code | None = None
    material: Code | None = None
    metadata: Metadata = None
    type: ValueBody | None = None
    images: Annotated[list[Url], Field(max_length=500)] | None = None
    tags: Annotated[list[ValueBody], Field(max_length=500)] | None = None
    categories: Annotated[list[IdBody], Field(max_length=500)] | None = None
    sales_channels: Annotated[list[IdBody], Field(max_length=500)] | None = None


class ProductBody(ProductCodes):
    title: Name
    is_giftcard: bool = False
    discountable: bool = True
    status: Status = "draft"
    options: Annotated[list[TitleBody], Field(max_length=100)] | None = None
    variants: Annotated[list[NewVariant], Field(max_length=1000)] | None = None


class ProductUpdate(ProductCodes):
    title: Name = ABSENT
    handle: Name | None = None
    discountable: bool = ABSENT
    status: Status = ABSENT
    variants: Annotated[list[VariantEntry], Field(max_length=1000)] | None = None

    @field_validator("sales_channels", mode="before")
    @classmethod
    def none_at_all(cls, value: object) -> object:
        """Of all the sets, this one is emptied by null, too."""
        return [] if value is None else value


class MetadataBody(Body):
    key: Code
    value: Text
