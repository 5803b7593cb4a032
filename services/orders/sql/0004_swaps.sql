-- Swaps, and the carts that their customers confirm them with.

-- What comes back is a line of the swap's cart whose price is negative.
alter table line_items
    drop constraint line_items_unit_price_check,
    add constraint line_items_unit_price_check check (unit_price >= 0 or is_return);

-- The ways to ship that staff offer with a swap, for prices of their own. Without any, the region's hold.
create table custom_shipping_options (
    cart_id text not null references carts on delete cascade,
    shipping_option_id text not null,
    price bigint not null check (price >= 0),
    primary key (cart_id, shipping_option_id)
);

alter table swaps
    add check (payment_status in (
        'not_paid', 'awaiting', 'captured', 'confirmed', 'canceled', 'difference_refunded', 'partially_refunded',
        'refunded', 'requires_action')),
    add check (fulfillment_status in (
        'not_fulfilled', 'partially_fulfilled', 'fulfilled', 'partially_shipped', 'shipped', 'canceled',
        'requires_action'));
drop index swaps_cart_id;
create unique index swaps_cart_id on swaps (cart_id);
