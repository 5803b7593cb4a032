"""All operations, out of the modules that declare them."""

import importlib
import sys

from services.chassis.operations import Operation
from services.chassis.service import Service
from tests.support.stack import SERVICES


def services() -> dict[str, Service]:
    """The four services and the gateway."""
    modules = {name: f"services.{name}.service" for name in SERVICES} | {"gateway": "gateway.service"}
    return {name: importlib.import_module(module).SERVICE for name, module in modules.items()}


def declared() -> dict[str, tuple[str, Operation]]:
    """(module, operation) by `GET /admin/orders/{id}`. The module is the one whose own list has the operation."""
    held = [operation for service in services().values() for operation in service.operations]
    lists = {
        name: vars(module).get("OPERATIONS", ())
        for name, module in sorted(sys.modules.items())
        if name.startswith(("services.", "gateway.")) and not hasattr(module, "__path__")
    }
    homes = {id(operation): name for name, operations in lists.items() for operation in operations}
    return {f"{o.method} {o.path}": (homes[id(o)], o) for o in held}
