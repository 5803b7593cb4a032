"""The served document beside the contract: which operations, parameters and properties it lacks.

The contract is `admin.json`: of every operation the names of its query parameters and the types of its body and answer,
of every type its properties, each with its own type where that is an object. A type's "<" are types that it includes.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CONTRACT = Path(__file__).parent / "admin.json"
Document = dict[str, Any]


def bare(path: str) -> str:
    """The path without the names of its parameters."""
    return re.sub(r"\{\w+\}", "{}", path)


def operations(document: Document) -> dict[str, Any]:
    """Those of an OpenAPI document, as `GET /admin/orders/{}`."""
    return {
        f"{method.upper()} {bare(path)}": operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }


class Comparison:
    """Collects what is missing, each as one line. A property is there when it is anywhere that its type is shown: which
    of them an answer has depends on `expand`."""

    def __init__(self, document: Document) -> None:
        contract = json.loads(CONTRACT.read_text())
        self._wanted: dict[str, Any] = contract["operations"]
        self._types: dict[str, Any] = contract["types"]
        self._document, self._schemas = document, document["components"]["schemas"]
        self._seen: set[Any] = set()
        self.missing: set[str] = set()
        self._found: set[str] = set()

    def run(self) -> set[str]:
        """All that is missing."""
        there = operations(self._document)
        for name, wanted in self._wanted.items():
            found = there.get(bare(name))
            if found is None:
                self.missing.add(name)
                continue
            known = {p["name"].partition("[")[0] for p in found.get("parameters", []) if p.get("in") == "query"}
            self.missing.update(f"{name} ?{p}" for p in wanted.get("parameters", []) if p not in known)
            if "body" in wanted:
                body = found.get("requestBody", {}).get("content", {})
                self._compare(wanted["body"], [c["schema"] for c in body.values()], f"{name} body")
            if "answer" in wanted:
                contents = [r.get("content", {}) for s, r in found["responses"].items() if s.startswith("2")]
                self._compare(wanted["answer"], [c["schema"] for content in contents for c in content.values()], name)
        return self.missing - self._found

    def _compare(self, wanted: str | dict[str, Any], schemas: list[Any], where: str) -> None:
        """Everything that the wanted type has is in one of the schemas."""
        place = wanted if isinstance(wanted, str) else where
        faces = [face for schema in schemas for face in self._faces(schema)]
        key = (place, tuple(sorted(map(id, faces))))
        if key in self._seen:
            return
        self._seen.add(key)
        objects = [face for face in faces if "properties" in face]
        if not objects and any(self._free(face) for face in faces):
            # A relation of a plain row is any object; what it can have, the plain row of its own noun says.
            for name, schema in self._schemas.items():
                if name.endswith(f".Plain{place}"):
                    self._found.update(f"{place}.{key}" for key in schema["properties"])
            return
        if not objects:
            self.missing.add(f"{where}: {place}")
            return
        for name, of in self._properties(wanted):
            inner = [o["properties"][name] for o in objects if name in o["properties"]]
            if not inner:
                self.missing.add(f"{place}.{name}")
            else:
                self._found.add(f"{place}.{name}")
            if inner and of:
                self._compare(of, inner, f"{place}.{name}")

    def _properties(self, wanted: str | dict[str, Any]) -> Iterator[tuple[str, Any]]:
        held = self._types[wanted] if isinstance(wanted, str) else wanted
        for name, of in held.items():
            if name == "<":
                for included in of:
                    yield from self._properties(included)
            else:
                yield name, of

    def _faces(self, schema: Any) -> Iterator[Any]:
        """The schema with references followed: every alternative, and what lists hold."""
        if "$ref" in schema:
            yield from self._faces(self._schemas[schema["$ref"].rpartition("/")[2]])
            return
        nested = [*schema.get("anyOf", []), *schema.get("allOf", []), *schema.get("oneOf", [])]
        for inner in nested:
            yield from self._faces(inner)
        if "items" in schema:
            yield from self._faces(schema["items"])
        elif not nested:
            yield schema

    def _free(self, schema: Any) -> bool:
        """Whether anything goes, or any object."""
        return not schema.keys() - {"description"} or schema.get("type") in ("object", ["object", "null"])
