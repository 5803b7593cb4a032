-- Payments by the payment intent that Stripe's news names (stripe_webhooks.py).
create index payments_intent on payments ((data ->> 'id')) where provider_id = 'stripe';

-- The payment providers that others were last told of (providers.py). One row at most.
create table announced_providers (
    sole boolean primary key default true check (sole),
    ids text[] not null
);
