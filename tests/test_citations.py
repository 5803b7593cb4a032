"""Every file that a comment, a docstring or a page cites exists, and every heading that is cited of docs/behaviour/."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(p for top in ("services", "gateway", "deploy", "tests") for p in (ROOT / top).rglob("*.py"))
CITED = re.compile(r"(?<![\w/.-])((?:[\w-]+/)*[\w-]+\.(?:py|md|sql|txt|toml|ya?ml))\b")
BEHAVIOUR = re.compile(r'(docs/behaviour/[\w-]+\.md)((?:,\s+"[^"]+")*)')


def said(source: str) -> Iterator[str]:
    """The comments of a source, those on lines of their own joined, and its docstrings."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string
    yield from (" ".join(re.findall(r"^\s*# ?(.*)", block, re.M)) for block in re.findall(r"(?m)(?:^ *#.*\n)+", source))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


def exists(path: Path, cited: str) -> bool:
    """A file is cited by its path from the root, from any folder that the source is in, or from a service, such as
    `events.py` of each."""
    folders = [folder for folder in path.parents if folder.is_relative_to(ROOT)]
    return any((folder / cited).is_file() for folder in [*folders, *(ROOT / "services").iterdir()])


# What the guides for extending cite, they make; what a decision cites was there when it was made.
PAGES = [
    *(p for p in (ROOT / "docs").rglob("*.md") if p.parent.name not in ("extending", "adr")),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "tests/conformance/README.md")),
]


@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_what_a_page_cites_exists(path: Path) -> None:
    cited = [cited for cited in CITED.findall(path.read_text()) if "/" in cited]
    assert not [c for c in cited if not exists(path, c) and not (ROOT / "services" / c).is_file()]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_what_is_cited_exists(path: Path) -> None:
    texts = list(said(path.read_text()))
    assert not [cited for text in texts for cited in CITED.findall(text) if not exists(path, cited)]
    for page, headings in (found for text in texts for found in BEHAVIOUR.findall(text)):
        known = re.findall(r"^## (.*)$", (ROOT / page).read_text(), re.M)
        assert not {" ".join(h.split()) for h in re.findall(r'"([^"]+)"', headings)} - set(known), page
