-- `q` finds parts of texts by index (product_search.py).
create index products_search on products using gin (trigrams(title || ' ' || coalesce(description, '')))
    with (fastupdate = off);
create index product_variants_search on product_variants using gin (trigrams(title || ' ' || coalesce(sku, '')))
    with (fastupdate = off);
create index product_collections_search on product_collections using gin (trigrams(title)) with (fastupdate = off);

-- Exact counts without reading the table: one of few different values, so an index of some kilobytes, and the ids, for
-- lists of what something else refers to.
create index products_live on products (status) where deleted_at is null;
create index products_live_ids on products (id) where deleted_at is null;
