"""docs/operations.md: every operation and what has become of it here, out of the served document and the contract."""

import json
import re
from pathlib import Path
from typing import Any

from tests.contract.compare import CONTRACT, bare, operations
from tests.support.operations import declared

PAGE = Path(__file__).parent.parent.parent / "docs" / "operations.md"
HEAD = """# Operations

Generated from what runs (`make test T=tests/test_openapi.py` says how when it is out of date). **Works**: an operation
of the contract, with its parameters and properties but for those in `tests/contract/exceptions.py`. **Own**: not in the
contract. **Missing**: in the contract, not here. Details of each are under `/docs` of a running gateway.

| operation | status | declared in |
|---|---|---|
"""


def rows(document: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(operation, status, module), by path."""
    wanted = {bare(name): name for name in json.loads(CONTRACT.read_text())["operations"]}
    there = operations(document)
    paths = {
        f"{method.upper()} {bare(path)}": f"{method.upper()} {path}"
        for path, item in document["paths"].items()
        for method in item
    }
    homes = {re.sub(r":[^}]*\}", "}", name): module for name, (module, _) in declared().items()}
    found = [(wanted.get(key, paths[key]), "works" if key in wanted else "own", homes[paths[key]]) for key in there]
    found += [(name, "missing", "") for key, name in wanted.items() if key not in there]
    order = {"GET": 0, "POST": 1, "DELETE": 2}
    return sorted(found, key=lambda row: (row[0].partition(" ")[2], order.get(row[0].partition(" ")[0], 3)))


def code(module: str) -> str:
    """The file that declares an operation."""
    return f"`{module.replace('.', '/')}.py`" if module else ""


def page(document: dict[str, Any]) -> str:
    """The whole page."""
    found = rows(document)
    lines = [f"| `{name}` | {status} | {code(module)} |" for name, status, module in found]
    counts = ", ".join(f"{sum(s == kind for _, s, _ in found)} {kind}" for kind in ("works", "own", "missing"))
    return f"{HEAD}{chr(10).join(lines)}\n\n{counts}.\n"
