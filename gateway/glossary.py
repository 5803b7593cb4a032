"""What columns and relations of the gateway hold, for the documentation: by `table.column`, or by `column`. Ids and
times are explained by the chassis (schemas.py). Paths are what tags are about."""

from collections.abc import Mapping

GLOSSARY: Mapping[str, str] = {
    "/admin/access-tokens": "What lets programs in that speak another dialect of this API.",
    "/admin/apps": "Always empty: there are no apps that users authorize.",
    "/admin/auth": "Signing in, and out: by a session's cookie or for a token.",
    "/admin/invites": "How people become users.",
    "/admin/users": "Who works here, with which rights.",
    "/openapi": "Fulfillments as Shoplazza's OpenAPI has them, for programs with an access token.",
    # users
    "users.email": "In lower case; no two users have the same.",
    "users.role": "`admin`, `developer` or `member`; members manage no users, invites and tokens.",
    "users.api_token": "Its last characters after `****`; in full only where it has just been set.",
    # access_tokens
    "access_tokens.name": "What the merchant knows it by.",
    "access_tokens.scopes": "What it is good for: `read_order`, `write_order`.",
    "access_tokens.token": "Its last characters after `****`; in full only where it has just been made.",
    "access_tokens.created_by": "Id of the user who made it.",
}
