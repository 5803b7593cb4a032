-- Whom orders are for, as `q` of their list seeks it: one row for all orders of a customer that have the same email and
-- the same recipient, with every text that is searched on a line of its own (docs/adr/0008-lists-at-size.md).
create table contacts (
    id bigint primary key generated always as identity,
    customer_id text not null references customers (id),
    email text not null,
    recipient text not null,
    text text not null
);

-- Made where there is none. Who changes the customer's names at the same moment waits, or is waited for, so that no
-- contact keeps the old ones; two who make the same contact do not, and there are two.
create function contact_of(customer text, mail text, address text) returns bigint language plpgsql as $$
declare
    named text;
    found bigint;
begin
    select coalesce(first_name, '') into strict named from addresses where id = address;
    select id into found from contacts
    where customer_id = customer and md5(email || E'\n' || recipient) = md5(mail || E'\n' || named) limit 1;
    if found is null then
        insert into contacts (customer_id, email, recipient, text)
        select id, mail, named, concat_ws(E'\n', mail, named, first_name, last_name, phone)
        from customers where id = customer for share
        returning id into found;
    end if;
    return found;
end $$;

-- None for an order that is sent nowhere: `q` does not find it.
alter table orders add column contact_id bigint;

insert into contacts (customer_id, email, recipient, text)
select distinct o.customer_id, o.email, coalesce(a.first_name, ''),
    concat_ws(E'\n', o.email, coalesce(a.first_name, ''), c.first_name, c.last_name, c.phone)
from orders o join addresses a on a.id = o.shipping_address_id join customers c on c.id = o.customer_id;
analyze contacts;

update orders o set contact_id = k.id
from addresses a, contacts k
where a.id = o.shipping_address_id and k.customer_id = o.customer_id and k.email = o.email
    and k.recipient = coalesce(a.first_name, '');

create index contacts_same on contacts (customer_id, md5(email || E'\n' || recipient));
create index contacts_search on contacts using gin (trigrams(text)) with (fastupdate = off);
create index orders_contact on orders (contact_id, created_at, id);
drop index orders_email_search;
drop index addresses_first_name_search;
drop index customers_search;

create function find_contact() returns trigger language plpgsql as $$
begin
    new.contact_id = case when new.shipping_address_id is not null
        then contact_of(new.customer_id, new.email, new.shipping_address_id) end;
    return new;
end $$;
create trigger orders_contact before insert or update of customer_id, email, shipping_address_id on orders
    for each row execute function find_contact();

create function rename_recipient() returns trigger language plpgsql as $$
begin
    update orders set contact_id = contact_of(customer_id, email, new.id) where shipping_address_id = new.id;
    return null;
end $$;
create trigger recipient_renamed after update of first_name on addresses
    for each row when (old.first_name is distinct from new.first_name) execute function rename_recipient();

create function rename_customer() returns trigger language plpgsql as $$
begin
    update contacts set text = concat_ws(E'\n', email, recipient, new.first_name, new.last_name, new.phone)
    where customer_id = new.id;
    return null;
end $$;
create trigger customer_renamed after update of first_name, last_name, phone on customers
    for each row when ((old.first_name, old.last_name, old.phone) is distinct from
        (new.first_name, new.last_name, new.phone)) execute function rename_customer();
