"""The commands of `deploy/local.py`, as far as they start nothing."""

import os
import subprocess
from pathlib import Path

import pytest

from deploy import environment, local
from deploy.home import open_home
from deploy.processes import Failed, Ports
from deploy.stack import Stack

ROOT = Path(__file__).parent.parent.parent


def test_every_target_of_the_makefile_is_explained_and_known() -> None:
    listed = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = {row.split()[0] for row in listed.splitlines()}
    assert targets == {"help", "up", "servers", "test", "unit", "cov", "lint", "clean", "reset", "env"}
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


def test_the_tests_are_told_nothing_of_how_mercer_is_run_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """But whether they are to write the generated pages anew."""
    monkeypatch.setenv("MERCER_WRITE_DOCS", "1")
    monkeypatch.setenv("MERCER_SMTP_URL", "smtp://somewhere")
    monkeypatch.setenv("OTHER", "kept")
    home = open_home(tmp_path / "state")
    told = Stack(home, Ports("20000-32767"), throw_away=True).test_env()
    home.close()
    assert {"MERCER_WRITE_DOCS": "1", "MERCER_CHECK_ANSWERS": "1", "OTHER": "kept"}.items() <= told.items()
    assert "MERCER_SMTP_URL" not in told


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
