-- Tokens of programs that speak another dialect (gateway/access_tokens.py): each may do what its scopes say, no more.

create table access_tokens (
    id text primary key,
    name text not null,
    scopes text[] not null check (scopes <> '{}'),
    -- The token is random and shown once; its SHA-256 finds the row, its end is what reads show.
    digest bytea not null unique,
    hint text not null,
    created_by text not null,
    created_at timestamptz not null default now()
);
create index access_tokens_created_at on access_tokens (created_at desc, id desc);
