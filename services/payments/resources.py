"""The rows of this service as reads show them. Orders, carts, swaps and regions are copies of what others own."""

from services.chassis.embed import Many, Nested, One, Resource, Value, cols

MAX_AMOUNT = 2**53 - 1  # the largest that every JSON reader keeps exact

COPY = Resource("copies", document=True)
PAYMENT = Resource(
    "payments",
    cols(
        "id swap_id cart_id order_id amount currency_code amount_refunded provider_id data captured_at@ canceled_at@ "
        "created_at@ updated_at@ metadata idempotency_key"
    ),
    {
        "cart": One(COPY, "{t}.kind = 'cart' and {t}.id = {p}.cart_id"),
        "currency": Value(
            "select c.related -> 'currency' from copies c "
            "where c.kind = 'region' and c.body ->> 'currency_code' = {p}.currency_code order by c.id limit 1"
        ),
        "order": One(COPY, "{t}.kind = 'order' and {t}.id = {p}.order_id"),
        "swap": One(COPY, "{t}.kind = 'swap' and {t}.id = {p}.swap_id"),
    },
)
REFUND = Resource(
    "refunds",
    cols("id payment_id order_id amount reason note created_at@ updated_at@ metadata idempotency_key"),
)
GIFT_CARD = Resource(
    "gift_cards",
    cols(
        "id code value balance region_id is_disabled ends_at@ tax_rate metadata created_at@ updated_at@ deleted_at@",
    ),
    {
        "order": One(COPY, "{t}.kind = 'order' and {t}.id = {p}.order_id"),
        "region": One(COPY, "{t}.kind = 'region' and {t}.id = {p}.region_id and {t}.body ->> 'deleted_at' is null"),
    },
)
NO_ROWS = Value("'[]'::json")
COPIED_REGION = Resource(
    "copies",
    relations={
        name: Nested() for name in ("countries", "currency", "payment_providers", "fulfillment_providers", "tax_rates")
    },
    document=True,
)
COLLECTION = Resource(
    "payment_collections",
    cols(
        "id type status description amount authorized_amount region_id currency_code metadata created_by created_at@ "
        "updated_at@ deleted_at@"
    ),
    {
        "region": One(COPIED_REGION, "{t}.kind = 'region' and {t}.id = {p}.region_id"),
        "currency": Value(
            "select c.related -> 'currency' from copies c where c.kind = 'region' and c.id = {p}.region_id"
        ),
        "payment_sessions": NO_ROWS,
        "payments": Many(PAYMENT, "false"),
    },
)
