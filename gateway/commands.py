"""What services may ask of the gateway."""

from collections.abc import Mapping

from gateway.documents import KINDS
from services.chassis.commands import CommandHandler
from services.chassis.documents import documents_of

COMMANDS: Mapping[str, CommandHandler] = {"documents": documents_of(KINDS)}
