-- What is to be collected for an edit of an order (payment_collections.py). The id is the caller's, so that asking twice
-- makes one. Of several for an edit the newest is the one that counts.
create table payment_collections (
    id text primary key,
    type text not null default 'order_edit' check (type = 'order_edit'),
    status text not null default 'not_paid'
        check (status in ('not_paid', 'awaiting', 'authorized', 'partially_authorized', 'canceled')),
    description text,
    amount bigint not null check (amount > 0),
    authorized_amount bigint check (authorized_amount between 0 and amount),
    region_id text not null,
    currency_code text not null,
    order_edit_id text not null,
    metadata jsonb,
    created_by text not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz
);
create index payment_collections_order_edit_id on payment_collections (order_edit_id);
