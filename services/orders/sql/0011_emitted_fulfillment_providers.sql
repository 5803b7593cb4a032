-- Named for what is done with them (services/orders/fulfillment_providers.py).
alter table announced_fulfillment_providers rename to emitted_fulfillment_providers;
