-- Named for what is done with them (services/payments/providers.py).
alter table announced_providers rename to emitted_providers;
