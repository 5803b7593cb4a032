-- What is to be paid through a provider (payments.py). The id is the caller's, so that asking twice makes one.
create table payments (
    id text primary key,
    order_id text,
    cart_id text,
    swap_id text,
    amount bigint not null check (amount >= 0),
    currency_code text not null,
    amount_refunded bigint not null default 0,
    provider_id text not null,
    data jsonb not null default '{}',
    captured_at timestamptz,
    canceled_at timestamptz,
    metadata jsonb,
    idempotency_key text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    check (amount_refunded between 0 and amount)
);
create index payments_order_id on payments (order_id);

-- Money given back (refunds.py). `payment_id` is null when several payments may have been drawn on: see refund_parts.
create table refunds (
    id text primary key,
    payment_id text references payments (id),
    order_id text,
    amount bigint not null check (amount > 0),
    reason text not null check (reason in ('discount', 'return', 'swap', 'claim', 'other')),
    note text,
    metadata jsonb,
    idempotency_key text,
    request_key text unique, -- of the request or command that made it, so that asking twice makes one
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
create table refund_parts (
    refund_id text not null references refunds (id),
    payment_id text not null references payments (id),
    amount bigint not null check (amount > 0),
    primary key (refund_id, payment_id)
);
create index refund_parts_payment_id on refund_parts (payment_id);

-- Ids whose authorization was undone before it came: it will not be made any more.
create table voided_payments (
    id text primary key,
    created_at timestamptz not null default now()
);

-- Payments that a remote provider is at work on, also before they exist here (operations.py).
create table provider_work (
    payment_id text primary key,
    work_id text not null
);
create index provider_work_work_id on provider_work (work_id);
