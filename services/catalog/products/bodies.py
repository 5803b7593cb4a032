"""What requests about products and variants may say. Sizes are whole numbers, as they are stored."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, field_validator, model_validator

from services.catalog.bodies import MAX_QUANTITY, Amount, Metadata
from services.chassis.http import ABSENT, Body

Text = Annotated[str, StringConstraints(max_length=100_000)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Code = Annotated[str, StringConstraints(max_length=255)]
Url = Annotated[str, AfterValidator(lambda url: short_enough(url))]
Id = Annotated[str, StringConstraints(max_length=255)]
Int = Annotated[int, Field(ge=-MAX_QUANTITY - 1, le=MAX_QUANTITY)]
Size = Annotated[int, Field(ge=0, le=MAX_QUANTITY)] | None
Status = Literal["draft", "proposed", "published", "rejected"]


def short_enough(url: str) -> str:
    """The address, if an index entry has room for it."""
    if len(url.encode()) > 2000:
        raise ValueError("an address has at most 2000 bytes")
    return url


class IdBody(Body):
    id: Id


class OptionBody(Body):
    title: Name


class ValueBody(Body):
    """A tag or a type, which is made when there is none of that value."""

    id: Id | None = None
    """Understood, and without effect."""
    value: Annotated[str, StringConstraints(min_length=1, max_length=255)]


class PriceBody(Body):
    """What a variant costs, in a region or in a currency."""

    currency_code: Annotated[str, StringConstraints(max_length=3)] | None = None
    """The currency that it holds in; either this or a region."""
    region_id: Id | None = None
    """The region that it holds in, in its currency."""
    amount: Amount
    """In minor units, for one piece."""
    min_quantity: Size = None
    """The least quantity that it holds for. Prices of a region have none."""
    max_quantity: Size = None
    """The largest quantity that it holds for. Prices of a region have none."""

    @model_validator(mode="after")
    def in_one_place(self) -> Self:
        # An empty text says nothing.
        self.currency_code, self.region_id = self.currency_code or None, self.region_id or None
        if (self.currency_code is None) == (self.region_id is None):
            raise ValueError("a price has either a currency_code or a region_id")
        return self


class PriceUpdate(PriceBody):
    id: Id | None = None
    """Understood: the price that is there for the same region or currency is changed."""


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
    """Code of the Harmonized System, for customs."""
    origin_country: Code | None = None
    """Where it was made, for customs."""
    mid_code: Code | None = None
    """Manufacturer's identification, for customs."""
    material: Code | None = None
    weight: Size = None
    """A whole number, in the shop's unit."""
    length: Size = None
    height: Size = None
    width: Size = None
    metadata: Metadata = None


class NewVariant(VariantCodes):
    """A variant of a new product: its values are those of the product's options, in their order."""

    title: Name
    inventory_quantity: Int = 0
    """Stored with the variant, and no stock: what is there the inventory counts."""
    allow_backorder: bool = False
    """Whether it can be sold while there is none."""
    manage_inventory: bool = True
    """Whether the inventory counts it; if not, it can always be sold."""
    prices: Annotated[list[PriceBody], Field(max_length=1000)]
    options: Annotated[list[OptionValueBody], Field(max_length=100, default_factory=list)]
    """One value for each of the product's options, in their order."""


class VariantBody(NewVariant):
    """A variant added to a product."""

    options: Annotated[list[VariantOptionBody], Field(max_length=100)]  # type: ignore[assignment]  # says more
    """One value for each of the product's options."""


class VariantUpdate(VariantCodes):
    title: Name = ABSENT
    inventory_quantity: Int = ABSENT
    """Stored with the variant, and no stock: what is there the inventory counts."""
    allow_backorder: bool = ABSENT
    """Whether it can be sold while there is none."""
    manage_inventory: bool = ABSENT
    """Whether the inventory counts it; if not, it can always be sold."""
    prices: Annotated[list[PriceUpdate], Field(max_length=1000)] | None = None
    """All its prices but those of price lists, from now on."""
    options: Annotated[list[VariantOptionBody], Field(max_length=100)] | None = None
    """Values for some of the product's options; the others stay."""


class VariantEntry(VariantUpdate):
    """One of a product's variants: with an id what changes of it, without an id a new one."""

    id: Id | None = None
    """Which variant of the product; without one it is new, and needs a title and a value for each option."""

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
    """Address of a small picture; the first image when there is none."""
    handle: Annotated[str, StringConstraints(max_length=500)] | None = None
    """A name for addresses, which no other product has; made of the title when it is not given."""
    collection_id: Id | None = None
    weight: Size = None
    """A whole number, in the shop's unit."""
    length: Size = None
    height: Size = None
    width: Size = None
    hs_code: Code | None = None
    """Code of the Harmonized System, for customs."""
    origin_country: Code | None = None
    """Where it was made, for customs."""
    mid_code: Code | None = None
    """Manufacturer's identification, for customs."""
    material: Code | None = None
    metadata: Metadata = None
    type: ValueBody | None = None
    """The product type."""
    images: Annotated[list[Url], Field(max_length=500)] | None = None
    """Addresses, in the order in which they are shown."""
    tags: Annotated[list[ValueBody], Field(max_length=500)] | None = None
    categories: Annotated[list[IdBody], Field(max_length=500)] | None = None
    sales_channels: Annotated[list[IdBody], Field(max_length=500)] | None = None


class ProductBody(ProductCodes):
    title: Name
    is_giftcard: bool = False
    """Whether buying it makes a gift card; this cannot be changed."""
    discountable: bool = True
    """Whether discounts can take something off. A gift card's price is never lowered."""
    status: Status = "draft"
    """Storefronts show what is `published`."""
    options: Annotated[list[OptionBody], Field(max_length=100)] | None = None
    """What the variants differ in."""
    variants: Annotated[list[NewVariant], Field(max_length=1000)] | None = None


class ProductUpdate(ProductCodes):
    title: Name = ABSENT
    handle: Name | None = None
    """A name for addresses, which no other product has."""
    discountable: bool = ABSENT
    """Whether discounts can take something off."""
    status: Status = ABSENT
    """Storefronts show what is `published`."""
    variants: Annotated[list[VariantEntry], Field(max_length=1000)] | None = None
    """All variants from now on, in their order: those that are not named are deleted."""

    @field_validator("sales_channels", mode="before")
    @classmethod
    def none_at_all(cls, value: object) -> object:
        """Of all the sets, this one is emptied by null, too."""
        return [] if value is None else value


class MetadataBody(Body):
    key: Code
    value: Text
    """An empty text takes the key away."""
