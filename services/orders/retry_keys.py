"""An `Idempotency-Key` for who sent none: it is stored on what the request makes and sent along with the answer.

Whoever repeats the request with that key gets the stored answer (docs/behaviour/requests.md, "Idempotency keys").
"""

from uuid import uuid4

from aiohttp import web

from services.chassis.http import json_bytes
from services.chassis.idempotency import HEADER


def keyed(request: web.Request) -> tuple[web.Request, str]:
    """The request with a key, its own or a new one. Call it before the body is read."""
    if HEADER in request.headers:
        return request, request.headers[HEADER]
    headers = request.headers.copy()
    headers[HEADER] = key = str(uuid4())
    return request.clone(headers=headers), key


def keyed_json(request: web.Request, key: str, text: str) -> web.Response:
    """The answer, sent with the key."""
    answer = json_bytes(request, text)
    answer.headers[HEADER] = key
    return answer
