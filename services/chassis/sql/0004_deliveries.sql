-- What is to be sent to somebody outside, and has not been taken by his server yet (chassis/deliveries.py). A row goes
-- when it was taken, so the table is nearly always empty.
create table deliveries (
    id text primary key,
    body jsonb not null,
    attempts int not null default 0,
    due_at timestamptz not null default now(),
    created_at timestamptz not null default now()
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
create index deliveries_due on deliveries (due_at);
