"""What the served document lacks of the contract on purpose, and why. Everything else in the contract is there."""

REASONS: dict[str, str] = {
    "refused": "the reference itself refuses it in a request: it documents what it does not accept",
    "fails": "the reference itself fails, or refuses the relation, when it is asked for",
    "never": "no answer of the reference has it, whatever is expanded: the contract says more than runs",
    "back": "leads from a row back to what it is shown in, or to one with operations of its own: `expand` refuses it",
}

EXCEPTIONS: dict[str, tuple[str, ...]] = {
    "refused": (
        "AdminPostInventoryItemsReq.allow_backorder",
        "AdminPostInventoryItemsReq.barcode",
        "AdminPostInventoryItemsReq.ean",
        "AdminPostInventoryItemsReq.inventory_quantity",
        "AdminPostInventoryItemsReq.manage_inventory",
        "AdminPostInventoryItemsReq.upc",
        "AdminPostOrdersOrderClaimsClaimReq.claim_items.item_id",
        "AdminPostOrdersOrderClaimsClaimReq.claim_items.quantity",
        "StockLocationAddressInput.metadata",
    ),
    "fails": (
        "GiftCard.order_id",
        "Order.sales_channels",
        "ProductCategory.mpath",
        "SalesChannel.carts",
        "SalesChannel.orders",
        "SalesChannel.publishableKeys",
    ),
    "never": (
        "AdminVariantsListRes.limit",
        "AdminVariantsListRes.offset",
        "LineItem.gift_card_total",
        "Order.raw_discount_total",
        "Refund.order",  # of the answer that makes one; where an order shows its refunds both can be expanded
        "Refund.payment",
        "ResponseInventoryItem.location_levels.description",
        "ResponseInventoryItem.location_levels.height",
        "ResponseInventoryItem.location_levels.hs_code",
        "ResponseInventoryItem.location_levels.length",
        "ResponseInventoryItem.location_levels.material",
        "ResponseInventoryItem.location_levels.mid_code",
        "ResponseInventoryItem.location_levels.origin_country",
        "ResponseInventoryItem.location_levels.requires_shipping",
        "ResponseInventoryItem.location_levels.sku",
        "ResponseInventoryItem.location_levels.thumbnail",
        "ResponseInventoryItem.location_levels.title",
        "ResponseInventoryItem.location_levels.weight",
        "ResponseInventoryItem.location_levels.width",
    ),
    "back": (
        "CustomerGroup.price_lists",
        "LineItemTaxLine.item",
        "SalesChannelLocation.sales_channel",
        "ShippingMethodTaxLine.shipping_method",
    ),
}
