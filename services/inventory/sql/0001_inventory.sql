-- An id as chassis/ids.py makes them, for rows whose number is known only inside a statement: the time in
-- milliseconds, then 80 random bits, 5 bits a letter.
create function new_id(prefix text) returns text language sql volatile as $$
    select prefix || '_'
        || (
            select string_agg(substr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', 1 + (n.ms >> (5 * i) & 31)::int, 1), '' order by i desc)
            from generate_series(0, 9) i
        )
        || (
            select string_agg(substr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', 1 + (get_byte(n.random, i) & 31), 1), '')
            from generate_series(0, 15) i
        )
    from (select floor(extract(epoch from clock_timestamp()) * 1000)::bigint as ms, uuid_send(gen_random_uuid()) as random) n
$$;

-- Merged by key; a key sent as "" is removed.
create function merged_metadata(old jsonb, sent jsonb) returns jsonb language sql immutable parallel safe
return (coalesce(old, '{}') || coalesce(sent, '{}'))
    - coalesce((select array_agg(key) from jsonb_each(sent) where value = '""'), '{}');

-- Stock locations (locations.py). `address_id` is taken as given: several may share an address, and none need exist.
create table stock_locations (
    id text primary key,
    name text not null check (name <> ''),
    address_id text,
    metadata jsonb,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
create index stock_locations_created_at on stock_locations (created_at desc, id desc);

create table location_addresses (
    id text primary key,
    address_1 text not null,
    address_2 text,
    company text,
    city text,
    country_code text not null,
    phone text,
    postal_code text,
    province text,
    metadata jsonb,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);

-- Which locations serve which sales channel (channels.py). The channel is the catalog's.
create table channel_locations (
    sales_channel_id text not null,
    location_id text not null references stock_locations (id) on delete cascade,
    created_at timestamptz not null default now(),
    primary key (sales_channel_id, location_id)
);
create index channel_locations_location_id on channel_locations (location_id);

-- Inventory items (items.py) and the variant that each counts. The variant is the catalog's; `allow_backorder` is what
-- it said when it was made, its copy knows better later.
create table inventory_items (
    id text primary key,
    sku text,
    origin_country text,
    hs_code text,
    mid_code text,
    material text,
    weight int,
    length int,
    height int,
    width int,
    requires_shipping boolean not null default true,
    title text,
    description text,
    thumbnail text,
    metadata jsonb,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint inventory_items_sku unique (sku)
);
create index inventory_items_created_at on inventory_items (created_at desc, id desc);

create table variant_items (
    variant_id text primary key,
    inventory_item_id text not null references inventory_items (id) on delete cascade,
    allow_backorder boolean not null default false,
    constraint variant_items_item unique (inventory_item_id)
);

-- What is in stock where (levels.py). Stock can be below zero, and more can be reserved than is there: both by hand.
create table inventory_levels (
    id text primary key,
    inventory_item_id text not null references inventory_items (id) on delete cascade,
    location_id text not null references stock_locations (id) on delete cascade,
    stocked_quantity bigint not null,
    reserved_quantity bigint not null default 0 check (reserved_quantity >= 0),
    incoming_quantity bigint not null default 0 check (incoming_quantity >= 0),
    metadata jsonb,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint inventory_levels_place unique (inventory_item_id, location_id)
) with (fillfactor = 80);
create index inventory_levels_location_id on inventory_levels (location_id);

-- Stock that is spoken for (reservations.py). The sum over a level is its reserved_quantity.
create table reservations (
    id text primary key,
    line_item_id text,
    inventory_item_id text not null,
    location_id text not null,
    quantity int not null check (quantity > 0),
    external_id text,
    description text,
    created_by text,
    metadata jsonb,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    foreign key (inventory_item_id, location_id) references inventory_levels (inventory_item_id, location_id)
);
create index reservations_created_at on reservations (created_at desc, id desc);
create index reservations_line_item_id on reservations (line_item_id);
create index reservations_place on reservations (inventory_item_id, location_id);
create index reservations_location_id on reservations (location_id);

-- Every change of a level, written by the statement that makes it (ledger.py). For each item and location the columns
-- add up to the level; to zero when there is none any more. Nothing refers to it and it is never changed.
create table stock_ledger (
    id bigint generated always as identity primary key,
    inventory_item_id text not null,
    location_id text not null,
    stocked bigint not null,
    reserved bigint not null,
    incoming bigint not null,
    cause text not null check (
        cause in ('adjustment', 'reservation', 'order', 'fulfillment', 'fulfillment_canceled', 'return', 'undone', 'closed')
    ),
    reference text, -- the order, fulfillment, return or reservation
    actor text,
    created_at timestamptz not null default now()
);
create index stock_ledger_place on stock_ledger (inventory_item_id, location_id);
create index stock_ledger_reference on stock_ledger (reference);

-- Fulfillments and returns that moved stock (moves.py), so that each does it once and can be taken back.
create table stock_moves (
    id text primary key,
    state text not null default 'done' check (state in ('done', 'undone')),
    created_at timestamptz not null default now()
);

-- What a fulfillment took of which reservation, as the reservation was before.
create table reservation_uses (
    move_id text not null references stock_moves (id),
    reservation_id text not null,
    quantity int not null check (quantity > 0),
    reservation jsonb not null,
    primary key (move_id, reservation_id)
);

-- Numbers what is said about the availability of variants: drawn under the item's lock, the higher one is the newer.
create sequence availability_sequence;
