-- Lists of orders that do not slow down with the number of orders: docs/adr/0008-lists-at-size.md.

-- What an order is counted under: orders with the same kind have the same value in all of these columns.
create function order_kind(
    status text, fulfillment_status text, payment_status text, region_id text, currency_code text, sales_channel_id text
) returns bigint
language sql immutable parallel safe
return ('x' || substr(md5(
    status || '/' || fulfillment_status || '/' || payment_status || '/' || region_id || '/' || currency_code || '/'
    || coalesce(sales_channel_id, '')
), 1, 16))::bit(64)::bigint;

alter table orders add column kind bigint not null generated always as (
    order_kind(status, fulfillment_status, payment_status, region_id, currency_code, sales_channel_id)
) stored;

drop index orders_status;
drop index orders_region_id;
drop index orders_email;
create index orders_kind on orders (kind, created_at desc, id desc);
create index orders_email on orders (email, id);
create index orders_number on orders (display_id, id);
create index orders_updated_at on orders (updated_at, id);
create index orders_total on orders (total, id);
create index orders_canceled_at on orders (canceled_at) where canceled_at is not null;
create index orders_tax_rate on orders (tax_rate) where tax_rate is not null;

-- How many orders of a kind were made on a day (UTC): the sum of its rows. Whoever makes or changes an order adds rows,
-- so that nobody waits for anybody; now and then they are folded into one (services/orders/order_counts.py).
create table order_counts (
    kind bigint not null,
    day date not null,
    status text not null,
    fulfillment_status text not null,
    payment_status text not null,
    region_id text not null,
    currency_code text not null,
    sales_channel_id text,
    orders bigint not null,
    folded boolean not null default false
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
create index order_counts_kind_day on order_counts (kind, day);
create index order_counts_loose on order_counts (kind, day) where not folded;

create function count_added_orders() returns trigger language plpgsql as $$
begin
    insert into order_counts (
        kind, day, status, fulfillment_status, payment_status, region_id, currency_code, sales_channel_id, orders
    )
    select kind, (created_at at time zone 'UTC')::date, status, fulfillment_status, payment_status, region_id,
        currency_code, sales_channel_id, count(*)
    from changed group by 1, 2, 3, 4, 5, 6, 7, 8;
    return null;
end $$;
create function count_removed_orders() returns trigger language plpgsql as $$
begin
    insert into order_counts (
        kind, day, status, fulfillment_status, payment_status, region_id, currency_code, sales_channel_id, orders
    )
    select kind, (created_at at time zone 'UTC')::date, status, fulfillment_status, payment_status, region_id,
        currency_code, sales_channel_id, -count(*)
    from changed group by 1, 2, 3, 4, 5, 6, 7, 8;
    return null;
end $$;
create function recount_order() returns trigger language plpgsql as $$
begin
    insert into order_counts (
        kind, day, status, fulfillment_status, payment_status, region_id, currency_code, sales_channel_id, orders
    )
    select o.kind, (o.created_at at time zone 'UTC')::date, o.status, o.fulfillment_status, o.payment_status,
        o.region_id, o.currency_code, o.sales_channel_id, n
    from (select old.*, -1 as n union all select new.*, 1) o;
    return null;
end $$;
create trigger orders_added after insert on orders referencing new table as changed
    for each statement execute function count_added_orders();
create trigger orders_removed after delete on orders referencing old table as changed
    for each statement execute function count_removed_orders();
create trigger orders_changed after update on orders
    for each row when ((old.kind, old.created_at) is distinct from (new.kind, new.created_at))
    execute function recount_order();

insert into order_counts (
    kind, day, status, fulfillment_status, payment_status, region_id, currency_code, sales_channel_id, orders, folded
)
select kind, (created_at at time zone 'UTC')::date, status, fulfillment_status, payment_status, region_id,
    currency_code, sales_channel_id, count(*), true
from orders group by 1, 2, 3, 4, 5, 6, 7, 8;

-- `q`: parts of the email, of the recipient's first name, of the customer's names and phone.
create index orders_email_search on orders using gin (trigrams(email)) with (fastupdate = off);
create index addresses_first_name_search on addresses using gin (trigrams(first_name)) with (fastupdate = off);
create index customers_search on customers using gin (
    trigrams(coalesce(first_name, '') || ' ' || coalesce(last_name, '') || ' ' || coalesce(phone, ''))
) with (fastupdate = off);
