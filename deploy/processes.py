"""Processes: start, record, watch and stop them, and find again those that a killed run left behind.

Every long-lived child is written down (process id and the moment it started) in the state folder's `run/`. A later
run kills only a process whose id *and* start moment match: a number that was given to somebody else is left alone.
Standard library only.
"""

import contextlib
import http.client
import json
import os
import pwd
import random
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from deploy import say

Argv = Sequence[str | Path] | Sequence[Path]
# For what is bound to come, on a machine that is busy with other work: a start or an end, and one answer.
PATIENCE = 300.0
ANSWER_SECONDS = 20.0
LOG_LIMIT = 10_000_000
STEADY_AFTER = 60.0
LONGEST_DELAY = 30.0


class Failed(Exception):
    """Something the user must know or do; the message is all that is printed."""


class Stopped(Exception):
    """Ctrl-C, SIGTERM or SIGHUP came in."""


class _StopRequest:
    received = False


def catch_signals() -> None:
    """Turn the signals that mean "stop" into a flag which `pause` reports: a child is never lost half started."""

    def ask(_signal: int, _frame: FrameType | None) -> None:
        _StopRequest.received = True

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, ask)


def pause(seconds: float) -> None:
    if _StopRequest.received:
        raise Stopped
    time.sleep(seconds)
    if _StopRequest.received:
        raise Stopped


def run(
    argv: Argv,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    user: str | None = None,
    timeout: float = 1800,
    unbroken: bool = False,
) -> str:
    """Run a command to its end and return what it printed; when it fails, that is in the error.

    A stop request breaks it off, unless `unbroken`.
    """
    with tempfile.TemporaryFile() as output:
        process = _spawn(argv, env=env, cwd=cwd, user=user, output=output.fileno())
        deadline = time.monotonic() + timeout
        try:
            while process.poll() is None and time.monotonic() < deadline:
                if unbroken:
                    time.sleep(0.02)
                else:
                    pause(0.02)
        finally:
            late = process.poll() is None
            stop_processes([process.pid], signal.SIGTERM, 10, lambda _pid: process.poll() is not None)
        output.seek(0)
        text = output.read().decode(errors="replace")
    if late or process.returncode:
        why = f"took longer than {timeout:.0f} s" if late else f"ended with status {process.returncode}"
        raise Failed(f"{' '.join(map(str, argv))}\n{why}:\n{last_lines(text)}")
    return text


def succeeds(argv: Argv, *, timeout: float = 3 * ANSWER_SECONDS) -> bool:
    try:
        run(argv, timeout=timeout)
    except (Failed, OSError):
        return False
    return True


def _spawn(
    argv: Argv,
    *,
    env: Mapping[str, str] | None,
    cwd: Path | None,
    user: str | None,
    output: int | None,
) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C in the terminal reaches only us, and we stop the children in order.
    return subprocess.Popen(
        [str(part) for part in argv],
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT if output is not None else None,
        start_new_session=True,
        user=user,
        group=pwd.getpwnam(user).pw_gid if user else None,
        extra_groups=[] if user else None,
    )


def last_lines(text: str, count: int = 15) -> str:
    return "\n".join(f"    {row}" for row in text.rstrip().splitlines()[-count:])


# --- who is who -----------------------------------------------------------------------------------------------------


def started_at(pid: int) -> str | None:
    """When this process started, as text that no other process with this id will have; None when it is gone."""
    if not Path("/proc/self/stat").exists():
        return _started_at_by_ps(pid)
    try:
        # The command name, in parentheses, can hold anything: count the fields after its end.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    if fields[0] in "ZX":
        return None
    return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}:{fields[19]}"


def _started_at_by_ps(pid: int) -> str | None:
    # Where there is no /proc (macOS).
    rows = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return rows.stdout.strip() or None


def write_record(folder: Path, name: str, pid: int) -> None:
    unfinished = folder / f"{name}.new"
    unfinished.write_text(json.dumps({"pid": pid, "started": started_at(pid)}))
    unfinished.replace(folder / f"{name}.json")


def left_over(folder: Path) -> dict[str, int]:
    """The recorded processes that still run: name -> process id."""
    pids = {}
    for path in sorted(folder.glob("*.json")):
        try:
            record = json.loads(path.read_text())
            pid, started = int(record["pid"]), record["started"]
        except (ValueError, KeyError, TypeError):
            continue
        if started is not None and started_at(pid) == started:
            pids[path.stem] = pid
    return pids


def forget(folder: Path, name: str) -> None:
    (folder / f"{name}.json").unlink(missing_ok=True)


def stop_processes(pids: Iterable[int], ask: signal.Signals, patience: float, gone: Callable[[int], bool]) -> None:
    """Ask all of them to end, wait for all of them, and kill the groups of those that do not."""
    waiting = [pid for pid in pids if not gone(pid)]
    for pid in waiting:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, ask)
    deadline = time.monotonic() + patience
    while (waiting := [pid for pid in waiting if not gone(pid)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    for pid in waiting:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    while any(not gone(pid) for pid in waiting):
        time.sleep(0.02)


# --- children -------------------------------------------------------------------------------------------------------


@dataclass
class Child:
    """One long-lived process of ours. `ready` is asked while it starts; `ask` is the signal that ends it in order."""

    name: str
    argv: Argv
    env: Mapping[str, str]
    records: Path
    log: Path | None
    ready: Callable[[], bool] = lambda: True
    user: str | None = None
    cwd: Path | None = None
    ask: signal.Signals = signal.SIGTERM
    patience: float = 60  # for its end; then it is killed
    failures: int = 0
    started: float = 0
    start_again: float | None = None
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        if self.log is not None and self.log.exists() and self.log.stat().st_size > LOG_LIMIT:
            self.log.replace(self.log.with_suffix(".old.log"))
        with self.log.open("ab") if self.log is not None else contextlib.nullcontext() as log:
            output = None if log is None else log.fileno()
            self.process = _spawn(self.argv, env=self.env, cwd=self.cwd, user=self.user, output=output)
        write_record(self.records, self.name, self.process.pid)
        self.started = time.monotonic()
        self.start_again = None

    @property
    def status(self) -> int | None:
        """Its exit status once it has ended, None while it runs (or was never started)."""
        return None if self.process is None else self.process.poll()

    def wait_ready(self, timeout: float = PATIENCE) -> None:
        deadline = time.monotonic() + timeout
        while not self.ready():
            if self.status is not None:
                raise Failed(f"{self.name} ended with status {self.status} while it started.{self.last_words()}")
            if time.monotonic() > deadline:
                raise Failed(f"{self.name} was not ready after {timeout:.0f} s.{self.last_words()}")
            pause(0.05)

    def last_words(self, count: int = 15) -> str:
        if self.log is None or not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - 8_000))
            text = log.read().decode(errors="replace")
        return f" The end of {self.log}:\n{last_lines(text, count)}"


def stop_children(children: Sequence[Child]) -> None:
    """Stop these side by side; those that never started are passed over. All end by the first one's signal."""
    running = {child.process.pid: child for child in children if child.process is not None}
    if not running:
        return
    patience = max(child.patience for child in running.values())
    stop_processes(running, children[0].ask, patience, lambda pid: running[pid].status is not None)
    for child in running.values():
        forget(child.records, child.name)


def delay(failures: int) -> float:
    """Seconds to wait before the next start, after so many ends in a row."""
    return min(LONGEST_DELAY, 2.0 ** (failures - 1))


def watch(children: Sequence[Child], until: Callable[[], bool] = lambda: False) -> None:
    """Start again whatever ends, later each time it ends soon after its start. Runs until `Stopped`, or `until`."""
    while not until():
        for child in children:
            _watch_one(child, time.monotonic())
        pause(0.1)


def foreground(
    argv: Argv,
    *,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    records: Path | None = None,
    meanwhile: Sequence[Child] = (),
) -> int:
    """Run a command whose output the user reads, and look after the children until it ends."""
    process = _spawn(argv, env=env, cwd=cwd, user=None, output=None)
    if records is not None:
        write_record(records, "tests", process.pid)
    try:
        watch(meanwhile, until=lambda: process.poll() is not None)
    finally:
        # Ended already, unless we were asked to stop.
        stop_processes([process.pid], signal.SIGINT, 15, lambda _pid: process.poll() is not None)
    if records is not None:
        forget(records, "tests")
    return process.returncode


@dataclass(frozen=True)
class Job:
    """A command that runs beside others."""

    process: subprocess.Popen[bytes]
    output: Path

    def finish(self, meanwhile: Sequence[Child]) -> int:
        """Look after the children until it ends; print what it wrote."""
        watch(meanwhile, until=lambda: self.process.poll() is not None)
        print(self.output.read_text(), end="", flush=True)
        return self.process.returncode


@contextlib.contextmanager
def beside(argv: Argv, name: str, *, cwd: Path, env: Mapping[str, str], records: Path, output: Path) -> Iterator[Job]:
    """A command that runs while other things do, its output in a file; what is left of it in the end is stopped."""
    with output.open("wb") as file:
        process = _spawn(argv, env=env, cwd=cwd, user=None, output=file.fileno())
    write_record(records, name, process.pid)
    try:
        yield Job(process, output)
    finally:
        stop_processes([process.pid], signal.SIGINT, 15, lambda _pid: process.poll() is not None)
        forget(records, name)


def _watch_one(child: Child, now: float) -> None:
    if child.start_again is not None:
        if now >= child.start_again:
            child.start()
            say.line(f"{child.name} was started again.")
        return
    if child.status is None:
        return
    child.failures = 1 if now - child.started > STEADY_AFTER else child.failures + 1
    child.start_again = now + delay(child.failures)
    say.line(
        f"{child.name} ended with status {child.status}; it starts again in {delay(child.failures):.0f} s."
        f"{child.last_words(5)}"
    )


@dataclass
class Server:
    """A server in use; `children` are its processes, in the order of their start, when we run it ourselves."""

    url: str
    about: str
    children: list[Child] = field(default_factory=list)


def plain_env(**more: str) -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"} | more


# --- ports ----------------------------------------------------------------------------------------------------------


def port_is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        # As a server does: a connection of the last run that lingers does not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


class Ports:
    """Hands out free ports, each once. They lie below 32768: above, the system gives them to outgoing connections."""

    def __init__(self, allowed: str) -> None:
        low, _, high = allowed.partition("-")
        self._left = list(range(int(low), int(high) + 1))
        random.shuffle(self._left)

    def take(self) -> int:
        while self._left:
            port = self._left.pop()
            if port_is_free("127.0.0.1", port):
                return port
        raise Failed("No free port is left. MERCER_PORTS=20000-32767 sets the range to look in.")


def answers_200(host: str, port: int, path: str) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
