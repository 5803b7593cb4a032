"""Debian's packages: installed as root, or only unpacked into a folder of ours by anyone. Standard library only."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from deploy.home import is_root
from deploy.processes import run

POLICY = Path("/usr/sbin/policy-rc.d")
NO_STARTS = "#!/bin/sh\n# Put here by Mercer's `make up` while it installs packages.\nexit 101\n"


def can_install() -> bool:
    return is_root() and shutil.which("apt-get") is not None


def can_unpack() -> bool:
    return shutil.which("apt-get") is not None and shutil.which("dpkg") is not None


def install(*packages: str) -> None:
    """Install system-wide, without letting a package start its service on the usual port."""
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    wait = ["-o", "DPkg::Lock::Timeout=300"]
    with no_service_starts(POLICY):
        run(["apt-get", *wait, "-q", "update"], env=env)
        # Never broken off: an interrupted dpkg needs repair by hand.
        run(["apt-get", *wait, "-q", "install", "-y", "--no-install-recommends", *packages], env=env, unbroken=True)


@contextlib.contextmanager
def no_service_starts(policy: Path) -> Iterator[None]:
    """Debian asks policy-rc.d before it starts a service. A policy that is already there is the owner's, and stays."""
    if policy.exists() and policy.read_text() != NO_STARTS:
        yield
        return
    policy.write_text(NO_STARTS)
    try:
        policy.chmod(0o755)
        yield
    finally:
        policy.unlink()


def unpack(folder: Path, choose: Callable[[Sequence[str]], list[str]]) -> None:
    """Download packages and unpack them below `folder`. `choose` names them, given the options that every apt call
    needs: package lists of its own, because the system's may be empty or old and only root can renew them.
    """
    with tempfile.TemporaryDirectory(dir=folder) as work:
        apt = _own_lists(Path(work))
        run(["apt-get", *apt, "-q", "update"])
        run(["apt-get", *apt, "-q", "download", *choose(apt)], cwd=Path(work))
        for package in sorted(Path(work).glob("*.deb")):
            run(["dpkg", "-x", package, folder])


def _own_lists(folder: Path) -> list[str]:
    for path in ("state/lists/partial", "cache/archives/partial"):
        (folder / path).mkdir(parents=True)
    options = {
        "Dir::State": folder / "state",
        "Dir::State::status": "/var/lib/dpkg/status",
        "Dir::Cache": folder / "cache",
        "Debug::NoLocking": "1",
        # As root apt would download as a user that cannot enter our folder.
        "APT::Sandbox::User": "root",
    }
    return [part for name, value in options.items() for part in ("-o", f"{name}={value}")]


def with_libraries(apt: Sequence[str], package: str, prefix: str) -> list[str]:
    """The package, all it needs whose name starts with `prefix`, and the libraries that this machine lacks."""
    hard = [f"--no-{kind}" for kind in ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")]
    needed = run(["apt-cache", *apt, "depends", "--recurse", *hard, package]).split("\n")
    plan = run(["apt-get", *apt, "-q", "--simulate", "--no-install-recommends", "install", package]).split("\n")
    libraries = {row.split()[1] for row in plan if row.startswith("Inst lib")}
    return [package, *sorted({row for row in needed if row.startswith(prefix)} | libraries)]
