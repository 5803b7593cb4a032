"""Mercer on one machine, from a bare checkout: what the Makefile runs.

    python3 -m deploy.local up | servers | test | unit | cov | lint | clean | reset | env

It starts on any Python 3.11 with the standard library only, makes `.venv`, and goes on under that. What was started
is stopped in order, however the run ends; what a killed run left behind, the next one stops first. A process that
ends while Mercer runs is reported and started again, later each time.
"""

import argparse
import os
import secrets
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from deploy import docker, environment, say, servers
from deploy.home import CHECKOUT, abandoned_homes, default_home, open_home, throw_away_home
from deploy.processes import Failed, Job, Ports, Stopped, beside, catch_signals, foreground, pause, port_is_free, watch
from deploy.stack import Stack, stop_left_overs

# Replayed against a running Mercer, which is started for a whole run and for this.
CONFORMANCE = "tests/conformance"
LINTS = (("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",), ("lint-imports", "--no-logo"))
CACHES = (".coverage", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", ".import_linter_cache")
# The environment each command needs, in uv's words; the others get by with the bare Python.
GROUPS = {"up": ("--no-dev", "--group", "replay"), "test": (), "unit": (), "cov": (), "lint": ()}
UNDER_VENV = "MERCER_UNDER_VENV"
COVERAGE = ("-m", "coverage")


def up() -> int:
    home = open_home(_home_path())
    stop_left_overs(home)
    host, port = os.environ.get("MERCER_HOST", "127.0.0.1"), _gateway_port()
    if not port_is_free(host, port):
        raise Failed(f"Port {port} of {host} is taken. Choose another one: MERCER_PORT={port + 10} make up")
    with Stack(home, _ports()) as stack:
        stack.start_servers()
        stack.start_processes(host, port)
        email, password = stack.admin
        print(f"Mercer is ready: {stack.base}  login: {email} / {password}  (Ctrl-C stops it)", flush=True)
        watch(stack.children)
    return 0


def run_servers() -> int:
    home = open_home(_home_path())
    stop_left_overs(home)
    with Stack(home, _ports()) as stack:
        stack.start_servers()
        stack.wait_for_servers()
        for name, server in stack.servers.items():
            print(f"export {servers.URL_VARIABLES[name]}={shlex.quote(server.url)}", flush=True)
        watch(stack.children)
    return 0


def test(paths: list[str], expression: str, extra: list[str]) -> int:
    """Everything in a throw-away place; the answer is whether all of it went well."""
    with _throw_away_stack() as stack:
        # The broker takes its time to start; the linters use it.
        failed = [] if paths or expression else lint_failures()
        stack.wait_for_servers()
        # It waits for background work most of its time, so that it costs the tests beside it little.
        with _replay(stack) if not paths or CONFORMANCE in paths else nullcontext() as replay:
            tests = _pytest_arguments(paths, expression)
            if paths != [CONFORMANCE] and _foreground(stack, *tests, *extra):
                failed.append("pytest")
            # Last, so that what differs is what stands at the end.
            if replay and replay.finish(stack.children):
                failed.append("conformance")
        failed += [f"{child.name} (ended while the tests ran)" for child in stack.children if child.failures]
    if failed:
        say.line(f"Failed: {', '.join(failed)}")
    return bool(failed)


def unit(paths: list[str], expression: str, extra: list[str]) -> int:
    """The tests that need no server, without one: tests/conftest.py says which these are."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("MERCER_")}
    tests = _pytest_arguments(paths, expression)
    return foreground([environment.PYTHON, *tests, "-m", "unit", *extra], cwd=CHECKOUT, env=env)


def cov(paths: list[str], expression: str, extra: list[str]) -> int:
    """The suite, and which branches of the product it takes: of a whole run no fewer than pyproject.toml says."""
    with _throw_away_stack() as stack:
        stack.wait_for_servers()
        shutil.rmtree(CHECKOUT / ".coverage", ignore_errors=True)  # of a run that was broken off
        failed = _foreground(stack, *COVERAGE, "run", *_pytest_arguments(paths, expression), *extra)
        _foreground(stack, *COVERAGE, "combine", "--quiet")
        floor = ["--fail-under=0"] if paths or expression or extra else []
        fallen = _foreground(stack, *COVERAGE, "report", *floor)
    return bool(failed or fallen)


@contextmanager
def _throw_away_stack() -> Iterator[Stack]:
    """Servers that are starting, and nothing of them afterwards."""
    _remove_abandoned()
    home = throw_away_home()
    try:
        with Stack(home, _ports(), throw_away=True) as stack:
            stack.start_servers()
            yield stack
    finally:
        home.remove()


def _replay(stack: Stack) -> AbstractContextManager[Job]:
    stack.start_processes("127.0.0.1", stack.ports.take())
    return beside(
        [environment.PYTHON, f"{CONFORMANCE}/run.py", "--base", stack.base],
        "replay",
        cwd=CHECKOUT,
        env=stack.test_env(),
        records=stack.home.records,
        output=stack.home.logs / "conformance.log",
    )


def _pytest_arguments(paths: Sequence[str], expression: str) -> list[str]:
    workers = os.environ.get("MERCER_TEST_WORKERS") or "2"
    chosen = [path for path in paths if path != CONFORMANCE]
    return ["-m", "pytest", "-n", workers, *(["-k", expression] if expression else []), *chosen]


def _foreground(stack: Stack, *arguments: str) -> int:
    return foreground(
        [environment.PYTHON, *arguments],
        cwd=CHECKOUT,
        env=stack.test_env(),
        records=stack.home.records,
        meanwhile=stack.children,
    )


def lint_failures() -> list[str]:
    failed = []
    for name, *arguments in LINTS:
        title = " ".join((name, *arguments))
        say.line(f"  {title}")
        if foreground([environment.VENV / "bin" / name, *arguments], cwd=CHECKOUT):
            failed.append(title)
    return failed


def lint() -> int:
    failed = lint_failures()
    if failed:
        say.line(f"Failed: {', '.join(failed)}")
    return bool(failed)


def clean() -> int:
    """What can be made again at once; not the environment, not the state folder."""
    _remove_abandoned()
    for name in CACHES:
        shutil.rmtree(CHECKOUT / name, ignore_errors=True)
    for folder in ("deploy", "gateway", "services", "tests"):
        for cache in [*(CHECKOUT / folder).rglob("__pycache__")]:
            shutil.rmtree(cache, ignore_errors=True)
    return 0


def reset() -> int:
    home = open_home(_home_path())
    stop_left_overs(home)
    docker.stop(home, remove=True)
    home.reset()
    say.line(f"{home.path} holds no data any more.")
    return 0


def print_env() -> int:
    """Fresh secrets for docker-compose.yml, to be kept in a file `.env`."""
    for name, value in docker.compose_variables(lambda _name: secrets.token_hex(24)).items():
        print(f"{name}={value}")
    return 0


def _remove_abandoned() -> None:
    for home in abandoned_homes():
        say.line(f"  removing {home.path}, which a killed run left behind")
        stop_left_overs(home)
        docker.stop(home, remove=True)
        home.remove()


def _home_path() -> Path:
    return Path(os.environ.get("MERCER_HOME") or default_home())


def _gateway_port() -> int:
    text = os.environ.get("MERCER_PORT") or "9000"
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise Failed(f"MERCER_PORT must be a port number, not {text!r}.")
    return int(text)


def _ports() -> Ports:
    return Ports(os.environ.get("MERCER_PORTS") or "20000-32767")


def _go_on_under_venv(command: str, arguments: Sequence[str]) -> None:
    """Make the environment and start again under its Python; once there, go on."""
    if command not in GROUPS or os.environ.pop(UNDER_VENV, ""):
        return
    browser = ("--group", "browser") if command in ("test", "cov") and environment.chromium() else ()
    environment.make_environment(*GROUPS[command], *browser)
    pause(0)
    argv = [str(environment.PYTHON), "-m", "deploy.local", *arguments]
    os.execve(argv[0], argv, os.environ | {UNDER_VENV: "1"})  # noqa: S606 - no shell is wanted


# Where what is tested, and how, can be chosen.
TESTS = {"test": test, "unit": unit, "cov": cov}


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deploy.local")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("up", "servers", "lint", "clean", "reset", "env"):
        commands.add_parser(name)
    for name in TESTS:
        tests = commands.add_parser(name)
        tests.add_argument("--path", default="", help="files or folders, separated by spaces")
        tests.add_argument("--expr", default="", help="pytest's -k")
        tests.add_argument("--args", default="", help="more arguments for pytest")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    os.chdir(CHECKOUT)
    os.umask(0o022)
    catch_signals()
    try:
        _go_on_under_venv(options.command, arguments)
        if options.command in TESTS:
            return TESTS[options.command](shlex.split(options.path), options.expr, shlex.split(options.args))
        commands = {"up": up, "servers": run_servers, "lint": lint, "clean": clean, "reset": reset, "env": print_env}
        return commands[options.command]()
    except Failed as error:
        say.line(str(error))
        return 1
    except Stopped:
        # Asked for, so no failure; but a broken-off test run has proved nothing.
        return int(options.command in (*TESTS, "lint"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
