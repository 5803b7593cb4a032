"""Shoplazza's fulfillments (OpenAPI 2022-01): create, list and get, for programs with an access token.

A thin translation: an order's fulfillment is created and shipped by one dispatch of the orders service, so that it
happens whole or not at all. What this system does not know of a line (vendor, note, compare-at price) is what the
product's or the line's metadata say under that name, else empty.
"""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Annotated, Any

import aiohttp
import orjson
from aiohttp import hdrs, web
from pydantic import ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from gateway.dialects.shoplazza_answers import FULFILLMENT, fulfillment_of
from gateway.identity import Caller, Scoped
from gateway.parts import PARTS, REQUEST_ID
from gateway.proxy import lost
from services.chassis.errors import (
    ApiError,
    Conflict,
    InvalidData,
    NotFound,
    TooLarge,
    Unauthorized,
    Unavailable,
    error_from,
)
from services.chassis.http import ACTOR_HEADER, REQUEST_ID_HEADER, Body
from services.chassis.idempotency import HEADER as KEY_HEADER
from services.chassis.operations import get, post
from services.chassis.schemas import Either, Json

TOKEN_HEADER = "access-token"  # noqa: S105
CREDENTIALS = "access_token"  # the name of that in the documentation
# Ids are plain words: nothing that could mean another path of a service.
PREFIX = "/openapi/2022-01/orders/{order_id:[A-Za-z0-9_-]+}/fulfillments"
TOKEN: web.RequestKey[Scoped] = web.RequestKey("access_token", Scoped)
MAX_LINES = 1000
# What the answers are made of, in one read.
SEEN = {
    "fields": "id,currency_code",
    "expand": "items,items.variant,items.variant.product,items.tax_lines,"
    "fulfillments,fulfillments.items,fulfillments.tracking_links",
}
# The refusals of a dispatch (services/orders/fulfillments/dispatches.py), as the seed words them; all are 422.
REFUSALS = {
    "invalid_line_item_id": "invalid line_item id",
    "invalid_line_item": "invalid line_item id",
    "insufficient_quantity": "fulfillment quantity is insufficient",
    "invalid_order_status": "invalid status of the order",
    "ship_quantity_missing": "ShipQuantity is required",
}


class Refused(ApiError):
    """422: the request is understood, and cannot be done."""

    status, type = 422, "invalid_data"


class OutOfScope(ApiError):
    """403: the token is good for other things."""

    status, type, code = 403, "not_allowed", None


# Bodies

Text = Annotated[str, Field(max_length=2000)]
Quantity = Annotated[int, Field(ge=0, lt=2**31)]


class ShippedLine(Body):
    model_config = ConfigDict(extra="ignore")

    id: str
    """The line's id in the order."""
    ship_quantity: Quantity
    """How many of it; 0 is all that is left."""


class FulfillmentBody(Body):
    """Properties that the dialect does not know are left alone, as Shoplazza does."""

    model_config = ConfigDict(extra="ignore")

    line_item_ids: Annotated[list[str], Field(max_length=MAX_LINES)] | None = None
    """Ids of lines that are sent as far as they are left."""
    line_items: Annotated[list[ShippedLine], Field(max_length=MAX_LINES)] | None = None
    """Lines with quantities; they go before `line_item_ids`."""
    tracking_number: Text | None = None
    tracking_company: Text | None = None
    """The carrier, for people."""
    tracking_company_code: Text | None = None
    """The carrier, for programs."""
    tracking_url: Annotated[str, Field(max_length=2000, pattern=r"^(https?://.*)?$")] | None = None
    """Where the customer sees how far it is."""


async def body_of(request: web.Request) -> FulfillmentBody:
    """Raises InvalidData, and Refused for what the seed lists under 422."""
    try:
        return FulfillmentBody.model_validate_json(orjson.dumps(orjson.loads(await request.read() or b"{}")))
    except orjson.JSONDecodeError:
        raise InvalidData("Bad Request: the body is not JSON") from None
    except web.HTTPRequestEntityTooLarge:
        raise TooLarge("The body is larger than this server accepts.") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise refusal_of(first) from None


def refusal_of(problem: ErrorDetails) -> ApiError:
    """The dialect's answer to the first thing that is wrong with a body."""
    where = ".".join(str(part) for part in problem["loc"]) or "body"
    if problem["type"] == "missing" and where.startswith("line_items."):
        return Refused(where, code="ship_quantity_missing" if where.endswith("quantity") else "invalid_line_item_id")
    return InvalidData(f"Bad Request: {where}: {problem['msg']}")


def dispatch_of(body: FulfillmentBody) -> dict[str, Any]:
    """The dispatch that is asked for: the lines of both lists, those without a quantity whole. Raises Refused."""
    lines = [(line.id, line.ship_quantity) for line in body.line_items or []]
    counted = {line_id for line_id, _ in lines}
    lines += [(line_id, 0) for line_id in body.line_item_ids or [] if line_id not in counted]
    if not lines or any(not line_id for line_id, _ in lines):
        raise Refused("line_items", code="invalid_line_item_id")
    company = {
        name: value
        for name, value in (
            ("tracking_company", body.tracking_company),
            ("tracking_company_code", body.tracking_company_code),
        )
        if value
    }
    tracked = body.tracking_number or body.tracking_url or company
    link = {
        "tracking_number": body.tracking_number or "",
        "url": body.tracking_url or None,
        "metadata": company or None,
    }
    return {
        "items": [{"item_id": line_id, "quantity": quantity or None} for line_id, quantity in lines],
        "tracking_links": [link] if tracked else [],
    }


# The services


async def ask(
    request: web.Request, service: str, method: str, path: str, query: dict[str, Any], body: Any = None
) -> Any:
    """A service's answer. Raises the ApiError it refuses with, or Unavailable."""
    parts = request.app[PARTS]
    headers = {
        ACTOR_HEADER: parts.identity.actor_token(Caller(request[TOKEN].id, "program")),
        REQUEST_ID_HEADER: request[REQUEST_ID],
    }
    if body is not None:
        headers[hdrs.CONTENT_TYPE] = "application/json"
    if method == hdrs.METH_POST and (key := request.headers.get(KEY_HEADER)):
        headers[KEY_HEADER] = key
    try:
        async with parts.upstream.request(
            method, parts.targets[service] + path, params=query, json=body, headers=headers
        ) as answer:
            status, raw = answer.status, await answer.read()
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
        raise Unavailable(f"The {service} service cannot be reached right now; try again later.") from error
    except (aiohttp.ClientError, TimeoutError) as error:
        raise lost(service) from error
    answer = orjson.loads(raw)
    if status >= 400:
        raise error_from(status, answer)
    return answer


async def location_of(request: web.Request, line_ids: list[str]) -> str | None:
    """Where the lines are reserved, which is where they leave from; None when they are not.

    Raises Refused when that is more than one place: a fulfillment leaves from one.
    """
    query = {"line_item_id[]": line_ids, "fields": "location_id", "limit": str(MAX_LINES)}
    reply = await ask(request, "inventory", "GET", "/admin/reservations", query)
    places = {reservation["location_id"] for reservation in reply["reservations"]}
    if len(places) > 1:
        raise Refused("line_items are reserved at several locations; fulfill those of each location by themselves")
    return places.pop() if places else None


async def order_of(request: web.Request, order_id: str) -> Any:
    """Raises NotFound."""
    reply = await ask(request, "orders", "GET", f"/admin/orders/{order_id}", SEEN)
    return reply["order"]


# Handlers

Handler = Callable[..., Awaitable[web.Response]]


def speaking(*scopes: str) -> Callable[[Handler], Handler]:
    """Who may ask, and every refusal as the dialect has it: `errors` for what is wrong with a request, `error` for what
    is wrong with the system or the credentials."""

    def wrapped(handler: Handler) -> Handler:
        @wraps(handler)
        async def answer(request: web.Request, *ids: str) -> web.Response:
            try:
                await check_token(request, scopes)
                return await handler(request, *ids)
            except ApiError as error:
                return refused(error)

        return answer

    return wrapped


def refused(error: ApiError) -> web.Response:
    """The dialect's answer to an error."""
    if error.code in REFUSALS:
        return web.json_response({"errors": [REFUSALS[error.code]]}, status=422)
    if error.status in (401, 403) or error.status >= 500:
        return web.json_response({"error": error.message}, status=error.status)
    status = 422 if error.type == "not_allowed" else error.status
    return web.json_response({"errors": [error.message]}, status=status)


async def check_token(request: web.Request, scopes: tuple[str, ...]) -> None:
    """Raises Unauthorized, or OutOfScope for a token with none of the scopes."""
    token = await request.app[PARTS].identity.scoped(request.headers.get(TOKEN_HEADER, ""))
    if token is None:
        raise Unauthorized("Unauthorized")
    if not token.scopes.intersection(scopes):
        raise OutOfScope(f"The access token needs the scope {scopes[0]}.")
    request[TOKEN] = token


@speaking("write_order")
async def post_fulfillment(request: web.Request, order_id: str) -> web.Response:
    dispatch = dispatch_of(await body_of(request))
    location_id = await location_of(request, [item["item_id"] for item in dispatch["items"]])
    if location_id is not None:
        dispatch["location_id"] = location_id
    reply = await ask(request, "orders", "POST", f"/admin/orders/{order_id}/dispatches", SEEN, dispatch)
    order = reply["order"]
    newest = max(order["fulfillments"], key=lambda fulfillment: (fulfillment["created_at"], fulfillment["id"]))
    return web.json_response({"fulfillment": fulfillment_of(order, newest)})


@speaking("read_order", "write_order")
async def get_fulfillments(request: web.Request, order_id: str) -> web.Response:
    order = await order_of(request, order_id)
    return web.json_response({"fulfillments": [fulfillment_of(order, each) for each in order["fulfillments"]]})


@speaking("read_order", "write_order")
async def get_fulfillment(request: web.Request, order_id: str, fulfillment_id: str) -> web.Response:
    order = await order_of(request, order_id)
    for fulfillment in order["fulfillments"]:
        if fulfillment["id"] == fulfillment_id:
            return web.json_response({"fulfillment": fulfillment_of(order, fulfillment)})
    raise NotFound(f"There is no fulfillment {fulfillment_id}.")


REFUSAL = Either(
    (
        {
            "errors": Json(
                {"type": "array", "items": {"type": "string"}, "description": "What is wrong with a request."}
            )
        },
        {"error": Json({"type": "string", "description": "What is wrong with the system or the credentials."})},
    )
)
READ = (OutOfScope, Unauthorized, NotFound, Unavailable)
EXAMPLE = {
    "line_items": [{"id": "item_01HBZ4R8V3A5", "ship_quantity": 2}],
    "tracking_number": "DHL1231232113",
    "tracking_company": "DHL",
    "tracking_company_code": "dhl",
    "tracking_url": "https://tracking.dhl.com",
}

OPERATIONS = [
    post(
        PREFIX,
        post_fulfillment,
        "Fulfill and ship lines of an order",
        description="Shoplazza's operation of this name, for access tokens with the scope `write_order`. The lines are "
        "fulfilled and sent at once, from where they are reserved: all or, with 422, none.",
        body=FulfillmentBody,
        example=EXAMPLE,
        answer={"fulfillment": FULFILLMENT},
        refusal=REFUSAL,
        errors=(*READ, Refused, Conflict, InvalidData, TooLarge),
        public=True,
        credentials=CREDENTIALS,
        asks_others=True,
        raw=True,
    ),
    get(
        PREFIX,
        get_fulfillments,
        "List the fulfillments of an order",
        description="Shoplazza's operation of this name, for access tokens with the scope `read_order` or "
        "`write_order`.",
        answer={"fulfillments": [FULFILLMENT]},
        refusal=REFUSAL,
        errors=READ,
        public=True,
        credentials=CREDENTIALS,
        asks_others=True,
    ),
    get(
        PREFIX + "/{id}",
        get_fulfillment,
        "Get a fulfillment of an order",
        description="Shoplazza's operation of this name, for access tokens with the scope `read_order` or "
        "`write_order`.",
        answer={"fulfillment": FULFILLMENT},
        refusal=REFUSAL,
        errors=READ,
        public=True,
        credentials=CREDENTIALS,
        asks_others=True,
    ),
]
