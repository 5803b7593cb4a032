"""Which server is used, the first that is there, each chosen by itself; and the docker commands, on a fake engine."""

import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy import debian, docker, fetch, postgres, rabbitmq, servers
from deploy.home import Home, open_home
from deploy.processes import Failed, Ports
from deploy.servers import Source
from deploy.stack import database_url


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    opened = open_home(tmp_path / "state")
    yield opened
    opened.close()


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A machine with nothing on it, whose owner is an ordinary user."""
    for name in servers.URL_VARIABLES.values():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(
        postgres, "choose", lambda folders, data: next((f for f in folders if data in (None, 16)), None)
    )
    monkeypatch.setattr(servers, "INSTALLED_POSTGRES", tmp_path / "postgresql")
    monkeypatch.setattr(servers, "INSTALLED_RABBITMQ", tmp_path / "rabbitmq-server")
    monkeypatch.setattr(debian, "can_install", lambda: False)
    monkeypatch.setattr(docker, "is_alive", lambda: False)
    monkeypatch.setattr(fetch, "postgres_from_wheel", lambda: Path("/wheel/bin"))
    monkeypatch.setattr(fetch, "rabbitmq_from_packages", lambda: Path("/unpacked"))
    return monkeypatch


def install(tmp_path: Path) -> None:
    (tmp_path / "postgresql" / "16" / "bin").mkdir(parents=True)
    (tmp_path / "rabbitmq-server").touch()


def test_urls_come_first(bare: pytest.MonkeyPatch, home: Home, tmp_path: Path) -> None:
    install(tmp_path)
    bare.setenv("MERCER_POSTGRES_URL", "postgresql://there")
    assert servers.find_sources(home) == {
        "postgres": Source("url", "postgresql://there"),
        "rabbitmq": Source("programs", "/"),
    }


def test_installed_programs_come_before_root_and_docker(bare: pytest.MonkeyPatch, home: Home, tmp_path: Path) -> None:
    install(tmp_path)
    bare.setattr(debian, "can_install", lambda: pytest.fail("nothing is missing"))
    bare.setattr(docker, "is_alive", lambda: True)
    assert [source.kind for source in servers.find_sources(home).values()] == ["programs", "programs"]


def test_root_installs_what_is_missing(bare: pytest.MonkeyPatch, home: Home, tmp_path: Path) -> None:
    asked: list[str] = []

    def apt(*names: str) -> None:
        asked.extend(names)
        install(tmp_path)

    (tmp_path / "rabbitmq-server").touch()
    bare.setattr(debian, "can_install", lambda: True)
    bare.setattr(debian, "install", apt)
    assert servers.find_sources(home)["postgres"].kind == "programs"
    assert asked == ["postgresql"]


def test_an_engine_is_used_when_root_cannot_install(bare: pytest.MonkeyPatch, home: Home) -> None:
    def fail(*_names: str) -> None:
        raise Failed("no network")

    bare.setattr(debian, "can_install", lambda: True)
    bare.setattr(debian, "install", fail)
    bare.setattr(docker, "is_alive", lambda: True)
    assert servers.find_sources(home) == {"postgres": Source("docker"), "rabbitmq": Source("docker")}


def test_data_of_a_private_cluster_is_not_forsaken_for_docker(bare: pytest.MonkeyPatch, home: Home) -> None:
    (home.path / "postgres" / "data").mkdir(parents=True)
    (home.path / "postgres" / "data" / "PG_VERSION").write_text("16\n")
    bare.setattr(docker, "is_alive", lambda: True)
    assert servers.find_sources(home)["postgres"] == Source("programs", "/wheel/bin")


def test_the_last_resort_is_to_fetch(bare: pytest.MonkeyPatch, home: Home) -> None:
    assert servers.find_sources(home) == {
        "postgres": Source("programs", "/wheel/bin"),
        "rabbitmq": Source("programs", "/unpacked"),
    }


def test_one_message_when_nothing_helps(bare: pytest.MonkeyPatch, home: Home) -> None:
    def fail() -> Path:
        raise Failed("Not Debian.")

    bare.setattr(fetch, "rabbitmq_from_packages", fail)
    with pytest.raises(Failed, match=r"no RabbitMQ here(.|\n)*docker(.|\n)*MERCER_RABBITMQ_URL(.|\n)*Not Debian"):
        servers.find_sources(home)


def test_data_that_no_programs_can_read_is_explained(bare: pytest.MonkeyPatch, home: Home) -> None:
    (home.path / "postgres" / "data").mkdir(parents=True)
    (home.path / "postgres" / "data" / "PG_VERSION").write_text("12\n")
    with pytest.raises(Failed, match="written by Postgres 12"):
        servers.find_sources(home)


def test_the_newest_postgres_or_the_one_that_reads_the_data(tmp_path: Path) -> None:
    folders = []
    for version in ("9.6.24", "15.18", "17.2 (Debian)"):
        folders.append(folder := tmp_path / version.split(".")[0])
        folder.mkdir()
        (folder / "initdb").touch()
        (folder / "postgres").write_text(f"#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n")
        (folder / "postgres").chmod(0o755)
    (tmp_path / "client-only").mkdir()
    folders.append(tmp_path / "client-only")
    assert postgres.choose(folders, None) == tmp_path / "17"
    assert postgres.choose(folders, 15) == tmp_path / "15"
    assert postgres.choose(folders, 16) is None
    assert postgres.choose([], None) is None


def test_a_service_url_keeps_the_place_and_the_options() -> None:
    admin = "postgresql://admin:p%40ss@db.example:5433/postgres?sslmode=require"
    assert database_url(admin, "mercer_orders", "x/y") == (
        "postgresql://mercer_orders:x%2Fy@db.example:5433/mercer_orders?sslmode=require"
    )


def answer_once(reply: bytes) -> int:
    """A server for one connection; returns its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listener, listener.accept()[0] as connection:
            connection.recv(8)
            connection.sendall(reply)

    threading.Thread(target=serve, daemon=True).start()
    return int(listener.getsockname()[1])


def test_a_broker_is_up_when_it_answers_a_greeting() -> None:
    assert rabbitmq.reachable(f"amqp://127.0.0.1:{answer_once(bytes([1, 0, 0]))}/")
    assert not rabbitmq.reachable(f"amqp://127.0.0.1:{answer_once(b'HTTP/1.1 400')}/")
    assert not rabbitmq.reachable(f"amqps://127.0.0.1:{Ports('20000-32767').take()}/")


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A `docker` that writes down how it was called."""
    calls = tmp_path / "calls"
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "docker").write_text(
        f'#!/bin/sh\necho "$@" >> {calls}\ntest -n "$MERCER_SECRET" || echo none >> {calls}\n'
    )
    (programs / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    return calls


def test_docker_starts_and_stops_only_the_servers(engine: Path, home: Home) -> None:
    started = docker.start(home, ["postgres", "rabbitmq"], Ports("20000-32767"))
    assert started["rabbitmq"].url.startswith("amqp://mercer:")
    published = json.loads((home.path / "docker-compose.ports.yml").read_text())["services"]["postgres"]["ports"]
    port = started["postgres"].url.rpartition(":")[2].removesuffix("/postgres")
    assert published == [f"127.0.0.1:{port}:5432"]
    docker.stop(home, remove=False)
    docker.stop(home, remove=True)
    docker.stop(home, remove=True)
    calls = engine.read_text().splitlines()
    assert [call.rpartition("ports.yml ")[2] for call in calls] == [
        "up -d --wait postgres rabbitmq",
        "stop",
        "down --volumes",
    ]


def test_a_docker_command_without_an_engine_is_no_docker(monkeypatch: pytest.MonkeyPatch, engine: Path) -> None:
    assert docker.is_alive()
    (engine.parent / "programs" / "docker").write_text('#!/bin/sh\ntest "$1" != info\n')
    assert not docker.is_alive()
    monkeypatch.setenv("PATH", str(engine.parent))
    assert not docker.is_alive()


def test_no_service_starts_while_packages_are_installed(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    with debian.no_service_starts(policy):
        assert "exit 101" in policy.read_text()
        assert os.access(policy, os.X_OK)
    assert not policy.exists()
    # What a killed run left behind is ours to remove, what somebody else put there is not.
    policy.write_text(debian.NO_STARTS)
    with debian.no_service_starts(policy):
        pass
    assert not policy.exists()
    policy.write_text("#!/bin/sh\nexit 0\n")
    with debian.no_service_starts(policy):
        assert policy.read_text().endswith("exit 0\n")
    assert policy.exists()
