"""The commands of `deploy/local.py`, as far as they start nothing."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deploy import environment, local
from deploy.processes import Failed

ROOT = Path(__file__).parent.parent.parent


def test_every_target_of_the_makefile_is_explained_and_known() -> None:
    listed = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = {row.split()[0] for row in listed.splitlines()}
    assert targets == {"help", "up", "servers", "test", "lint", "clean", "reset", "env"}
    for target in targets - {"help"}:
        assert local._parse([target]).command == target


def test_continuous_integration_runs_the_documented_command() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text().splitlines()[-1] == "exec make test </dev/null"


@pytest.mark.parametrize(("given", "port"), [("", 9000), ("8080", 8080)])
def test_the_gateways_port(monkeypatch: pytest.MonkeyPatch, given: str, port: int) -> None:
    monkeypatch.setenv("MERCER_PORT", given)
    assert local._gateway_port() == port


@pytest.mark.parametrize("given", ["0", "65536", "http", "-1"])
def test_what_is_no_port_is_refused(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("MERCER_PORT", given)
    with pytest.raises(Failed, match="MERCER_PORT"):
        local._gateway_port()


def test_a_part_of_the_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MERCER_TEST_WORKERS", "4")
    assert local._pytest_arguments(["tests/orders"], "placed or paid") == [
        *("-m", "pytest", "-n", "4", "-k", "placed or paid", "tests/orders"),
    ]
    assert local._pytest_arguments([], "") == ["-m", "pytest", "-n", "4"]


@pytest.mark.parametrize(
    ("failed", "paths", "statuses", "expected", "runs"),
    [
        ([], [], [0], 0, 1),
        (["tests/test_a.py::test_x[a b]"], [], [1, 0], 0, 2),
        (["tests/test_a.py::test_x[a b]"], [], [1, 1], 1, 2),
        (["a", "b", "c"], [], [1], 1, 1),
        (["a"], ["tests/orders"], [1], 1, 1),
        (["a"], [], [2], 2, 1),
        ([], [], [1], 1, 1),
    ],
)
def test_few_that_failed_are_tried_once_more(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    failed: list[str],
    paths: list[str],
    statuses: list[int],
    expected: int,
    runs: int,
) -> None:
    cache = tmp_path / ".pytest_cache" / "v" / "cache"
    cache.mkdir(parents=True)
    (cache / "lastfailed").write_text('{"of a run before": true}')
    asked: list[tuple[str, ...]] = []

    def foreground(stack: object, *arguments: str) -> int:
        asked.append(arguments)
        if failed:
            (cache / "lastfailed").write_text(json.dumps(dict.fromkeys(failed, True)))
        return statuses[len(asked) - 1]

    monkeypatch.setattr(local, "CHECKOUT", tmp_path)
    monkeypatch.setattr(local, "_foreground", foreground)
    stack: Any = None
    assert local._suite(stack, paths, "", []) == expected
    assert len(asked) == runs
    assert asked[1:] == [("-m", "pytest", *failed)] * (runs - 1)
    said = "".join(capsys.readouterr())
    assert ("To be mended" in said) == (expected == 0 and runs == 2)


def test_an_old_or_absent_uv_is_not_used(tmp_path: Path) -> None:
    program = tmp_path / "uv"
    assert environment._version(str(program)) == ()
    program.write_text("#!/bin/sh\necho 'uv 0.4.30 (of long ago)'\n")
    program.chmod(0o755)
    assert environment._version(str(program)) == (0, 4) < environment.OLDEST_UV


def test_secrets_for_compose_are_new_each_time(capsys: pytest.CaptureFixture[str]) -> None:
    local.print_env()
    first = dict(row.split("=") for row in capsys.readouterr().out.splitlines())
    local.print_env()
    second = dict(row.split("=") for row in capsys.readouterr().out.splitlines())
    assert len(first["MERCER_SECRET"]) >= 32
    assert {name for name in first if first[name] == second[name]} == {"MERCER_ADMIN_EMAIL"}
