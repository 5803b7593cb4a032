"""What a role may. A member does the shop's work; who else may come in is for developers and admins to say."""

from aiohttp import web

from gateway.parts import CALLER
from services.chassis.db import Db
from services.chassis.errors import ApiError, NotAllowed

MANAGERS = ("admin", "developer")
# Locked in one order, so that two managers who demote each other cannot both succeed.
OTHERS = "select id from users where role = any($1) and deleted_at is null order by id for update"


class Forbidden(ApiError):
    """403: the user is known, and may not."""

    status, type, code = 403, "not_allowed", None


def is_manager(request: web.Request) -> bool:
    """Whether the caller may manage users, invites and tokens."""
    return request[CALLER].role in MANAGERS


def check_manager(request: web.Request) -> None:
    """Raises Forbidden."""
    if not is_manager(request):
        raise Forbidden("Only an admin or a developer may manage users, invites and tokens; ask one of them.")


async def check_not_last(db: Db, user_id: str) -> None:
    """Before a user is deleted or made a member: somebody else must be left who may manage. Raises NotAllowed."""
    managers = [row["id"] for row in await db.fetch(OTHERS, list(MANAGERS))]
    if managers == [user_id]:
        raise NotAllowed("This is the only user who may manage users; make somebody else an admin first.")
