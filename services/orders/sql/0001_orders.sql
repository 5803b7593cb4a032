-- Orders and all that hangs on them. Money is in minor units; amounts that an action changes are stored with their
-- totals, so that a read never computes money (docs: services/orders/totals.py). Columns named *_total are such totals.
-- `position` keeps rows of one statement in the order in which they were given: they share their created_at.

create table customers (
    id text primary key,
    email text not null,
    first_name text,
    last_name text,
    billing_address_id text,
    phone text,
    has_account boolean not null default false,
    password_hash text,
    metadata jsonb,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz
);
create unique index customers_one_guest_per_email on customers (lower(email)) where not has_account and deleted_at is null;
create unique index customers_one_account_per_email on customers (lower(email)) where has_account and deleted_at is null;
create index customers_created_at on customers (created_at desc, id desc);
create index customers_billing_address_id on customers (billing_address_id);

create table addresses (
    id text primary key,
    customer_id text references customers,
    company text,
    first_name text,
    last_name text,
    address_1 text,
    address_2 text,
    city text,
    country_code text,
    province text,
    postal_code text,
    phone text,
    metadata jsonb,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz
);
create index addresses_customer_id on addresses (customer_id);
alter table customers add foreign key (billing_address_id) references addresses;

create table carts (
    id text primary key,
    type text not null default 'default',
    email text,
    customer_id text references customers,
    region_id text not null,
    currency_code text not null,
    sales_channel_id text,
    billing_address_id text references addresses,
    shipping_address_id text references addresses,
    payment_id text,
    payment_authorized_at timestamptz,
    completed_at timestamptz,
    context jsonb not null default '{}',
    idempotency_key text,
    metadata jsonb default '{}',
    subtotal bigint not null default 0,
    discount_total bigint not null default 0,
    raw_discount_total double precision not null default 0,
    shipping_total bigint not null default 0,
    item_tax_total bigint not null default 0,
    shipping_tax_total bigint not null default 0,
    tax_total bigint not null default 0,
    gift_card_total bigint not null default 0,
    gift_card_tax_total bigint not null default 0,
    total bigint not null default 0,
    -- counts the changes of what is priced: an answer of the catalog is stored only on what it was asked about
    version int not null default 0,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz
);
create index carts_region_id on carts (region_id);
create index carts_customer_id on carts (customer_id);
create index carts_billing_address_id on carts (billing_address_id);
create index carts_shipping_address_id on carts (shipping_address_id);

create sequence orders_display_id as int;
create table orders (
    id text primary key,
    display_id int not null unique default nextval('orders_display_id'),
    status text not null default 'pending'
        check (status in ('pending', 'completed', 'archived', 'canceled', 'requires_action')),
    fulfillment_status text not null default 'not_fulfilled' check (fulfillment_status in (
        'not_fulfilled', 'partially_fulfilled', 'fulfilled', 'partially_shipped', 'shipped', 'partially_returned',
        'returned', 'canceled', 'requires_action')),
    payment_status text not null default 'not_paid' check (payment_status in (
        'not_paid', 'awaiting', 'captured', 'partially_refunded', 'refunded', 'canceled', 'requires_action')),
    cart_id text unique references carts,
    draft_order_id text unique,
    customer_id text not null references customers,
    email text not null,
    region_id text not null,
    currency_code text not null,
    sales_channel_id text,
    tax_rate double precision,
    billing_address_id text references addresses,
    shipping_address_id text references addresses,
    no_notification boolean,
    external_id text,
    idempotency_key text,
    metadata jsonb default '{}',
    canceled_at timestamptz,
    subtotal bigint not null default 0,
    discount_total bigint not null default 0,
    raw_discount_total double precision not null default 0,
    shipping_total bigint not null default 0,
    item_tax_total bigint not null default 0,
    shipping_tax_total bigint not null default 0,
    tax_total bigint not null default 0,
    gift_card_total bigint not null default 0,
    gift_card_tax_total bigint not null default 0,
    total bigint not null default 0,
    paid_total bigint not null default 0,
    refunded_total bigint not null default 0,
    refundable_amount bigint not null default 0,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    check (refunded_total >= 0 and refunded_total <= paid_total and refundable_amount >= 0)
);
alter sequence orders_display_id owned by orders.display_id;
create index orders_created_at on orders (created_at desc, id desc);
create index orders_customer_id on orders (customer_id, created_at);
create index orders_region_id on orders (region_id, created_at desc);
create index orders_email on orders (email);
create index orders_status on orders (status, created_at desc);
create index orders_billing_address_id on orders (billing_address_id);
create index orders_shipping_address_id on orders (shipping_address_id);

create sequence draft_orders_display_id as int;
create table draft_orders (
    id text primary key,
    display_id int not null unique default nextval('draft_orders_display_id'),
    status text not null default 'open' check (status in ('open', 'completed')),
    cart_id text not null unique references carts,
    order_id text unique references orders,
    no_notification_order boolean,
    idempotency_key text,
    metadata jsonb,
    canceled_at timestamptz,
    completed_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    check (status = 'completed' or order_id is null)
);
alter sequence draft_orders_display_id owned by draft_orders.display_id;
create index draft_orders_created_at on draft_orders (created_at desc, id desc);
alter table orders add foreign key (draft_order_id) references draft_orders;

-- After-sales

create table swaps (
    id text primary key,
    order_id text not null references orders,
    fulfillment_status text not null default 'not_fulfilled',
    payment_status text not null default 'not_paid',
    difference_due bigint,
    shipping_address_id text references addresses,
    cart_id text references carts,
    allow_backorder boolean not null default false,
    no_notification boolean,
    confirmed_at timestamptz,
    canceled_at timestamptz,
    idempotency_key text,
    metadata jsonb,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz
);
create index swaps_order_id on swaps (order_id);
create index swaps_cart_id on swaps (cart_id);
create index swaps_created_at on swaps (created_at desc, id desc);

create table claims (
    id text primary key,
    order_id text not null references orders,
    type text not null check (type in ('refund', 'replace')),
    payment_status text not null default 'na',
    fulfillment_status text not null default 'not_fulfilled',
    refund_amount bigint,
    shipping_address_id text references addresses,
    no_notification boolean,
    canceled_at timestamptz,
    idempotency_key text,
    metadata jsonb,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz
);
create index claims_order_id on claims (order_id);

create table order_edits (
    id text primary key,
    order_id text not null references orders,
    internal_note text,
    payment_collection_id text,
    created_by text not null,
    requested_by text,
    requested_at timestamptz,
    confirmed_by text,
    confirmed_at timestamptz,
    declined_by text,
    declined_at timestamptz,
    declined_reason text,
    canceled_by text,
    canceled_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
create index order_edits_order_id on order_edits (order_id);

-- Lines

create table line_items (
    id text primary key,
    cart_id text references carts,
    order_id text references orders,
    swap_id text references swaps,
    claim_order_id text references claims,
    order_edit_id text references order_edits,
    original_item_id text references line_items,
    title text not null,
    description text,
    thumbnail text,
    variant_id text,
    product_id text,
    unit_price bigint not null check (unit_price >= 0),
    quantity int not null check (quantity > 0),
    fulfilled_quantity int check (fulfilled_quantity >= 0),
    shipped_quantity int check (shipped_quantity >= 0),
    returned_quantity int check (returned_quantity >= 0),
    is_return boolean not null default false,
    is_giftcard boolean not null default false,
    should_merge boolean not null default true,
    allow_discounts boolean not null default true,
    has_shipping boolean,
    includes_tax boolean not null default false,
    metadata jsonb default '{}',
    -- false where no line of the cart or order is taxed: their answers have no `tax_lines` at all
    has_tax_lines boolean not null default true,
    subtotal bigint not null default 0,
    discount_total bigint not null default 0,
    raw_discount_total double precision not null default 0,
    tax_total bigint not null default 0,
    total bigint not null default 0,
    original_tax_total bigint not null default 0,
    original_total bigint not null default 0,
    refundable bigint not null default 0,
    position bigint generated always as identity,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    check (fulfilled_quantity is null or fulfilled_quantity <= quantity)
);
create index line_items_cart_id on line_items (cart_id);
create index line_items_order_id on line_items (order_id);
create index line_items_swap_id on line_items (swap_id);
create index line_items_claim_order_id on line_items (claim_order_id);
create index line_items_order_edit_id on line_items (order_edit_id);
create index line_items_original_item_id on line_items (original_item_id);

-- A tax line is `frozen` when it was stored at payment: it then has an identity of its own and never changes.
-- Otherwise it is the rate of the moment, shown without id.
create table line_item_tax_lines (
    id text primary key,
    item_id text not null references line_items on delete cascade,
    rate double precision not null,
    name text not null,
    code text,
    frozen boolean not null default false,
    metadata jsonb,
    position bigint generated always as identity,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
create index line_item_tax_lines_item_id on line_item_tax_lines (item_id);

create table line_item_adjustments (
    id text primary key,
    item_id text not null references line_items on delete cascade,
    discount_id text,
    description text not null,
    amount double precision not null,
    metadata jsonb,
    position bigint generated always as identity
);
create index line_item_adjustments_item_id on line_item_adjustments (item_id);

-- Which discounts a cart or an order has; what they are is the catalog's (copies of kind `discount`).
create table cart_discounts (
    cart_id text not null references carts on delete cascade,
    discount_id text not null,
    position bigint generated always as identity,
    primary key (cart_id, discount_id)
);
create table order_discounts (
    order_id text not null references orders on delete cascade,
    discount_id text not null,
    position bigint generated always as identity,
    primary key (order_id, discount_id)
);

-- Fulfillment

create table returns (
    id text primary key,
    order_id text references orders,
    swap_id text references swaps,
    claim_order_id text references claims,
    status text not null default 'requested' check (status in ('requested', 'received', 'requires_action', 'canceled')),
    shipping_data jsonb,
    location_id text,
    refund_amount bigint not null,
    no_notification boolean,
    received_at timestamptz,
    idempotency_key text,
    metadata jsonb,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
create index returns_order_id on returns (order_id);
create index returns_swap_id on returns (swap_id);
create index returns_claim_order_id on returns (claim_order_id);
create index returns_created_at on returns (created_at desc, id desc);

create table shipping_methods (
    id text primary key,
    cart_id text references carts,
    order_id text references orders,
    swap_id text references swaps,
    claim_order_id text references claims,
    return_id text references returns,
    shipping_option_id text not null,
    profile_id text not null,
    provider_id text not null,
    price bigint not null check (price >= 0),
    asked_price bigint check (asked_price >= 0), -- null: the option's, as long as a discount makes shipping free
    data jsonb not null default '{}',
    includes_tax boolean not null default false,
    subtotal bigint not null default 0,
    tax_total bigint not null default 0,
    total bigint not null default 0,
    original_tax_total bigint not null default 0,
    original_total bigint not null default 0,
    position bigint generated always as identity,
    created_at timestamptz not null default now()
);
create index shipping_methods_cart_id on shipping_methods (cart_id);
create index shipping_methods_order_id on shipping_methods (order_id);
create index shipping_methods_swap_id on shipping_methods (swap_id);
create index shipping_methods_claim_order_id on shipping_methods (claim_order_id);
create index shipping_methods_return_id on shipping_methods (return_id);

create table shipping_method_tax_lines (
    id text primary key,
    shipping_method_id text not null references shipping_methods on delete cascade,
    rate double precision not null,
    name text not null,
    code text,
    frozen boolean not null default false,
    metadata jsonb,
    position bigint generated always as identity,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
create index shipping_method_tax_lines_shipping_method_id on shipping_method_tax_lines (shipping_method_id);

create table fulfillments (
    id text primary key,
    order_id text references orders,
    swap_id text references swaps,
    claim_order_id text references claims,
    provider_id text not null,
    location_id text,
    tracking_numbers jsonb not null default '[]',
    data jsonb not null default '{}',
    no_notification boolean,
    shipped_at timestamptz,
    canceled_at timestamptz,
    idempotency_key text,
    metadata jsonb default '{}',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
create index fulfillments_order_id on fulfillments (order_id);
create index fulfillments_swap_id on fulfillments (swap_id);
create index fulfillments_claim_order_id on fulfillments (claim_order_id);

create table fulfillment_items (
    fulfillment_id text not null references fulfillments on delete cascade,
    item_id text not null references line_items,
    quantity int not null check (quantity > 0),
    primary key (fulfillment_id, item_id)
);
create index fulfillment_items_item_id on fulfillment_items (item_id);

create table tracking_links (
    id text primary key,
    fulfillment_id text not null references fulfillments on delete cascade,
    tracking_number text not null,
    url text,
    idempotency_key text,
    metadata jsonb,
    position bigint generated always as identity,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz
);
create index tracking_links_fulfillment_id on tracking_links (fulfillment_id);

create table return_reasons (
    id text primary key,
    value text not null,
    label text not null,
    description text,
    parent_return_reason_id text references return_reasons,
    metadata jsonb,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz
);
create unique index return_reasons_value on return_reasons (value) where deleted_at is null;

create table return_items (
    return_id text not null references returns on delete cascade,
    item_id text not null references line_items,
    quantity int not null,
    requested_quantity int,
    received_quantity int,
    is_requested boolean not null default true,
    reason_id text references return_reasons,
    note text,
    metadata jsonb,
    position bigint generated always as identity,
    primary key (return_id, item_id)
);
create index return_items_item_id on return_items (item_id);

create table claim_items (
    id text primary key,
    claim_order_id text not null references claims on delete cascade,
    item_id text not null references line_items,
    variant_id text,
    reason text not null check (reason in ('missing_item', 'wrong_item', 'production_failure', 'other')),
    note text,
    quantity int not null check (quantity > 0),
    metadata jsonb,
    position bigint generated always as identity,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz
);
create index claim_items_claim_order_id on claim_items (claim_order_id);
create index claim_items_item_id on claim_items (item_id);

create table claim_images (
    id text primary key,
    claim_item_id text not null references claim_items on delete cascade,
    url text not null,
    metadata jsonb,
    position bigint generated always as identity,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz
);
create index claim_images_claim_item_id on claim_images (claim_item_id);

create table claim_tags (
    id text primary key,
    value text not null unique,
    metadata jsonb,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz
);
create table claim_item_tags (
    claim_item_id text not null references claim_items on delete cascade,
    tag_id text not null references claim_tags,
    primary key (claim_item_id, tag_id)
);
create index claim_item_tags_tag_id on claim_item_tags (tag_id);

-- Money. Payments and refunds are copies of what the payments service owns: `sequence` tells which news is the newer.

create table payments (
    id text primary key,
    order_id text,
    cart_id text,
    swap_id text,
    amount bigint not null,
    currency_code text not null,
    amount_refunded bigint not null default 0,
    provider_id text not null,
    data jsonb not null default '{}',
    captured_at timestamptz,
    canceled_at timestamptz,
    idempotency_key text,
    metadata jsonb,
    sequence bigint not null default 0,
    created_at timestamptz not null,
    updated_at timestamptz not null
);
create index payments_order_id on payments (order_id);
create index payments_cart_id on payments (cart_id);
create index payments_swap_id on payments (swap_id);

create table refunds (
    id text primary key,
    order_id text,
    payment_id text,
    amount bigint not null,
    reason text not null,
    note text,
    idempotency_key text,
    metadata jsonb,
    sequence bigint not null default 0,
    created_at timestamptz not null,
    updated_at timestamptz not null
);
create index refunds_order_id on refunds (order_id);
create index refunds_payment_id on refunds (payment_id);

-- How a draft was paid: made when it is, shown with the draft afterwards.
create table payment_sessions (
    id text primary key,
    cart_id text not null references carts on delete cascade,
    provider_id text not null,
    amount bigint,
    status text not null default 'pending',
    data jsonb not null default '{}',
    is_selected boolean,
    is_initiated boolean not null default false,
    payment_authorized_at timestamptz,
    idempotency_key text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
create index payment_sessions_cart_id on payment_sessions (cart_id);
