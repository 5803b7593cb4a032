"""The types that openapi-typescript makes, used by openapi-fetch under `tsc --strict`: typescript/walk.ts.

What that needs is fetched once, and kept in the folder for temporary files. Where there is no npm, or no registry can
be reached, this is skipped."""

import asyncio
import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.clients.conftest import Served, Sold
from tests.support.stack import EMAIL, PASSWORD, Stack

SOURCE = Path(__file__).parent / "typescript"
OUT_OF_REACH = re.compile(r"ENOTFOUND|EAI_AGAIN|ETIMEDOUT|ECONNREFUSED|ECONNRESET|ENETUNREACH|ERR_SOCKET|CERT|E50\d")


async def run(*argv: str | Path, cwd: Path, env: dict[str, str] | None = None) -> tuple[int, str]:
    """The status and all output of a program."""
    process = await asyncio.create_subprocess_exec(
        *argv,
        cwd=cwd,
        env=os.environ | (env or {}),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def installed() -> Path:
    """The folder whose node_modules has what package-lock.json says."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("there is no node with npm on the PATH")
    state = hashlib.sha256((SOURCE / "package-lock.json").read_bytes()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"mercer-typescript-{state}"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            for name in ("package.json", "package-lock.json"):
                shutil.copy(SOURCE / name, folder)
            status, output = await run(npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", cwd=folder)
            if status and OUT_OF_REACH.search(output):
                pytest.skip(f"npm reaches no registry: {output}")
            assert status == 0, output
            (folder / "complete").touch()
    return folder


async def test_they_have_every_operation_and_walk_through_the_product(
    served: Served, sold: Sold, stack: Stack, tmp_path: Path
) -> None:
    modules = (await installed()) / "node_modules"
    (tmp_path / "node_modules").symlink_to(modules)
    for name in ("package.json", "tsconfig.json", "walk.ts"):
        shutil.copy(SOURCE / name, tmp_path)

    generated = tmp_path / "api.d.ts"
    status, output = await run(modules / ".bin" / "openapi-typescript", served.path, "-o", generated, cwd=tmp_path)
    assert status == 0, output
    assert not re.search("warn", output, re.I), output
    operations = generated.read_text().partition("export interface operations {")[2]
    assert sorted(re.findall(r"^    (\w+): \{$", operations, re.M)) == served.operation_ids

    status, output = await run(modules / ".bin" / "tsc", "--project", tmp_path, cwd=tmp_path)
    assert status == 0, output

    env = {"BASE": stack.urls["gateway"], "EMAIL": EMAIL, "PASSWORD": PASSWORD, "DRAFT": json.dumps(sold.draft)}
    status, output = await run("node", tmp_path / "built" / "walk.js", cwd=tmp_path, env=env)
    assert status == 0, output
    walked = json.loads(output)
    assert walked.pop("count") >= 1
    assert walked.pop("draft").startswith("dorder_")
    assert walked == {"order": sold.order["id"], "quantities": [2], "type": "not_found"}
