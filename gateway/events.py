"""The events that the gateway emits, each with what has happened; a test holds the list against the code."""

from collections.abc import Mapping

EVENTS: Mapping[str, str] = {
    "user.created": "There is a new user.",
    "user.updated": "A user was changed, or has set a new password.",
    "user.deleted": "A user was deleted.",
    "user.password_reset": "Somebody asked for a new password; the token is in the event where no mail server is set.",
    "invite.created": "Somebody was invited, perhaps once more; the token is in the event where no mail server is set.",
}
