-- An edit has lines of its own, the ones that the order would have (order_edits.py). What they add up to is stored with
-- it; shipping is the order's. `version` counts the changes of its lines: an answer of the catalog is stored only on
-- what it was asked about.
alter table order_edits
    add column version int not null default 0,
    add column subtotal bigint not null default 0,
    add column discount_total bigint not null default 0,
    add column item_tax_total bigint not null default 0;
create unique index order_edits_one_active on order_edits (order_id)
    where confirmed_at is null and canceled_at is null and declined_at is null;
create index order_edits_created_at on order_edits (created_at desc, id desc);

-- How the lines of an edit differ from those of its order. A line that was taken out has no line here any more.
create table order_item_changes (
    id text primary key,
    order_edit_id text not null references order_edits,
    type text not null check (type in ('item_add', 'item_remove', 'item_update')),
    line_item_id text unique references line_items,
    original_line_item_id text references line_items,
    position bigint generated always as identity,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    unique (original_line_item_id, order_edit_id),
    check ((type = 'item_remove') = (line_item_id is null)),
    check ((type = 'item_add') = (original_line_item_id is null))
);
create index order_item_changes_order_edit_id on order_item_changes (order_edit_id);
