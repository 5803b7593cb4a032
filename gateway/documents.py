"""Users as reads show them, and as services keep them: who wrote a note, for example."""

from collections.abc import Mapping

from services.chassis.documents import Kind
from services.chassis.embed import Resource, cols

# `api_token` shows the end of it: the token itself is not kept.
USER = Resource(
    "users",
    cols(
        "id email first_name last_name role metadata created_at@ updated_at@ deleted_at@",
        api_token="{t}.api_token_hint",  # noqa: S106
    ),
)

KINDS: Mapping[str, Kind] = {"user": Kind(USER)}
