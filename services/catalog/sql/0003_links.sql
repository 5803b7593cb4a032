-- What the first file could not refer to yet, and what its updates share.

alter table product_tax_rates add foreign key (product_id) references products;
alter table product_type_tax_rates add foreign key (product_type_id) references product_types;

-- Metadata is merged key by key; an empty text takes its key away, null takes all away.
create function merged_metadata(old jsonb, patch jsonb) returns jsonb
language sql immutable as $$
    select case when jsonb_typeof(patch) = 'object' then coalesce(
        (
            select jsonb_object_agg(key, value) from jsonb_each(coalesce(old, '{}') || patch)
            where patch -> key is distinct from '""'
        ),
        '{}'
    ) end
$$;

-- Metadata after an update with this body, which may not name it.
create function updated_metadata(old jsonb, body jsonb) returns jsonb
language sql immutable as $$
    select case when body ? 'metadata' then merged_metadata(old, body -> 'metadata') else old end
$$;

-- The stock locations of a channel come from the inventory.
create index copies_sales_channel_location on copies ((body ->> 'sales_channel_id'))
    where kind = 'sales_channel_location';
