-- Batch jobs: exports to a file and imports from one, done in the background (services/catalog/batch_jobs.py).

-- The status follows from the dates. `leased_by` is whoever works on the job until `leased_until`; a lease that has run
-- out belongs to a process that died, and any instance takes the job over.
create table batch_jobs (
    id text primary key,
    type text not null check (type in ('product-export', 'product-import', 'price-list-import', 'order-export')),
    dry_run boolean not null default false,
    created_by text not null,
    context jsonb not null,
    result jsonb,
    pre_processed_at timestamptz,
    confirmed_at timestamptz,
    processing_at timestamptz,
    completed_at timestamptz,
    canceled_at timestamptz,
    failed_at timestamptz,
    attempts integer not null default 0,
    leased_by text,
    leased_until timestamptz not null default '-infinity',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz
) with (fillfactor = 70);
create index on batch_jobs (created_by, created_at desc, id desc);
-- The few that there is something to do for: not those that are over, nor those that wait to be confirmed.
create index batch_jobs_due on batch_jobs (leased_until)
    where completed_at is null and canceled_at is null and failed_at is null
        and (pre_processed_at is null or confirmed_at is not null);

-- What a file says that is to be imported, line by line, from the time that it was read until it is applied. Empty
-- objects say nothing; a null in `product` or `variant` empties the column. Ids are for what the line may create.
create table batch_import_lines (
    job_id text not null references batch_jobs on delete cascade,
    line integer not null,
    handle text,
    product_id text,
    variant_id text,
    sku text,
    product jsonb not null default '{}',
    variant jsonb not null default '{}',
    sets jsonb not null default '{}',    -- {tags, images, categories: [text], channels: [{id, name}], type, collection}
    options jsonb not null default '[]', -- [{id, value_id, title, value}]
    prices jsonb,                        -- [{id, currency_code, region_id, amount}]; null when the file has no prices
    new_product_id text,
    new_variant_id text,
    problems text[] not null default '{}',
    primary key (job_id, line)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);

-- The status of a job out of its row as JSON. A row of which not all dates are shown tells what the others say.
create function batch_job_status(job jsonb) returns text
language sql immutable as $$
    select case
        when job ->> 'canceled_at' is not null then 'canceled'
        when job ->> 'failed_at' is not null then 'failed'
        when job ->> 'completed_at' is not null then 'completed'
        when job ->> 'processing_at' is not null then 'processing'
        when job ->> 'confirmed_at' is not null then 'confirmed'
        when job ->> 'pre_processed_at' is not null then 'pre_processed'
        else 'created'
    end
$$;
