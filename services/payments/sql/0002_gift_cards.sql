-- Lines of placed orders that sell gift cards (gift_card_issue.py). Their cards are made once `total`, that of the
-- order, is paid; `issued` of them are made so far.
create table gift_card_sales (
    line_item_id text primary key,
    order_id text not null,
    display_id bigint not null,
    region_id text not null,
    total bigint not null,
    quantity bigint not null check (quantity > 0),
    issued bigint not null default 0 check (issued between 0 and quantity),
    value bigint not null check (value >= 0),
    tax_rate double precision,
    metadata jsonb,
    created_at timestamptz not null default now()
);
create index gift_card_sales_order_id on gift_card_sales (order_id);

-- Money that whoever has the code can spend (gift_cards.py). A card that was sold knows which unit of which line it is.
create table gift_cards (
    id text primary key,
    code text not null unique,
    value bigint not null check (value >= 0),
    balance bigint not null,
    region_id text not null,
    order_id text,
    display_id bigint, -- of the order
    line_item_id text references gift_card_sales (line_item_id),
    unit bigint,
    is_disabled boolean not null default false,
    ends_at timestamptz,
    tax_rate double precision,
    metadata jsonb,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz,
    check (balance between 0 and value),
    unique (line_item_id, unit)
);
create index gift_cards_created_at on gift_cards (created_at desc, id desc) where deleted_at is null;
create index gift_cards_display_id on gift_cards (display_id);
