"""The state folder (MERCER_HOME): where it is, who may use it, its lock, and the secrets that are made once.

postgres/  rabbitmq/    the servers' data        log/   what each process printed
run/                    who runs (processes.py)  env/    the settings of each process, for a shell
secrets.json, lock
"""

import fcntl
import hashlib
import json
import os
import pwd
import secrets
import shlex
import shutil
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from deploy.processes import Failed

CHECKOUT = Path(__file__).resolve().parent.parent


def is_root() -> bool:
    return os.geteuid() == 0


def default_home(checkout: Path = CHECKOUT) -> Path:
    """In the checkout; for root in /var/tmp, because Postgres runs as another user, who cannot read root's home."""
    return Path(f"/var/tmp/mercer-{_mark(checkout)}") if is_root() else checkout / ".mercer"  # noqa: S108 - see open_home


def _mark(checkout: Path) -> str:
    return hashlib.sha256(str(checkout).encode()).hexdigest()[:10]


def tools_folder() -> Path:
    """Where fetched server programs stay, whatever state folder is in use: throw-away ones share them."""
    folder = default_home() / "tools"
    _make_own(default_home())
    folder.mkdir(exist_ok=True)
    return folder


class Home:
    """An open, locked state folder."""

    def __init__(self, path: Path, lock: TextIO) -> None:
        self.path = path
        self.records = path / "run"
        self.logs = path / "log"
        self._lock = lock
        for folder in (self.records, self.logs):
            folder.mkdir(mode=0o700, exist_ok=True)

    def secret(self, name: str) -> str:
        """Made on first use, the same ever after."""
        path = self.path / "secrets.json"
        known: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
        if name not in known:
            known[name] = secrets.token_hex(24)
            write_private(path, json.dumps(known, indent=1))
        return known[name]

    def keep_env(self, name: str, env: Mapping[str, str]) -> None:
        """The settings of a process, for a shell that is to run another command of its service."""
        folder = self.path / "env"
        folder.mkdir(mode=0o700, exist_ok=True)
        lines = [f"export {key}={shlex.quote(env[key])}\n" for key in sorted(env) if key.startswith("MERCER_")]
        write_private(folder / f"{name}.env", "".join(lines))

    def close(self) -> None:
        self._lock.close()

    def reset(self) -> None:
        """Remove what a run makes, by name: the folder is the user's choice and may hold other things."""
        for name in ("postgres", "rabbitmq", "files", "run", "env", "log"):
            shutil.rmtree(self.path / name, ignore_errors=True)
        (self.path / "secrets.json").unlink(missing_ok=True)
        self.close()

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        self.close()


def write_private(path: Path, text: str, user: str | None = None) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    unfinished = path.with_name(f"{path.name}.new")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    if user:
        shutil.chown(unfinished, user)
    unfinished.replace(path)


def open_home(path: Path) -> Home:
    """Make the folder if need be and lock it. One run at a time; the lock ends with its process, however that ends."""
    path = path.absolute()
    _make_own(path)
    lock = (path / "lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        with lock:
            lock.seek(0)
            holder = lock.read().strip() or "just starting"
        raise Failed(
            f"Mercer already runs on {path} ({holder}).\n"
            "Stop that one first, or choose another state folder: MERCER_HOME=/some/folder make up"
        ) from None
    lock.truncate(0)
    lock.write(f"process {os.getpid()}")
    lock.flush()
    return Home(path, lock)


def _make_own(path: Path) -> None:
    try:
        if not path.exists():
            path.mkdir(parents=True)
            path.chmod(_mode())
        # Somebody else could have put a folder, or a link, of this name into /var/tmp; our secrets must not go there.
        owners = {path.lstat().st_uid, path.stat().st_uid}
    except OSError as error:
        raise Failed(f"The state folder {path} cannot be used: {error}. MERCER_HOME chooses another.") from error
    if owners != {os.geteuid()}:
        raise Failed(f"The state folder {path} belongs to another user. MERCER_HOME chooses another.")


def _mode() -> int:
    # When we are root, the servers' own users may pass through, not look.
    return 0o711 if is_root() else 0o700


def server_user(*names: str) -> str | None:
    """The user that a server runs as: ourselves, or as root the first of these that exists."""
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in names if name in known), None) if is_root() else None


def make_folder(path: Path, user: str | None) -> None:
    path.mkdir(exist_ok=True)
    path.chmod(0o700)
    if user:
        shutil.chown(path, user)


def others_can_reach(path: Path) -> bool:
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in [path, *path.parents])


def _throw_away_prefix() -> str:
    return f"mercer-test-{_mark(CHECKOUT)}-{os.geteuid()}-"


def throw_away_home() -> Home:
    path = Path(tempfile.mkdtemp(prefix=_throw_away_prefix(), dir=_roomy_folder()))
    path.chmod(_mode())
    return open_home(path)


def abandoned_homes() -> list[Home]:
    """Throw-away folders of runs that were killed: nobody holds their lock any more."""
    homes = []
    for path in _roomy_folder().glob(f"{_throw_away_prefix()}*"):
        try:
            homes.append(open_home(path))
        except Failed:
            continue
    return homes


def _roomy_folder() -> Path:
    # /tmp can be small and in memory, and root's TMPDIR may be closed to the servers' users.
    folder = Path("/var/tmp")  # noqa: S108 - mkdtemp makes the name, and open_home checks the owner
    return folder if folder.is_dir() else Path(tempfile.gettempdir())
