"""A private RabbitMQ node under the state folder, installed or unpacked (fetch.py). Standard library only."""

import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

from deploy import fetch
from deploy.home import Home, make_folder, others_can_reach, server_user, write_private
from deploy.processes import ANSWER_SECONDS, Child, Failed, Ports, Server, plain_env

CONFIG = """\
listeners.tcp.1 = 127.0.0.1:{port}
default_user = mercer
default_pass = {password}
log.console = true
log.file = false
vm_memory_high_watermark.absolute = 512MB
disk_free_limit.absolute = 200MB
"""


def private_node(home: Home, root: Path, ports: Ports) -> Server:
    """A node with its own port mapper (epmd), which would otherwise be shared with, or outlive us for, other nodes.

    Debian's start script insists on root or its own user; the program behind it does not.
    """
    user = server_user("rabbitmq") if others_can_reach(home.path) else None
    folder = home.path / "rabbitmq"
    port, mapper_port, node_port = ports.take(), ports.take(), ports.take()
    make_folder(folder, user)
    for name in ("data", "home"):
        make_folder(folder / name, user)
    password = home.secret("rabbitmq password")
    write_private(folder / "rabbitmq.conf", CONFIG.format(port=port, password=password), user)
    write_private(folder / "plugins", "[].\n", user)
    write_private(folder / "env.conf", "", user)
    env = _rabbitmq_env(folder, root, port, mapper_port, node_port)
    log = home.logs / "rabbitmq.log"
    mapper = Child(
        name="epmd",
        argv=[_epmd(root), "-port", str(mapper_port), "-address", "127.0.0.1"],
        env=env,
        records=home.records,
        log=log,
        ready=lambda: _listens(mapper_port),
        user=user,
        cwd=folder,
    )
    node = Child(
        name="rabbitmq",
        argv=[root / "usr/lib/rabbitmq/bin/rabbitmq-server"],
        env=env,
        records=home.records,
        log=log,
        ready=lambda: speaks_amqp("127.0.0.1", port),
        user=user,
        cwd=folder,
    )
    return Server(f"amqp://mercer:{password}@127.0.0.1:{port}/", f"port {port}", [mapper, node])


def _epmd(root: Path) -> Path:
    programs = sorted(root.glob("usr/lib/erlang/erts-*/bin/epmd"))
    if not programs:
        raise Failed(f"RabbitMQ is installed, but Erlang's epmd is not under {root / 'usr/lib/erlang'}.")
    return programs[-1]


def _rabbitmq_env(folder: Path, root: Path, port: int, mapper_port: int, node_port: int) -> dict[str, str]:
    env = plain_env(
        # Lets the start script become the node, instead of staying in front of it: a kill -9 then hits the node.
        RUNNING_UNDER_SYSTEMD="1",
        HOME=str(folder / "home"),
        RABBITMQ_CONF_ENV_FILE=str(folder / "env.conf"),
        RABBITMQ_CONFIG_FILE=str(folder / "rabbitmq.conf"),
        RABBITMQ_ENABLED_PLUGINS_FILE=str(folder / "plugins"),
        RABBITMQ_MNESIA_BASE=str(folder / "data"),
        RABBITMQ_LOG_BASE=str(folder),
        RABBITMQ_LOG="warning,-color",
        RABBITMQ_PID_FILE=str(folder / "pid"),
        # The data's folder is named after the node, so the name must not change with the port.
        RABBITMQ_NODENAME="mercer@localhost",
        RABBITMQ_NODE_IP_ADDRESS="127.0.0.1",
        RABBITMQ_NODE_PORT=str(port),
        RABBITMQ_DIST_PORT=str(node_port),
        ERL_EPMD_PORT=str(mapper_port),
        ERL_EPMD_ADDRESS="127.0.0.1",
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=(
            "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}"
        ),
    )
    if root != Path("/"):
        env["PATH"] = f"{root / 'usr/lib/erlang/bin'}{os.pathsep}{env['PATH']}"
        env["LD_LIBRARY_PATH"] = fetch.library_path(root)
    return env


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS).close()
    except OSError:
        return False
    return True


def speaks_amqp(host: str, port: int) -> bool:
    """Greet it as a client does; a broker that is up answers with a method frame."""
    try:
        with socket.create_connection((host, port), timeout=ANSWER_SECONDS) as connection:
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            return connection.recv(1) == b"\x01"
    except OSError:
        return False


def reachable(url: str) -> bool:
    """Whether a broker that was given answers; behind TLS, whether anything listens."""
    parts = urlsplit(url)
    host = parts.hostname or "127.0.0.1"
    if parts.scheme == "amqp":
        return speaks_amqp(host, parts.port or 5672)
    try:
        socket.create_connection((host, parts.port or 5671), timeout=ANSWER_SECONDS).close()
    except OSError:
        return False
    return True
