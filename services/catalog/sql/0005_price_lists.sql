-- Price lists: further prices of variants, for a time, or for some customers. Their prices are rows of `prices`.

create table price_lists (
    id text primary key,
    name text not null,
    description text not null,
    type text not null check (type in ('sale', 'override')),
    status text not null default 'draft' check (status in ('active', 'draft')),
    starts_at timestamptz,
    ends_at timestamptz,
    includes_tax boolean not null default false,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
create index on price_lists (created_at desc, id desc);

-- Whom a list is for; everybody, when there is no row. The groups are those of the orders' customers, and a list whose
-- groups were deleted there is for nobody, instead of suddenly for everybody.
create table price_list_customer_groups (
    price_list_id text not null references price_lists on delete cascade,
    customer_group_id text not null,
    primary key (price_list_id, customer_group_id)
);
create index on price_list_customer_groups (customer_group_id);

alter table prices add constraint prices_price_list foreign key (price_list_id) references price_lists on delete cascade;
