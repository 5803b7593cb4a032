-- The code that was typed: the catalog is asked about it again whenever the cart changes. (A discount of before this
-- column has none, and is left out the next time; there were none.)
alter table cart_discounts add column code text;
