-- What is taken back is compensated, in the words of sagas.
alter table sagas drop constraint sagas_status_check;
update sagas set status = case status when 'undoing' then 'compensating' else 'compensated' end
where status in ('undoing', 'undone');
alter table sagas add check (status in ('running', 'compensating', 'done', 'compensated'));
update sagas set results = (
    select jsonb_object_agg(regexp_replace(key, ':undone$', ':compensated'), value) from jsonb_each(results)
)
where results::text like '%:undone"%';
drop index sagas_active;
create unique index sagas_active on sagas (kind, subject) where status in ('running', 'compensating');
drop index sagas_ended;
create index sagas_ended on sagas (updated_at) where status in ('done', 'compensated');
alter table command_replies rename column undone to compensated;
