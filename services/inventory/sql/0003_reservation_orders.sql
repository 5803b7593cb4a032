-- The order that a reservation was made for, so that the ledger can say for which one it was given up.
alter table reservations add column order_id text;
