-- What the catalog is set up with: the store, currencies, countries, regions, shipping, taxes, sales channels.
-- Rates are percentages; amounts are in minor units. Rows with `deleted_at` are gone for the API and kept for orders.

create table currencies (
    code text primary key,
    symbol text not null,
    symbol_native text not null,
    name text not null,
    includes_tax boolean not null default false
);

create table payment_providers (
    id text primary key,
    is_installed boolean not null default true
);

create table fulfillment_providers (
    id text primary key,
    is_installed boolean not null default true
);

create table tax_providers (
    id text primary key,
    is_installed boolean not null default true
);

create table sales_channels (
    id text primary key,
    name text not null,
    description text,
    is_disabled boolean not null default false,
    metadata jsonb,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz
);
create index on sales_channels (created_at desc, id desc) where deleted_at is null;

-- One row: `sole` cannot have another value, so a second store cannot be.
create table stores (
    id text primary key,
    sole boolean not null default true unique check (sole),
    name text not null,
    default_currency_code text not null references currencies,
    swap_link_template text,
    payment_link_template text,
    invite_link_template text,
    default_location_id text,
    default_sales_channel_id text not null references sales_channels,
    metadata jsonb,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);

create table store_currencies (
    store_id text not null references stores on delete cascade,
    currency_code text not null references currencies,
    primary key (store_id, currency_code)
);

create table regions (
    id text primary key,
    name text not null,
    currency_code text not null references currencies,
    tax_rate double precision not null check (tax_rate between 0 and 100),
    tax_code text,
    gift_cards_taxable boolean not null default true,
    automatic_taxes boolean not null default true,
    includes_tax boolean not null default false,
    tax_provider_id text references tax_providers,
    metadata jsonb,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz
);
create index on regions (created_at desc, id desc) where deleted_at is null;

-- A country belongs to at most one region.
create table countries (
    id integer not null unique,
    iso_2 text primary key,
    iso_3 text not null,
    num_code integer not null,
    name text not null,
    display_name text not null,
    region_id text references regions
);
create index on countries (region_id);

create table region_payment_providers (
    region_id text not null references regions on delete cascade,
    provider_id text not null references payment_providers,
    primary key (region_id, provider_id)
);

create table region_fulfillment_providers (
    region_id text not null references regions on delete cascade,
    provider_id text not null references fulfillment_providers,
    primary key (region_id, provider_id)
);

create table shipping_profiles (
    id text primary key,
    name text not null,
    type text not null check (type in ('default', 'gift_card', 'custom')),
    metadata jsonb,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz
);

create table shipping_options (
    id text primary key,
    name text not null,
    region_id text not null references regions,
    profile_id text not null references shipping_profiles,
    provider_id text not null references fulfillment_providers,
    price_type text not null check (price_type in ('flat_rate', 'calculated')),
    amount bigint check (amount >= 0),
    is_return boolean not null default false,
    admin_only boolean not null default false,
    includes_tax boolean not null default false,
    data jsonb not null,
    metadata jsonb,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz,
    check (price_type <> 'flat_rate' or amount is not null)
);
create index on shipping_options (region_id) where deleted_at is null;
create index on shipping_options (profile_id) where deleted_at is null;
create index on shipping_options (created_at desc, id desc) where deleted_at is null;

create table shipping_option_requirements (
    id text primary key,
    shipping_option_id text not null references shipping_options on delete cascade,
    type text not null check (type in ('min_subtotal', 'max_subtotal')),
    amount bigint not null,
    deleted_at timestamptz
);
create index on shipping_option_requirements (shipping_option_id) where deleted_at is null;

create table tax_rates (
    id text primary key,
    rate double precision,
    code text,
    name text not null,
    region_id text not null references regions,
    metadata jsonb,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
create index on tax_rates (region_id);
create index on tax_rates (created_at desc, id desc);

create table shipping_tax_rates (
    rate_id text not null references tax_rates on delete cascade,
    shipping_option_id text not null references shipping_options on delete cascade,
    primary key (rate_id, shipping_option_id)
);
create index on shipping_tax_rates (shipping_option_id);

-- The products and types are in the next file, which comes first for neither: 0003 makes these columns refer to them.
create table product_tax_rates (
    rate_id text not null references tax_rates on delete cascade,
    product_id text not null,
    primary key (rate_id, product_id)
);
create index on product_tax_rates (product_id);

create table product_type_tax_rates (
    rate_id text not null references tax_rates on delete cascade,
    product_type_id text not null,
    primary key (rate_id, product_type_id)
);
create index on product_type_tax_rates (product_type_id);
