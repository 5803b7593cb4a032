-- The catalog shows the links of locations to channels as rows of their own.
alter table channel_locations
    add column id text not null default new_id('scloc') unique,
    add column updated_at timestamptz not null default now();

-- The ledger is read per item, the newest first. Lines that are old enough are added up to one per level (ledger_rolls.py).
alter table stock_ledger drop constraint stock_ledger_cause_check;
alter table stock_ledger add constraint stock_ledger_cause_check check (
    cause in (
        'adjustment', 'reservation', 'order', 'fulfillment', 'fulfillment_canceled', 'return', 'undone', 'closed', 'carried'
    )
);
create index stock_ledger_item on stock_ledger (inventory_item_id, id desc);
create index stock_ledger_rolled on stock_ledger (created_at) where cause not in ('fulfillment', 'return', 'carried');
create unique index stock_ledger_carried on stock_ledger (inventory_item_id, location_id) where cause = 'carried';
drop index stock_ledger_place;
