"""Processes are recognised, stopped and restarted as `deploy/processes.py` promises."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy import processes
from deploy.processes import Child, Failed, Ports
from tests.support.waiting import PATIENCE

SLEEP = [sys.executable, "-c", "import time; print('here', flush=True); time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(15, signal.SIG_IGN); print('here', flush=True); time.sleep(60)",
]


@pytest.fixture
def children() -> Iterator[list[Child]]:
    made: list[Child] = []
    yield made
    for child in made:
        child.patience = 0
    processes.stop_children(made)


def make(tmp_path: Path, argv: list[str]) -> Child:
    child = Child(name="it", argv=argv, env={}, records=tmp_path, log=tmp_path / "it.log")
    child.ready = lambda: "here" in (tmp_path / "it.log").read_text()
    return child


def pid_of(child: Child) -> int:
    assert child.process is not None
    return child.process.pid


def test_a_command_returns_what_it_printed(tmp_path: Path) -> None:
    assert processes.run([sys.executable, "-c", "import os; print(os.getcwd())"], cwd=tmp_path) == f"{tmp_path}\n"


def test_a_failed_command_is_named_with_its_output() -> None:
    with pytest.raises(Failed, match=r"status 3:\n    why"):
        processes.run([sys.executable, "-c", "print('why'); raise SystemExit(3)"])


def test_a_command_that_hangs_is_ended() -> None:
    with pytest.raises(Failed, match="took longer"):
        processes.run(SLEEP, timeout=0.2)


def test_a_recorded_process_is_found_again(tmp_path: Path, children: list[Child]) -> None:
    children.append(child := make(tmp_path, SLEEP))
    child.start()
    child.wait_ready()
    assert processes.left_over(tmp_path) == {"it": pid_of(child)}
    processes.stop_children([child])
    assert child.status == -signal.SIGTERM
    assert processes.left_over(tmp_path) == {}
    assert not list(tmp_path.glob("*.json"))


def test_a_process_that_got_a_recorded_number_later_is_left_alone(tmp_path: Path) -> None:
    processes.write_record(tmp_path, "it", os.getpid())
    assert processes.left_over(tmp_path) == {"it": os.getpid()}
    record = json.loads((tmp_path / "it.json").read_text())
    (tmp_path / "it.json").write_text(json.dumps(record | {"started": record["started"] + "1"}))
    assert processes.left_over(tmp_path) == {}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', '{"pid": 99999999, "started": null}'])
def test_a_damaged_record_names_nobody(tmp_path: Path, text: str) -> None:
    (tmp_path / "it.json").write_text(text)
    assert processes.left_over(tmp_path) == {}


def test_a_process_that_ended_has_no_start() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    while processes.started_at(process.pid) is not None:
        time.sleep(0.01)  # a zombie now: its number is still taken
    process.wait()
    assert processes.started_at(process.pid) is None


def test_what_does_not_end_when_asked_is_killed(tmp_path: Path, children: list[Child]) -> None:
    children.append(child := make(tmp_path, STUBBORN))
    child.patience = 0.2
    child.start()
    child.wait_ready()
    processes.stop_children([child])
    assert child.status == -signal.SIGKILL


def test_a_child_that_ends_while_it_starts_says_why(tmp_path: Path, children: list[Child]) -> None:
    children.append(child := make(tmp_path, [sys.executable, "-c", "raise SystemExit('no database')"]))
    child.start()
    with pytest.raises(Failed, match=r"it ended with status 1 while it started(.|\n)*no database"):
        child.wait_ready()


def test_a_child_that_ended_is_started_again(tmp_path: Path, children: list[Child]) -> None:
    children.append(child := make(tmp_path, SLEEP))
    child.start()
    first = pid_of(child)
    os.kill(first, signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE
    processes.watch([child], until=lambda: pid_of(child) != first or time.monotonic() > deadline)
    assert pid_of(child) != first
    assert child.failures == 1
    assert processes.left_over(tmp_path) == {"it": pid_of(child)}


def test_a_command_beside_others(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def start(argv: list[str]) -> contextlib.AbstractContextManager[processes.Job]:
        environment = dict(os.environ)
        return processes.beside(argv, "it", cwd=tmp_path, env=environment, records=tmp_path, output=tmp_path / "it.log")

    with start([sys.executable, "-c", "print('three of four'); raise SystemExit(3)"]) as job:
        assert job.finish([]) == 3
    assert capfd.readouterr().out == "three of four\n"
    with start(SLEEP) as job:
        assert processes.left_over(tmp_path) == {"it": job.process.pid}
    assert job.process.poll() is not None
    assert processes.left_over(tmp_path) == {}


def test_restarts_come_later_and_later() -> None:
    assert [processes.delay(failures) for failures in (1, 2, 3, 5, 6, 500)] == [1, 2, 4, 16, 30, 30]


def test_ports_are_free_and_each_is_given_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        busy = taken.getsockname()[1]
        assert not processes.port_is_free("127.0.0.1", busy)
        with pytest.raises(Failed, match="MERCER_PORTS"):
            Ports(f"{busy}-{busy}").take()
    ports = Ports("20000-32767")
    given = [ports.take() for _ in range(20)]
    assert len(set(given)) == 20
    assert all(20000 <= port < 32768 for port in given)


def test_a_port_nobody_listens_on_is_not_healthy() -> None:
    assert not processes.answers_200("127.0.0.1", Ports("20000-32767").take(), "/health")
