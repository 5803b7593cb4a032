-- Which item of the inventory counts a variant, and since when: told with how much there is of it (stock.py).
alter table variant_availability
    add column inventory_item_id text,
    add column linked_at timestamptz;
