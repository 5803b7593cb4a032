"""docker-compose.yml, read as data: an engine is not needed to see that the pieces fit."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy import docker
from deploy.provision import read_settings

ROOT = Path(__file__).parent.parent.parent
TEXT = (ROOT / "docker-compose.yml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
PROCESSES = ("orders", "catalog", "payments", "inventory", "gateway")
SERVERS = ("postgres", "rabbitmq")
ONCE = ("provision", *(f"{name}-migrate" for name in PROCESSES))
REFERENCE = re.compile(r"\$\{(\w+)(:[-?])?([^}]*)\}")


def test_there_is_nothing_else() -> None:
    assert set(SERVICES) == {*PROCESSES, *SERVERS, *ONCE}


@pytest.mark.parametrize("name", [*PROCESSES, *SERVERS])
def test_what_stays_up_is_checked_and_started_again(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"
    assert SERVICES[name]["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", ONCE)
def test_what_runs_once_is_not_started_again(name: str) -> None:
    assert "healthcheck" not in SERVICES[name]
    assert SERVICES[name]["restart"] == "no"


@pytest.mark.parametrize("name", SERVICES)
def test_dependencies_are_waited_for(name: str) -> None:
    for needed, how in SERVICES[name].get("depends_on", {}).items():
        done = "service_completed_successfully" if needed in ONCE else "service_healthy"
        assert how == {"condition": done}, needed


@pytest.mark.parametrize("name", PROCESSES)
def test_a_process_starts_on_a_migrated_database(name: str) -> None:
    module = name if name == "gateway" else f"services.{name}"
    migration = SERVICES[f"{name}-migrate"]
    assert SERVICES[name]["command"] == ["python", "-m", module]
    assert migration["command"] == ["python", "-m", module, "migrate"]
    assert f"{name}-migrate" in SERVICES[name]["depends_on"]
    assert "provision" in migration["depends_on"]
    urls = {part["environment"]["MERCER_DATABASE_URL"] for part in (SERVICES[name], migration)}
    assert urls == {SERVICES["provision"]["environment"][f"MERCER_{name.upper()}_DATABASE_URL"]}


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_scales_and_only_the_gateway_has_a_port(name: str) -> None:
    assert "container_name" not in SERVICES[name]
    assert ("ports" in SERVICES[name]) == (name == "gateway")


def test_the_gateway_knows_where_the_services_listen() -> None:
    for name in PROCESSES[:-1]:
        url = SERVICES["gateway"]["environment"][f"MERCER_{name.upper()}_URL"]
        assert url == f"http://{name}:{SERVICES[name]['environment']['MERCER_PORT']}"


def test_secrets_have_no_default_and_come_with_make_env() -> None:
    ways: dict[str, set[str]] = {}
    for name, how, _rest in REFERENCE.findall(TEXT):
        ways.setdefault(name, set()).add(how)
    required = {name for name, how in ways.items() if how == {":?"}}
    assert all(how in ({":?"}, {":-"}) for how in ways.values())
    assert {name for name in ways if re.search("SECRET|PASSWORD", name)} <= required
    assert set(docker.compose_variables(lambda name: name)) == required


def test_provision_accepts_what_it_is_given() -> None:
    made = docker.compose_variables(lambda name: name.replace(" ", "-"))
    given = SERVICES["provision"]["environment"]
    env = {name: REFERENCE.sub(lambda match: made[match[1]], url) for name, url in given.items()}
    admin_url, targets = read_settings(env)
    assert admin_url == "postgresql://postgres:postgres-password@postgres:5432/postgres"
    assert {(t.role, t.password, t.database) for t in targets} == {
        (f"mercer_{name}", f"{name}-password", f"mercer_{name}") for name in PROCESSES
    }


def test_the_image_copies_only_what_is_let_in() -> None:
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "deploy" / "Dockerfile").read_text(), re.MULTILINE)
    assert {name for row in copies for name in row.split()} == let_in
    assert all((ROOT / name).exists() for name in let_in)
