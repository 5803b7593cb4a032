-- What the shop sells: products, options, variants, prices, and everything that they are sorted by.
-- Deleted products, variants and collections keep their row (`deleted_at`); uniqueness holds among the live ones.

create table product_collections (
    id text primary key,
    title text not null,
    handle text,
    metadata jsonb,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz
);
create unique index product_collections_handle on product_collections (handle) where deleted_at is null;
create index on product_collections (created_at desc, id desc) where deleted_at is null;
create index on product_collections (title) where deleted_at is null;

create table product_types (
    id text primary key,
    value text not null unique,
    metadata jsonb,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz
);
create index on product_types (created_at desc, id desc);

create table product_tags (
    id text primary key,
    value text not null unique,
    metadata jsonb,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz
);
create index on product_tags (created_at desc, id desc);

-- The children of one parent are ranked 0, 1, 2 ... without gaps; those without a parent are siblings, too.
create table product_categories (
    id text primary key,
    name text not null,
    description text not null default '',
    handle text not null,
    is_active boolean not null default false,
    is_internal boolean not null default false,
    parent_category_id text references product_categories,
    rank integer not null check (rank >= 0),
    metadata jsonb,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
create unique index product_categories_handle on product_categories (handle);
create index on product_categories (parent_category_id, rank);
create index on product_categories (rank, handle);

-- All that is below a category, as nested JSON of the fields named, `levels` deep (null: to the end). A function,
-- because a query cannot nest to an unknown depth.
create function product_category_children(parent text, fields text[], levels int) returns jsonb
language plpgsql stable as $$
begin
    return (
        select coalesce(jsonb_agg(c.shown order by c.rank, c.handle), '[]')
        from (
            select k.rank, k.handle, (
                select coalesce(jsonb_object_agg(f.key, f.value), '{}')
                from jsonb_each(to_jsonb(k) || jsonb_build_object(
                    'created_at', to_char(k.created_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
                    'updated_at', to_char(k.updated_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
                )) f
                where f.key = any(fields)
            ) || case when levels = 1 then '{}' else jsonb_build_object(
                'category_children', product_category_children(k.id, fields, levels - 1)
            ) end as shown
            from product_categories k where k.parent_category_id = parent
        ) c
    );
end
$$;

create table products (
    id text primary key,
    title text not null,
    subtitle text,
    description text,
    handle text,
    is_giftcard boolean not null default false,
    status text not null default 'draft' check (status in ('draft', 'proposed', 'published', 'rejected')),
    thumbnail text,
    weight integer,
    length integer,
    height integer,
    width integer,
    hs_code text,
    origin_country text,
    mid_code text,
    material text,
    collection_id text references product_collections,
    type_id text references product_types,
    profile_id text not null references shipping_profiles,
    discountable boolean not null default true,
    external_id text,
    metadata jsonb,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz
);
create unique index products_handle on products (handle) where deleted_at is null;
create index on products (created_at desc, id desc) where deleted_at is null;
create index on products (updated_at desc, id desc) where deleted_at is null;
create index on products (title, id) where deleted_at is null;
create index on products using hash (description);
create index on products (status, created_at desc, id desc) where deleted_at is null;
create index on products (created_at desc, id desc) where is_giftcard and deleted_at is null;
create index on products (collection_id);
create index on products (type_id);
create index on products (profile_id);
create index on products (deleted_at) where deleted_at is not null;

create table product_options (
    id text primary key,
    product_id text not null references products,
    title text not null,
    metadata jsonb,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz
);
create unique index product_options_title on product_options (product_id, title) where deleted_at is null;

create table product_variants (
    id text primary key,
    product_id text not null references products,
    title text not null,
    sku text,
    barcode text,
    ean text,
    upc text,
    variant_rank integer not null default 0,
    inventory_quantity integer not null default 0,
    allow_backorder boolean not null default false,
    manage_inventory boolean not null default true,
    hs_code text,
    origin_country text,
    mid_code text,
    material text,
    weight integer,
    length integer,
    height integer,
    width integer,
    metadata jsonb,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz
);
create unique index product_variants_sku on product_variants (sku) where deleted_at is null;
create unique index product_variants_barcode on product_variants (barcode) where deleted_at is null;
create unique index product_variants_ean on product_variants (ean) where deleted_at is null;
create unique index product_variants_upc on product_variants (upc) where deleted_at is null;
create index on product_variants (product_id, variant_rank) where deleted_at is null;
create index on product_variants (created_at desc, id desc) where deleted_at is null;
create index on product_variants (title, id) where deleted_at is null;
create index on product_variants (inventory_quantity) where deleted_at is null;

-- What a variant has for one option of its product. Hidden, like the rest of the variant, when it is deleted.
create table product_option_values (
    id text primary key,
    option_id text not null references product_options,
    variant_id text not null references product_variants,
    value text not null,
    metadata jsonb,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz
);
create unique index product_option_values_one on product_option_values (variant_id, option_id)
    where deleted_at is null;
create index on product_option_values (option_id) where deleted_at is null;

-- A price holds in a region, or in a currency; a region's price has the region's currency. With `price_list_id` it
-- belongs to that list and not to the variant's own prices.
create table prices (
    id text primary key,
    variant_id text not null references product_variants,
    currency_code text not null constraint prices_currency references currencies,
    amount bigint not null,
    region_id text constraint prices_region references regions,
    min_quantity integer,
    max_quantity integer,
    price_list_id text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz
);
create index on prices (variant_id);
create index on prices (region_id) where region_id is not null;
create index on prices (price_list_id) where price_list_id is not null;

-- Images are shared: the same address is one image, whichever products show it.
create table images (
    id text primary key,
    url text not null unique,
    metadata jsonb,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz
);

create table product_images (
    product_id text not null references products,
    image_id text not null references images,
    position integer not null,
    primary key (product_id, image_id)
);

create table product_tag_links (
    product_id text not null references products,
    tag_id text not null references product_tags,
    position integer not null,
    primary key (product_id, tag_id)
);
create index on product_tag_links (tag_id);

create table product_sales_channels (
    product_id text not null references products,
    sales_channel_id text not null references sales_channels,
    primary key (product_id, sales_channel_id)
);
create index on product_sales_channels (sales_channel_id);

create table product_category_links (
    product_id text not null references products,
    category_id text not null references product_categories on delete cascade,
    primary key (product_id, category_id)
);
create index on product_category_links (category_id);

-- The inventory's stock per variant, as far as it counts: over the locations of any sales channel. Without a row, or
-- without an item, nobody counts the variant.
create table variant_availability (
    variant_id text primary key,
    available bigint not null,
    has_item boolean not null,
    sequence bigint not null default 0
) with (fillfactor = 80);

create table publishable_api_keys (
    id text primary key,
    title text not null,
    created_by text,
    revoked_by text,
    revoked_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
create index on publishable_api_keys (created_at desc, id desc);

create table publishable_api_key_sales_channels (
    key_id text not null references publishable_api_keys on delete cascade,
    sales_channel_id text not null references sales_channels,
    primary key (key_id, sales_channel_id)
);
create index on publishable_api_key_sales_channels (sales_channel_id);
