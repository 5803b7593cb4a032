"""What the API shows of inventory: columns and relations, as data (chassis/embed.py)."""

from services.chassis.embed import Many, One, Resource, Selection, Value, cols, merge, tree

NEVER = {"deleted_at": "null::text"}  # shown, but what is deleted here is gone: the ledger and the events remember it

ADDRESS = Resource(
    "location_addresses",
    cols(
        "id created_at@ updated_at@ address_1 address_2 company city country_code phone postal_code province metadata",
        **NEVER,
    ),
)
CHANNELS = Value(
    "select coalesce(json_agg(c.body order by l.created_at, c.id), '[]'::json) from channel_locations l "
    "join copies c on c.kind = 'sales_channel' and c.id = l.sales_channel_id "
    "where l.location_id = {p}.id and c.body is not null and c.body ->> 'deleted_at' is null"
)
# The answers to changes do not know `sales_channels`. `deleted_at` is shown when it is asked for.
CHANGED_LOCATION = Resource(
    "stock_locations",
    cols("id created_at@ updated_at@ name address_id metadata", **NEVER),
    {"address": One(ADDRESS, "{t}.id = {p}.address_id")},
)
LOCATION = Resource(
    CHANGED_LOCATION.table,
    CHANGED_LOCATION.columns,
    {**CHANGED_LOCATION.relations, "sales_channels": CHANNELS},
)

LOCATION_FIELDS = tuple(name for name in LOCATION.columns if name != "deleted_at")

LEVEL_NAMES = (
    "id created_at@ updated_at@ inventory_item_id location_id stocked_quantity reserved_quantity incoming_quantity"
    " metadata"
)
LEVEL = Resource("inventory_levels", cols(LEVEL_NAMES, **NEVER))
LEVEL_FIELDS = tuple(name for name in LEVEL.columns if name != "deleted_at")
WHOLE_LEVEL = Resource(
    LEVEL.table,
    cols(LEVEL_NAMES, available_quantity="{t}.stocked_quantity - {t}.reserved_quantity", **NEVER),
)

ITEM_COLUMNS = cols(
    "id created_at@ updated_at@ sku origin_country hs_code mid_code material weight length height width "
    "requires_shipping title description thumbnail metadata",
    **NEVER,
)
ITEM = Resource("inventory_items", ITEM_COLUMNS)
ITEM_FIELDS = tuple(name for name in ITEM_COLUMNS if name != "deleted_at")
WHOLE_ITEM = Selection(tuple(ITEM_COLUMNS), ())

# A variant whose copy has not come yet is null here: then it is fetched (remote.py).
VARIANTS = Value(
    "select coalesce(json_agg(case when v.id is not null then v.body || jsonb_build_object('product', p.body) end), "
    "'[]'::json) "
    "from variant_items i left join copies v on v.kind = 'variant' and v.id = i.variant_id "
    "left join copies p on p.kind = 'product' and p.id = v.body ->> 'product_id' "
    "where i.inventory_item_id = {p}.id and (v.id is null or v.body ->> 'deleted_at' is null and v.body is not null)"
)


def stocked_item(places: str = "true") -> Resource:
    """An item with its stock at the locations that `places`, a condition on levels `{t}`, lets through."""

    def total(column: str) -> Value:
        levels = f"from inventory_levels l where l.inventory_item_id = {{p}}.id and {places.format(t='l')}"
        return Value(f"select coalesce(sum(l.{column}), 0) {levels}")

    return Resource(
        "inventory_items",
        ITEM_COLUMNS,
        {
            "location_levels": Many(WHOLE_LEVEL, f"{{t}}.inventory_item_id = {{p}}.id and {places}"),
            "stocked_quantity": total("stocked_quantity"),
            "reserved_quantity": total("reserved_quantity"),
            "variants": VARIANTS,
        },
    )


STOCKED_ITEM = stocked_item()
STOCKED_ITEM_AT = stocked_item("{t}.location_id = any($1::text[])")  # the list's first argument
STOCK = tree(("location_levels", "stocked_quantity", "reserved_quantity"))
LISTED_STOCK = tree(("location_levels", "stocked_quantity", "reserved_quantity", "variants"))

RESERVATION = Resource(
    "reservations",
    cols(
        "id created_at@ updated_at@ line_item_id inventory_item_id location_id quantity external_id description "
        "created_by metadata",
        **NEVER,
    ),
    {
        "inventory_item": One(ITEM, "{t}.id = {p}.inventory_item_id"),
        "line_item": Value(
            "select c.body || jsonb_build_object('order', c.related -> 'order') from copies c "
            "where c.kind = 'line_item' and c.id = {p}.line_item_id"
        ),
    },
    omit={"line_item": "not exists (select from copies c where c.kind = 'line_item' and c.id = {t}.line_item_id)"},
)
WHOLE_RESERVATION = Selection(tuple(RESERVATION.columns), ())
LISTED_RESERVATION = tuple(
    name for name in RESERVATION.columns if name not in ("external_id", "created_by", "deleted_at")
)

# Each line says how much a level changed by, and why.
LEDGER = Resource(
    "stock_ledger",
    cols("id created_at@ inventory_item_id location_id stocked reserved incoming cause reference actor"),
)

# A variant of the catalog, by its copy, and the stock behind it. Several pieces of one variant are not supported.
VARIANT = Resource(
    "copies",
    cols("id"),
    {
        "inventory": Many(
            STOCKED_ITEM,
            "{t}.id = (select i.inventory_item_id from variant_items i where i.variant_id = {p}.id)",
        ),
        "sales_channel_availability": Value(
            "select coalesce(json_agg(json_build_object('channel_name', c.body ->> 'name', 'channel_id', c.id, "
            "'available_quantity', case when not exists "
            "(select from channel_locations l where l.sales_channel_id = c.id) then 0 else "
            "(select sum(v.stocked_quantity - v.reserved_quantity) from inventory_levels v "
            "where v.inventory_item_id = i.inventory_item_id and v.location_id in "
            "(select l.location_id from channel_locations l where l.sales_channel_id = c.id)) end) "
            "order by c.body ->> 'created_at', c.id), '[]'::json) "
            "from variant_items i, copies c where i.variant_id = {p}.id "
            "and c.kind = 'sales_channel' and c.body is not null and c.body ->> 'deleted_at' is null"
        ),
    },
    called="variants",
)
VARIANT_STOCK = Selection(
    ("id",),
    merge(
        tree(["sales_channel_availability"]),
        tree(f"inventory.{name}" for name in ("location_levels", "stocked_quantity", "reserved_quantity")),
    ),
)
