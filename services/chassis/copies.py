"""Rows that another context owns, kept here because this service's reads show them.

A document is `{"id", "sequence", "body", "related"}`: the row's own columns as the API shows them, and its nested
relations by name. The owner sends documents in its events, as `data["copies"] = {kind: [document, ...]}`, and in the
replies to its commands. `sequence` is that of the event (event_sequences): an older document never replaces a newer.
For that to work all documents of one row come from events of one aggregate. A `body` of null says that it is gone.
"""

from typing import Any

from services.chassis.consumers import Event, Listener
from services.chassis.db import Db
from services.chassis.jsons import json_text

# In the order of their ids, so that two that store the same rows wait for each other instead of deadlocking.
STORE_COPIES = """
insert into copies (kind, id, sequence, body, related)
select $1, d.id, d.sequence, nullif(d.body, 'null'), coalesce(nullif(d.related, 'null'), '{}')
from (
    select distinct on (id) id, sequence, body, related
    from jsonb_to_recordset($2::text::jsonb) as x(id text, sequence bigint, body jsonb, related jsonb)
    order by id, sequence desc
) d
order by d.id
on conflict (kind, id) do update set sequence = excluded.sequence, body = excluded.body, related = excluded.related
where excluded.sequence >= copies.sequence
"""
MISSING = """
select id from unnest($2::text[]) with ordinality as requested(id, n)
where not exists (select from copies c where c.kind = $1 and c.id = requested.id)
group by id order by min(n)
"""


async def store(db: Db, kind: str, docs: list[dict[str, Any]]) -> None:
    """Keep the documents, except those that are older than what is stored."""
    if docs:
        await db.execute(STORE_COPIES, kind, json_text(docs))


async def missing(db: Db, kind: str, ids: list[str]) -> list[str]:
    """Those of `ids` that were never stored, each once, in the order given."""
    return [row["id"] for row in await db.fetch(MISSING, kind, ids)]


async def on_copies(db: Db, event: Event) -> None:
    """Listener: store all documents that the event carries."""
    for kind, docs in sorted(event.data.get("copies", {}).items()):
        await store(db, kind, [doc | {"sequence": event.sequence} for doc in docs])


def resent(*kinds: str) -> dict[str, Listener]:
    """Listeners to documents that are sent again (documents.py), for a service that keeps copies of these kinds."""
    return dict.fromkeys((f"copies.{kind}" for kind in kinds), on_copies)
