-- What has become of a notification: written `pending` with the event that is its reason, then sent, or given up.
alter table notifications
    add column status text not null default 'sent' check (status in ('pending', 'sent', 'failed')),
    add column error text;
create index notifications_created_at on notifications (created_at desc, id desc);
create index notifications_to on notifications ("to");
