"""The two servers from docker-compose.yml, where an engine runs. Standard library only."""

import json
import os
from collections.abc import Callable
from pathlib import Path

from deploy import say
from deploy.home import CHECKOUT, Home
from deploy.processes import Ports, Server, run, succeeds


def is_alive() -> bool:
    """The command alone proves nothing: it may come without an engine, or without compose."""
    return succeeds(["docker", "info"]) and succeeds(["docker", "compose", "version"])


def start(home: Home, names: list[str], ports: Ports) -> dict[str, Server]:
    """Start the servers of docker-compose.yml, each with a port on this machine."""
    inside = {"postgres": 5432, "rabbitmq": 5672}
    outside = {name: ports.take() for name in names}
    published = {name: {"ports": [f"127.0.0.1:{outside[name]}:{inside[name]}"]} for name in names}
    # JSON is YAML.
    _ports_file(home).write_text(json.dumps({"services": published}))
    with say.step("docker compose up"):
        _compose(home, "up", "-d", "--wait", *names)
    urls = {
        "postgres": f"postgresql://postgres:{home.secret('postgres password')}@127.0.0.1",
        "rabbitmq": f"amqp://mercer:{home.secret('rabbitmq password')}@127.0.0.1",
    }
    paths = {"postgres": "/postgres", "rabbitmq": "/"}
    return {name: Server(f"{urls[name]}:{port}{paths[name]}", f"docker, port {port}") for name, port in outside.items()}


def stop(home: Home, *, remove: bool) -> None:
    """Stop the containers that this folder started, if any; `remove` deletes their data too."""
    if _ports_file(home).exists():
        _compose(home, *(["down", "--volumes"] if remove else ["stop"]))
        if remove:
            _ports_file(home).unlink()


def _ports_file(home: Home) -> Path:
    return home.path / "docker-compose.ports.yml"


def _compose(home: Home, *arguments: str) -> None:
    files = [part for path in (CHECKOUT / "docker-compose.yml", _ports_file(home)) for part in ("-f", path)]
    project = f"mercer-{home.secret('docker project')[:8]}"
    env = dict(os.environ) | compose_variables(home.secret)
    run(["docker", "compose", "-p", project, *files, *arguments], env=env, unbroken="up" not in arguments)


def compose_variables(secret: Callable[[str], str]) -> dict[str, str]:
    """All that docker-compose.yml insists on, even when two of its services are started."""
    names = ("ORDERS", "CATALOG", "PAYMENTS", "INVENTORY", "GATEWAY")
    return {
        "MERCER_POSTGRES_PASSWORD": secret("postgres password"),
        "MERCER_RABBITMQ_PASSWORD": secret("rabbitmq password"),
        "MERCER_SECRET": secret("secret"),
        "MERCER_SESSION_SECRET": secret("session secret"),
        "MERCER_ADMIN_EMAIL": "admin@example.com",
        "MERCER_ADMIN_PASSWORD": secret("admin password"),
    } | {f"MERCER_{name}_PASSWORD": secret(f"{name.lower()} password") for name in names}
