"""The command `price_cart`: what a cart costs, with its discounts and taxes."""
