"""The guides of docs/extending/ are followed word for word, in a copy of the checkout, and what they add works.

A block of code below the name of a file in backticks and a colon is that file's content, or, as a `diff`, a change of
it: the lines that stay or go are there exactly once.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GUIDES = ("operation", "product-field", "listener", "payment-provider")
BLOCK = re.compile(r"^`([\w./-]+)`:\n\n```(\w+)\n(.*?)^```$", re.M | re.S)


def follow(guide: str, checkout: Path) -> None:
    """Write what the guide writes. Raises AssertionError where the code is not as the guide says."""
    for path, language, block in BLOCK.findall((ROOT / "docs" / "extending" / f"{guide}.md").read_text()):
        file = checkout / path
        if language != "diff":
            assert not file.exists(), f"{guide}: {path} is there already"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block)
            continue
        lines, text = block.splitlines(), file.read_text()
        before = "\n".join(line[1:] for line in lines if not line.startswith("+"))
        after = "\n".join(line[1:] for line in lines if not line.startswith("-"))
        assert text.count(before) == 1, f"{guide}: {path} does not have, once:\n{before}"
        file.write_text(text.replace(before, after))


def passes(checkout: Path, *argv: str) -> None:
    done = subprocess.run([sys.executable, "-m", *argv], cwd=checkout, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    """A copy of the code, in which all guides were followed."""
    copy = tmp_path / "mercer"
    for name in ("services", "gateway", "tests", "deploy"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "conformance"))
    for name in ("pyproject.toml", "docker-compose.yml"):
        shutil.copy(ROOT / name, copy / name)
    for guide in GUIDES:
        follow(guide, copy)
    yield copy
    shutil.rmtree(copy)


def test_all_guides_are_followed() -> None:
    assert {path.stem for path in (ROOT / "docs" / "extending").glob("*.md")} == {*GUIDES, "README"}


def test_they_fit_the_code(checkout: Path) -> None:
    passes(checkout, "ruff", "check", "--no-cache", ".")
    passes(checkout, "pytest", "-q", "-p", "no:cacheprovider", "tests/test_events.py")
    # By itself, and the way it is found when it is installed.
    passes(checkout, "pytest", "-q", "-c", "/dev/null", "../acme-pay")
    assert 'acme = "acme_pay:Acme"' in (checkout / "../acme-pay/pyproject.toml").read_text()


def test_what_they_add_works(checkout: Path, postgres_url: str, rabbitmq_url: str) -> None:
    added = [f"tests/catalog/products/test_{name}.py" for name in ("brand", "sales", "tag_names")]
    passes(checkout, "pytest", "-q", "-p", "no:cacheprovider", *added, "tests/catalog/batch/test_exports.py")
