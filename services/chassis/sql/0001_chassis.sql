-- What every service keeps besides its own tables: events going out and coming in, commands answered, sagas, copies.

-- Events that have not left yet (chassis/outbox.py). A row is there until the broker has confirmed it, so the table is
-- nearly always empty and churns: vacuum it by the number of dead rows, not by a share of its size.
create table outbox (
    position bigserial primary key,
    id uuid not null default gen_random_uuid(),
    name text not null check (length(name) between 1 and 255),
    aggregate text not null,
    sequence bigint not null,
    data json not null,
    request_id text,
    actor text,
    occurred_at timestamptz not null default clock_timestamp()
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- The number of the last event of each aggregate. One narrow row per aggregate, updated in place (HOT).
create table event_sequences (
    aggregate text primary key,
    sequence bigint not null
) with (fillfactor = 70);

-- Events that have been applied (chassis/consumers.py).
create table inbox (
    message_id text primary key,
    name text not null,
    received_at timestamptz not null default now()
);
create index inbox_received_at on inbox (received_at);

-- Commands that have been answered, or must never run (chassis/commands.py). `reply` is null while a command outside a
-- transaction is under way, and for ever when it was undone before it ran.
create table command_replies (
    key text primary key,
    name text not null,
    body_hash bytea,
    reply json,
    undone boolean not null default false,
    created_at timestamptz not null default now()
) with (fillfactor = 70);
create index command_replies_created_at on command_replies (created_at);

-- Work that spans services (chassis/sagas.py).
create table sagas (
    id text primary key,
    kind text not null,
    subject text not null,
    state jsonb not null,
    results jsonb not null default '{}',
    status text not null default 'running' check (status in ('running', 'undoing', 'done', 'undone')),
    result jsonb,
    error jsonb,
    attempts int not null default 0,
    leased_by text,
    leased_until timestamptz not null,
    request_id text,
    actor text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
) with (fillfactor = 70);
-- One at a time for a subject. The resumer reads it too: it holds only the few that are under way.
create unique index sagas_active on sagas (kind, subject) where status in ('running', 'undoing');
create index sagas_ended on sagas (updated_at) where status in ('done', 'undone');

-- Rows that another context owns, as this service's reads show them (chassis/copies.py).
create table copies (
    kind text not null,
    id text not null,
    sequence bigint not null,
    body jsonb,
    related jsonb not null default '{}',
    primary key (kind, id)
);
