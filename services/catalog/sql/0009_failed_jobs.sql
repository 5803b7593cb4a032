-- A job that has failed can be canceled, and still is one that has failed.
create or replace function batch_job_status(job jsonb) returns text
language sql immutable as $$
    select case
        when job ->> 'failed_at' is not null then 'failed'
        when job ->> 'canceled_at' is not null then 'canceled'
        when job ->> 'completed_at' is not null then 'completed'
        when job ->> 'processing_at' is not null then 'processing'
        when job ->> 'confirmed_at' is not null then 'confirmed'
        when job ->> 'pre_processed_at' is not null then 'pre_processed'
        else 'created'
    end
$$;
