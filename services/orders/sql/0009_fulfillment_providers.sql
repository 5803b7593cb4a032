-- Which fulfillment providers the others were told of, with what they offer (services/orders/fulfillment_providers.py).
create table announced_fulfillment_providers (
    sole boolean primary key default true check (sole),
    providers jsonb not null
);
