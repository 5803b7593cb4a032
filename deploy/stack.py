"""One running Mercer: its servers, its databases and its five processes, started and stopped in order."""

import contextlib
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote, urlsplit, urlunsplit

from deploy import docker, environment, postgres, rabbitmq, say, servers
from deploy.home import CHECKOUT, Home
from deploy.processes import (
    Child,
    Failed,
    Ports,
    Server,
    answers_200,
    left_over,
    pause,
    run,
    stop_children,
    stop_processes,
)

SERVICES = ("orders", "catalog", "payments", "inventory")
PROCESSES = (*SERVICES, "gateway")
# The edge ends first, then the services, and only then what they use.
STOP_ORDER = (("tests",), ("gateway",), SERVICES, ("rabbitmq",), ("epmd",), ("postgres",))
# For `make up`'s own use: they mean something else, or nothing, to the processes.
OWN_VARIABLES = frozenset(
    f"MERCER_{name}" for name in ("HOME", "HOST", "PORT", "PORTS", "POSTGRES_URL", "ADMIN_EMAIL", "ADMIN_PASSWORD")
)
PASSED_TO_TESTS = ("MERCER_WRITE_DOCS",)  # of all that is Mercer's: they must not depend on how it is run here


def stop_left_overs(home: Home) -> None:
    """Stop what an earlier run on this folder could not stop, because it was killed."""
    running = left_over(home.records)
    if running:
        say.line(f"  stopping what a killed run left behind: {', '.join(sorted(running))}")
    for names in STOP_ORDER:
        pids = [running[name] for name in names if name in running]
        ask = signal.SIGINT if "postgres" in names else signal.SIGTERM
        stop_processes(pids, ask, 20, lambda pid: pid not in left_over(home.records).values())
    for path in home.records.iterdir():
        path.unlink()


class Stack:
    """Leaving the `with` block stops all that was started, whatever happened."""

    def __init__(self, home: Home, ports: Ports, *, throw_away: bool = False) -> None:
        self.home = home
        self.ports = ports
        self.throw_away = throw_away
        self.children: list[Child] = []
        self.servers: dict[str, Server] = {}
        self.base = ""
        self._waited: set[str] = set()
        # A throw-away Mercer can live on servers that are not ours alone: its names must be its own.
        own = f"mercer_test_{home.path.name[-8:]}"
        self.namespace = own if throw_away else os.environ.get("MERCER_NAMESPACE") or "mercer"
        variables = {} if throw_away else os.environ
        self.admin = (
            variables.get("MERCER_ADMIN_EMAIL") or "admin@example.com",
            variables.get("MERCER_ADMIN_PASSWORD") or "supersecret",
        )

    # --- servers

    def start_servers(self) -> None:
        """Start both without waiting: RabbitMQ takes many seconds in which other things can be done."""
        sources = servers.find_sources(self.home)
        if sources["rabbitmq"].kind == "programs":
            node = rabbitmq.private_node(self.home, Path(sources["rabbitmq"].where), self.ports)
            self._start_server("rabbitmq", node)
        if sources["postgres"].kind == "programs":
            programs, port = Path(sources["postgres"].where), self.ports.take()
            cluster = postgres.private_cluster(self.home, programs, port, throw_away=self.throw_away)
            self._start_server("postgres", cluster)
        in_docker = [name for name, source in sources.items() if source.kind == "docker"]
        if in_docker:
            self.servers |= docker.start(self.home, in_docker, self.ports)
        for name, source in sources.items():
            if source.kind == "url":
                self.servers[name] = Server(source.where, "as given")

    def _start_server(self, name: str, server: Server) -> None:
        self.servers[name] = server
        for child in server.children:
            self._start(child)
            if child is not server.children[-1]:
                child.wait_ready()

    def _start(self, child: Child) -> None:
        self.children.append(child)
        child.start()

    def wait_for_servers(self) -> None:
        for name in servers.NAMES:
            self._wait_for(name)

    def _wait_for(self, name: str) -> None:
        if name in self._waited:
            return
        with say.step(servers.TITLES[name]) as step:
            server = self.servers[name]
            for child in server.children:
                child.wait_ready()
            if name == "rabbitmq" and not server.children:
                _wait_for_broker(server.url)
            step.detail = server.about
        self._waited.add(name)

    # --- databases and processes

    def start_processes(self, host: str, port: int) -> None:
        """Databases, migrations and the admin user, then all five; returns when the gateway says all is ready."""
        ports = {name: self.ports.take() for name in SERVICES} | {"gateway": port}
        # The databases need no broker, which is still starting.
        self._wait_for("postgres")
        with say.step("Databases"):
            run([environment.PYTHON, "-m", "deploy.provision"], cwd=CHECKOUT, env=self._provision_env())
        envs = {name: self._process_env(name, ports) for name in PROCESSES}
        with say.step("Migrations"), ThreadPoolExecutor(len(PROCESSES)) as pool:
            list(pool.map(lambda name: self._migrate(name, envs[name]), PROCESSES))
        self._wait_for("rabbitmq")
        for name in PROCESSES:
            self.home.keep_env(name, envs[name])
        hosts = dict.fromkeys(SERVICES, "127.0.0.1") | {"gateway": host}
        started = [self._process(name, hosts[name], ports[name], envs[name]) for name in PROCESSES]
        for child in started:
            self._start(child)
        for child in started:
            with say.step(child.name) as step:
                child.wait_ready()
                step.detail = f"port {ports[child.name]}"
        self.base = f"http://{_reach(host)}:{port}"

    def _process(self, name: str, host: str, port: int, env: dict[str, str]) -> Child:
        return Child(
            name=name,
            argv=[environment.PYTHON, "-m", _module(name)],
            env=env | {"MERCER_HOST": host, "MERCER_PORT": str(port)},
            records=self.home.records,
            log=self.home.logs / f"{name}.log",
            ready=lambda: answers_200(_reach(host), port, "/health"),
            cwd=CHECKOUT,
        )

    def _migrate(self, name: str, env: dict[str, str]) -> None:
        if name == "gateway":
            env = env | dict(zip(("MERCER_ADMIN_EMAIL", "MERCER_ADMIN_PASSWORD"), self.admin, strict=True))
        run([environment.PYTHON, "-m", _module(name), "migrate"], cwd=CHECKOUT, env=env)

    def _process_env(self, name: str, ports: dict[str, int]) -> dict[str, str]:
        env = self._plain_env() | {
            "PYTHONUNBUFFERED": "1",
            "MERCER_DATABASE_URL": self._database_urls()[name],
            "MERCER_RABBITMQ_URL": self.servers["rabbitmq"].url,
            "MERCER_SECRET": self.home.secret("secret"),
            "MERCER_NAMESPACE": self.namespace,
        }
        if self.throw_away:
            env["MERCER_RESERVE_STOCK"] = "manual"
        if name == "catalog":
            env.setdefault("MERCER_FILES_FOLDER", str(self.home.path / "files"))
            env.setdefault("MERCER_FILES_URL", f"http://localhost:{ports['gateway']}")
        if name == "gateway":
            env["MERCER_SESSION_SECRET"] = self.home.secret("session secret")
            env |= {f"MERCER_{service.upper()}_URL": f"http://127.0.0.1:{ports[service]}" for service in SERVICES}
        return env

    def _plain_env(self) -> dict[str, str]:
        """The shell's variables: Mercer's own settings too, unless it is a test, which must not depend on them."""
        hidden = (lambda name: name.startswith("MERCER_")) if self.throw_away else OWN_VARIABLES.__contains__
        return {name: value for name, value in os.environ.items() if not hidden(name)}

    def _database_urls(self) -> dict[str, str]:
        admin_url = self.servers["postgres"].url
        return {
            name: database_url(admin_url, f"{self.namespace}_{name}", self.home.secret(f"{name} password"))
            for name in PROCESSES
        }

    def _provision_env(self) -> dict[str, str]:
        targets = {f"MERCER_{name.upper()}_DATABASE_URL": url for name, url in self._database_urls().items()}
        return dict(os.environ) | targets | {"MERCER_POSTGRES_URL": self.servers["postgres"].url}

    def test_env(self) -> dict[str, str]:
        """What pytest gets: the servers, and Mercer's address and login when it runs."""
        env = self._plain_env() | {servers.URL_VARIABLES[name]: server.url for name, server in self.servers.items()}
        env |= {name: os.environ[name] for name in PASSED_TO_TESTS if name in os.environ}
        env["MERCER_CHECK_ANSWERS"] = "1"  # each against the served document (tests/support/answers.py)
        if self.base:
            env["MERCER_ADMIN_EMAIL"], env["MERCER_ADMIN_PASSWORD"] = self.admin
        return env

    # --- the end

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shown = self.children and not self.throw_away
        if shown:
            say.line("Stopping ...")
        for names in STOP_ORDER:
            if "rabbitmq" in names:
                self._drop_test_databases()
            stop_children([child for child in self.children if child.name in names])
        docker.stop(self.home, remove=self.throw_away)
        if shown:
            say.line("Stopped.")

    def _drop_test_databases(self) -> None:
        """On a server that is not ours a throw-away Mercer cleans up after itself."""
        if not self.throw_away or not self.base or self.servers["postgres"].children:
            return
        with contextlib.suppress(Failed):
            run([environment.PYTHON, "-m", "deploy.provision", "drop"], cwd=CHECKOUT, env=self._provision_env())


def _wait_for_broker(url: str) -> None:
    for _attempt in range(60):
        if rabbitmq.reachable(url):
            return
        pause(0.5)
    raise Failed("RabbitMQ does not answer at MERCER_RABBITMQ_URL.")


def _module(name: str) -> str:
    return name if name == "gateway" else f"services.{name}"


def _reach(host: str) -> str:
    """Where to find a server that listens there: on every address includes this machine's own."""
    return "127.0.0.1" if host in ("", "0.0.0.0", "::") else host  # noqa: S104 - compared, not bound


def database_url(admin_url: str, name: str, password: str) -> str:
    """The same server and options, another role and its database of the same name."""
    parts = urlsplit(admin_url)
    place = parts.netloc.rpartition("@")[2]
    netloc = f"{quote(name, safe='')}:{quote(password, safe='')}@{place}"
    return urlunsplit(parts._replace(netloc=netloc, path=f"/{quote(name, safe='')}"))
