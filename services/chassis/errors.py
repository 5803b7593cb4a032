"""Errors that answer a request: `{type, message, code?}` with a status (docs/behaviour/requests.md, "Errors")."""

import socket
from typing import Any

import asyncpg

# Trouble of the database, or of the way to it, at this moment: the same request may succeed a little later.
DATABASE_TROUBLE = (
    ConnectionError,
    TimeoutError,
    socket.gaierror,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
)

# All that a statement can raise: for background work, which logs it and tries again.
DATABASE_ERRORS = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


def database_trouble(error: BaseException) -> bool:
    """Whether an exception is the database's trouble. asyncpg's complaints about arguments are not: they are bugs."""
    return isinstance(error, DATABASE_TROUBLE) and not isinstance(error, ValueError)


class ApiError(Exception):
    """An answer that is not a success. Raised anywhere below a handler, rendered by one middleware."""

    status = 500
    type = "unknown_error"
    code: str | None = "unknown_error"
    plain = False  # whether clients get the message alone, as plain text

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code

    def body(self) -> dict[str, Any]:
        """The JSON object that the client gets."""
        body = {"type": self.type, "message": self.message}
        return body | {"code": self.code} if self.code else body


class InvalidData(ApiError):
    """400: the request itself is wrong."""

    status, type, code = 400, "invalid_data", None


class NotAllowed(ApiError):
    """400: the request is fine, the state of things forbids it."""

    status, type, code = 400, "not_allowed", None


class Unauthorized(ApiError):
    """401: nobody, or nobody we know, is asking."""

    status, type, code = 401, "unauthorized", None


class NotFound(ApiError):
    """404: what the path or the body names does not exist."""

    status, type, code = 404, "not_found", None


class Conflict(ApiError):
    """409: something else is happening to the same thing at this moment."""

    status, type, code = 409, "conflict", "invalid_state_error"


class TooLarge(ApiError):
    """413: the body is over the limit."""

    status, type, code = 413, "invalid_data", None


class Duplicate(ApiError):
    """422: what is to be made exists already."""

    status, type, code = 422, "duplicate_error", "invalid_request_error"


class Unavailable(ApiError):
    """503: a part that this request needs does not answer.

    `outcome_unknown` says to a caller of another service whether the command may have run all the same.
    """

    status, type, code = 503, "unavailable", None

    def __init__(self, message: str, *, outcome_unknown: bool = False) -> None:
        super().__init__(message)
        self.outcome_unknown = outcome_unknown


def error_from(status: int, body: dict[str, Any]) -> ApiError:
    """The error that another service answered with, as it was raised there."""
    error = ApiError(str(body.get("message", "")))
    error.status, error.type, error.code = status, str(body.get("type", "unknown_error")), body.get("code")
    return error
