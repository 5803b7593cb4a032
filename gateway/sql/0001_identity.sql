-- Who may use the API (gateway/users.py, auth.py, invites.py).

create table users (
    id text primary key,
    email text not null, -- lower-cased by users.py
    first_name text,
    last_name text,
    role text not null default 'member' check (role in ('admin', 'member', 'developer')),
    password_hash text not null,
    -- Part of every token; a new password raises it, and so ends what was handed out under the old one.
    credentials_version int not null default 1,
    -- The token itself is kept nowhere: its keyed digest finds the user, its end is what reads show.
    api_token_digest bytea,
    api_token_hint text,
    metadata jsonb,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz
);
create unique index users_email on users (email) where deleted_at is null;
create unique index users_api_token_digest on users (api_token_digest) where deleted_at is null;
create index users_created_at on users (created_at desc, id desc) where deleted_at is null;

-- Browser sessions. The cookie holds a random id, this table its SHA-256: reading the table opens no session.
create table sessions (
    id_digest bytea primary key,
    user_id text not null references users (id),
    created_at timestamptz not null default now(),
    expires_at timestamptz not null
);
create index sessions_user_id on sessions (user_id);
create index sessions_expires_at on sessions (expires_at);

create table invites (
    id text primary key,
    user_email text not null, -- as typed
    role text not null check (role in ('admin', 'member', 'developer')),
    -- The token is derived from id and version, see invites.py; a new version ends the old token.
    token_version int not null default 1,
    metadata jsonb,
    expires_at timestamptz not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
create unique index invites_user_email on invites (lower(user_email));
