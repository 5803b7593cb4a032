-- Discounts: a code, and the rule that says what it takes off. A dynamic discount's further codes share its rule.

create table discount_rules (
    id text primary key,
    description text,
    type text not null check (type in ('fixed', 'percentage', 'free_shipping')),
    value bigint not null check (value >= 0 and (type <> 'percentage' or value <= 100)),
    allocation text check (allocation in ('total', 'item')),
    metadata jsonb,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz
);

create table discounts (
    id text primary key,
    code text not null,
    is_dynamic boolean not null default false,
    rule_id text not null references discount_rules,
    is_disabled boolean not null default false,
    parent_discount_id text references discounts,
    starts_at timestamptz not null default now(),
    ends_at timestamptz,
    valid_duration text,
    usage_limit integer check (usage_limit > 0),
    usage_count integer not null default 0 check (usage_count >= 0),
    metadata jsonb,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz
);
-- The code of a deleted discount can be used again.
create unique index discounts_code on discounts (code) where deleted_at is null;
create index on discounts (created_at desc, id desc) where deleted_at is null;
create index on discounts (rule_id);
create index on discounts (parent_discount_id);

create table discount_regions (
    discount_id text not null references discounts,
    region_id text not null references regions,
    primary key (discount_id, region_id)
);
create index on discount_regions (region_id);

create table discount_conditions (
    id text primary key,
    type text not null
        check (type in ('products', 'product_types', 'product_collections', 'product_tags', 'customer_groups')),
    operator text not null check (operator in ('in', 'not_in')),
    discount_rule_id text not null references discount_rules,
    metadata jsonb,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz,
    constraint discount_conditions_once unique (discount_rule_id, type, operator)
);

-- What a condition names: ids of its type. Customer groups are rows of another service, so there is no foreign key.
create table discount_condition_resources (
    condition_id text not null references discount_conditions on delete cascade,
    resource_id text not null,
    primary key (condition_id, resource_id)
);
create index on discount_condition_resources (resource_id);

-- Which orders a discount was used on: an order uses it once.
create table discount_uses (
    order_id text not null,
    discount_id text not null references discounts,
    used_at timestamptz not null default now(),
    primary key (order_id, discount_id)
);
