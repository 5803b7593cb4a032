"""A private Postgres cluster under the state folder, run by whatever programs were found. Standard library only."""

import shutil
import signal
from collections.abc import Iterable
from pathlib import Path

from deploy.home import Home, make_folder, others_can_reach, server_user, write_private
from deploy.processes import Child, Failed, Server, plain_env, run

SETTINGS = {"max_connections": "200", "jit": "off", "unix_socket_directories": ""}
# For tests only: after a crash of the machine such a cluster may be broken.
THROW_AWAY_SETTINGS = {
    "max_connections": "300",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_wal_size": "4GB",
}


def choose(folders: Iterable[Path], data: int | None) -> Path | None:
    """The newest programs, or the only version that can read the data that is already there."""
    by_version = {major(folder): folder for folder in folders if (folder / "initdb").exists()}
    if data is not None:
        return by_version.get(data)
    return by_version[max(by_version)] if by_version else None


def major(folder: Path) -> int:
    # "postgres (PostgreSQL) 15.18 (Debian ...)"
    return int(run([folder / "postgres", "--version"]).split()[2].partition(".")[0])


def data_major(home: Home) -> int | None:
    version = home.path / "postgres" / "data" / "PG_VERSION"
    return int(version.read_text()) if version.exists() else None


def private_cluster(home: Home, programs: Path, port: int, *, throw_away: bool) -> Server:
    user = server_user("postgres", "nobody")
    if user and not others_can_reach(home.path):
        raise Failed(
            f"Postgres does not run as root, and user {user} cannot reach {home.path}. "
            "Choose a state folder that it can enter: MERCER_HOME=/var/tmp/mercer make up"
        )
    password = home.secret("postgres password")
    folder = home.path / "postgres"
    data = folder / "data"
    make_folder(folder, user)
    if not (data / "PG_VERSION").exists():
        _make_cluster(programs, folder, password, user, ["--no-sync"] if throw_away else [])
    settings = SETTINGS | (THROW_AWAY_SETTINGS if throw_away else {})
    settings |= {"listen_addresses": "127.0.0.1", "port": str(port)}
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    child = Child(
        name="postgres",
        argv=[programs / "postgres", "-D", data, *options],
        env=plain_env(),
        records=home.records,
        log=home.logs / "postgres.log",
        user=user,
        cwd=folder,
        ask=signal.SIGINT,
    )
    child.ready = lambda: _postgres_ready(child, data)
    _remove_stale_lock(data)
    return Server(
        url=f"postgresql://postgres:{password}@127.0.0.1:{port}/postgres",
        about=f"{major(programs)}, port {port}",
        children=[child],
    )


def _make_cluster(programs: Path, folder: Path, password: str, user: str | None, more: list[str]) -> None:
    # Built aside and renamed: a run that is killed here leaves no half-made cluster in place.
    unfinished = folder / "data.new"
    shutil.rmtree(unfinished, ignore_errors=True)
    write_private(folder / "password", password, user)
    options = ["-U", "postgres", "-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8", *more]
    run(
        [programs / "initdb", "-D", unfinished, f"--pwfile={folder / 'password'}", *options],
        env=plain_env(),
        cwd=folder,
        user=user,
    )
    (folder / "password").unlink()
    unfinished.rename(folder / "data")


def _postgres_ready(child: Child, data: Path) -> bool:
    """Postgres' own sign: its process id in the first line of postmaster.pid, and "ready" in the eighth."""
    try:
        rows = (data / "postmaster.pid").read_text().split("\n")
    except OSError:
        return False
    ours = child.process is not None and rows[0] == str(child.process.pid)
    return ours and len(rows) > 7 and rows[7].strip() == "ready"


def _remove_stale_lock(data: Path) -> None:
    """After a kill -9 the number in postmaster.pid can belong to a stranger, which keeps Postgres from starting.

    A dead number is Postgres' own business: it then also looks for processes that still use the old memory.
    """
    lock = data / "postmaster.pid"
    try:
        pid = int(lock.read_text().split("\n")[0])
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return
    if str(data).encode() not in command:
        lock.unlink()
