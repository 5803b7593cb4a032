"""What columns and relations of the gateway hold, for the documentation: by `table.column`, or by `column`. Ids and
times are explained by the chassis (schemas.py). Paths are what tags are about."""

from collections.abc import Mapping

GLOSSARY: Mapping[str, str] = {
    "/admin/apps": "Always empty: there are no apps that users authorize.",
    "/admin/auth": "Signing in, and out: by a session's cookie or for a token.",
    "/admin/invites": "How people become users.",
    "/admin/users": "Who works here, with which rights.",
    "role": "`admin`, `member` or `developer`.",
    "api_token": "The end of the token that the user's programs sign in with, if there is one.",
}
