-- Customer groups, notes, notifications. (Customers and addresses came with 0001: orders need them.)

create table customer_groups (
    id text primary key,
    name text not null constraint customer_groups_name unique,
    metadata jsonb,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz -- always null, the API shows it: groups are deleted for good
);
create index customer_groups_created_at on customer_groups (created_at desc, id desc);

create table customer_group_customers (
    customer_group_id text not null references customer_groups (id) on delete cascade,
    customer_id text not null references customers (id) on delete cascade,
    primary key (customer_group_id, customer_id)
);
create index customer_group_customers_customer on customer_group_customers (customer_id);

create table notes (
    id text primary key,
    value text not null,
    resource_type text not null,
    resource_id text not null,
    author_id text,
    metadata jsonb not null default '{}',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz
);
create index notes_resource on notes (resource_id, created_at) where deleted_at is null;

create table notifications (
    id text primary key,
    event_name text,
    resource_type text not null,
    resource_id text not null,
    customer_id text references customers (id),
    "to" text not null,
    data jsonb not null default '{}',
    parent_id text references notifications (id),
    provider_id text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
create index notifications_resource on notifications (resource_id, created_at);
create index notifications_parent on notifications (parent_id) where parent_id is not null;

-- Metadata is merged key by key; a key sent as "" is removed. What stays is left as it is.
create function merged_metadata(old jsonb, sent jsonb) returns jsonb
language sql immutable parallel safe
return (coalesce(old, '{}') || coalesce(sent, '{}'))
    - coalesce((select array_agg(key) from jsonb_each(sent) where value = '""'), '{}');
