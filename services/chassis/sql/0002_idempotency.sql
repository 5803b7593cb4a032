-- Answers of POST requests that came with an Idempotency-Key (chassis/idempotency.py).
create table idempotency_keys (
    key text not null,
    actor text not null,
    request_hash bytea not null,
    status int,
    body text,
    saga_id text, -- begun by the request, and perhaps still under way
    created_at timestamptz not null default now(),
    primary key (actor, key)
);
create index idempotency_keys_created_at on idempotency_keys (created_at);
