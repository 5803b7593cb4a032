"""Every answer that a test gets, held against the document that is served: what is declared is what is answered.

The document is made once per state of the code, for all workers and runs, and kept in the folder for temporary files.
"""

import fcntl
import hashlib
import re
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import jsonschema_rs
import orjson

ROOT = Path(__file__).parent.parent.parent
DRAFT = "https://json-schema.org/draft/2020-12/schema"
Document = dict[str, Any]


def code_state() -> str:
    """A digest of the services' and the gateway's code, which is another one after every change of it."""
    state = hashlib.sha256()
    for folder in (ROOT / "services", ROOT / "gateway"):
        for path in sorted(p for p in folder.rglob("*") if p.suffix in (".py", ".sql")):
            state.update(path.read_bytes())
    return state.hexdigest()[:16]


async def kept_document(served: Callable[[], Awaitable[Document]]) -> Document:
    """The document of this state of the code; `served` asks for it when nobody has before."""
    path = Path(tempfile.gettempdir()) / f"mercer-openapi-{code_state()}.json"
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            fresh = await served()
            assert "x-missing" not in fresh["info"], "a service did not say what it does"
            new = path.with_suffix(".new")
            new.write_bytes(orjson.dumps(fresh))
            new.rename(path)
    document: Document = orjson.loads(path.read_bytes())
    return document


class Answers:
    """What each operation may answer, by the document."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._registry = jsonschema_rs.Registry([("urn:document", document)], draft=jsonschema_rs.Draft202012)
        # The path without parameters goes first, as it does in the services.
        self._paths = [
            (re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path))), path)
            for path in sorted(document["paths"], key=lambda path: (path.count("{"), path))
        ]
        self._validators: dict[str, Any] = {}

    def wrong(self, method: str, path: str, status: int, kind: str, body: Any) -> str | None:
        """What is wrong with an answer; None when nothing is, or when this is no operation of the document."""
        template = next((t for pattern, t in self._paths if pattern.fullmatch(path.partition("?")[0])), None)
        operation = self._document["paths"].get(template, {}).get(method.lower())
        if operation is None or status >= 500:
            return None
        if status == 401 and kind == "application/json":  # a service itself, which clients never see
            return None
        responses = operation["responses"]
        key = str(status) if str(status) in responses else "default"
        where = f"#/paths/{pointer(template or '')}/{method.lower()}/responses/{key}"
        response = responses[key]
        if "$ref" in response:
            where = response["$ref"]
            response = self._document["components"]["responses"][where.rpartition("/")[2]]
        contents = response.get("content", {})
        if kind not in contents:
            return f"{status} as {kind} is not declared" if body or contents else None
        if kind != "application/json":
            return None
        where += f"/content/{pointer(kind)}/schema"
        if where not in self._validators:
            schema = {"$schema": DRAFT, "$ref": f"urn:document{where}"}
            self._validators[where] = jsonschema_rs.validator_for(schema, registry=self._registry)
        errors = [str(error)[:500] for error in self._validators[where].iter_errors(body)]
        return "\n".join(errors[:3]) or None


def pointer(name: str) -> str:
    """A key as a part of a JSON pointer in a reference."""
    return name.replace("~", "~0").replace("/", "~1").replace("{", "%7B").replace("}", "%7D")


def unfolded(value: Any, schemas: Document, above: frozenset[str] = frozenset()) -> int:
    """How many objects there are in a schema, with every reference followed but for those that lead back."""
    if isinstance(value, list):
        return sum(unfolded(each, schemas, above) for each in value)
    if not isinstance(value, dict):
        return 0
    ref = value.get("$ref", "")
    name = ref.rpartition("/")[2] if isinstance(ref, str) else ""
    inner = unfolded(schemas[name], schemas, above | {name}) if name in schemas and name not in above else 0
    return 1 + inner + sum(unfolded(each, schemas, above) for each in value.values())
