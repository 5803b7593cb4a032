"""Answers that all nouns of the catalog give alike."""

from services.chassis.db import Db
from services.chassis.embed import Resource, Selection, Tree, one_json, selection
from services.chassis.errors import NotFound
from services.chassis.params import Query

LIVE = "{t}.id = $1 and {t}.deleted_at is null"


def chosen(resource: Resource, expand: Tree = ()) -> Selection:
    """Selects all columns, and the relations of `expand`."""
    return selection(resource, {}, expand=expand)


def listed(query: Query) -> str:
    """Which rows a list has: the live ones, unless it asks for when they were deleted."""
    return "{t}.deleted_at is not null" if "deleted_at" in query else "{t}.deleted_at is null"


async def one(db: Db, key: str, resource: Resource, what: Selection, id_: str, where: str = LIVE) -> str:
    """`{"<key>": {...}}` as JSON text. Raises NotFound."""
    text = await one_json(db, resource, what, where, id_)
    if text is None:
        raise NotFound(f"There is no {key.replace('_', ' ')} {id_}.")
    return f'{{"{key}":{text}}}'
