"""Sales channels: their data, their products, and the locations that the inventory tells of."""

import asyncio
from typing import Any

import pytest

from services.catalog.channels import sales_channels
from services.catalog.channels.sales_channels import ChannelBody, ChannelUpdate
from tests.support.client import Client
from tests.support.database import events, reads, rolled_back
from tests.support.factories.regions import make_product
from tests.support.stack import Stack


async def make_channel(catalog: Client, **more: Any) -> dict[str, Any]:
    channel: dict[str, Any] = (await catalog.ok("POST", "/admin/sales-channels", {"name": "App", **more}))[
        "sales_channel"
    ]
    return channel


async def products_of(stack: Stack, channel_id: str) -> list[str]:
    rows = await stack.pool("catalog").fetch(
        "select product_id from product_sales_channels where sales_channel_id = $1", channel_id
    )
    return [row["product_id"] for row in rows]


async def test_a_channel_as_created(stack: Stack, catalog: Client) -> None:
    channel = await make_channel(catalog, description="The app", is_disabled=True)
    assert channel == {
        "id": channel["id"],
        "created_at": channel["created_at"],
        "updated_at": channel["created_at"],
        "deleted_at": None,
        "name": "App",
        "description": "The app",
        "is_disabled": True,
        "metadata": None,
    }
    assert channel["id"].startswith("sc_")
    with stack.statements("catalog") as statements:
        answer = await catalog.get(f"/admin/sales-channels/{channel['id']}", {"fields": "name"})
    assert (answer, len(reads(statements))) == ((200, {"sales_channel": channel}), 1)


async def test_an_update_changes_what_it_names(catalog: Client) -> None:
    channel = await make_channel(catalog, description="The app")
    path = f"/admin/sales-channels/{channel['id']}"
    answer = (await catalog.ok("POST", path, {"is_disabled": True}))["sales_channel"]
    assert answer == channel | {"is_disabled": True, "updated_at": answer["updated_at"]}
    answer = (await catalog.ok("POST", path, {"name": "Mobile", "description": None}))["sales_channel"]
    assert (answer["name"], answer["description"], answer["is_disabled"]) == ("Mobile", None, True)


@pytest.mark.parametrize("body", [{"name": None}, {"is_disabled": "no"}, {"colour": "red"}, {"description": 5}])
async def test_a_refused_update_changes_nothing(catalog: Client, body: dict[str, Any]) -> None:
    channel = await make_channel(catalog)
    path = f"/admin/sales-channels/{channel['id']}"
    status, refusal = await catalog.post(path, {"name": "changed", **body})
    assert (status, refusal["type"]) == (400, "invalid_data")
    assert await catalog.ok("GET", path) == {"sales_channel": channel}


@pytest.mark.parametrize("body", [{}, {"description": "x"}, {"name": 5}, {"name": "x", "metadata": {}}])
async def test_a_wrong_channel_is_refused(catalog: Client, body: dict[str, Any]) -> None:
    status, refusal = await catalog.post("/admin/sales-channels", body)
    assert (status, refusal["type"]) == (400, "invalid_data")


async def test_lists_are_filtered(stack: Stack, catalog: Client, uid: str) -> None:
    zulu = await make_channel(catalog, name=f"Zulu {uid}", description=f"Far {uid}")
    alfa = await make_channel(catalog, name=f"Alfa {uid}", description=f"Near {uid}")
    for query, channels in [
        ({"id": zulu["id"]}, [zulu]),
        ({"name": f"Alfa {uid}"}, [alfa]),
        ({"description": f"Far {uid}"}, [zulu]),
        ({"description": f"Far {uid}", "expand": "locations"}, [zulu | {"locations": []}]),
        ({"q": f"near {uid}"}, [alfa]),
        ({"q": uid, "order": "name"}, [alfa, zulu]),
        ({"q": uid, "fields": "name"}, [zulu, alfa]),
        ({"name": f"Alfa {uid}", "fields": "name"}, [{key: alfa[key] for key in ("id", "created_at", "name")}]),
        ({"name": f"Zulu {uid}", "updated_at[lt]": "2020-01-01"}, []),
        ({"name": f"Zulu {uid}", "deleted_at[gt]": "2020-01-01"}, []),
    ]:
        with stack.statements("catalog") as statements:
            answer = await catalog.ok("GET", "/admin/sales-channels", query=query)
        assert answer == {"sales_channels": channels, "count": len(channels), "offset": 0, "limit": 20}, query
        assert len(reads(statements)) == 1
    await catalog.ok("DELETE", f"/admin/sales-channels/{alfa['id']}")
    assert (await catalog.ok("GET", "/admin/sales-channels", query={"q": uid}))["sales_channels"] == [zulu]
    answer = await catalog.ok("GET", "/admin/sales-channels", query={"q": uid, "deleted_at[gt]": "2020-01-01"})
    assert [(c["id"], c["deleted_at"] is None) for c in answer["sales_channels"]] == [(alfa["id"], False)]


@pytest.mark.parametrize("query", [{"colour": "red"}, {"limit": "x"}, {"expand": "products"}, {"id[]": "a"}])
async def test_a_wrong_query_is_refused(catalog: Client, query: dict[str, str]) -> None:
    status, refusal = await catalog.get("/admin/sales-channels", query)
    assert (status, refusal["type"]) == (400, "invalid_data")


async def test_deleting(catalog: Client) -> None:
    channel = await make_channel(catalog)
    path = f"/admin/sales-channels/{channel['id']}"
    for _ in range(2):
        assert await catalog.delete(path) == (200, {"id": channel["id"], "object": "sales-channel", "deleted": True})
    assert (await catalog.get(path))[0] == (await catalog.post(path, {"name": "x"}))[0] == 404
    assert (await catalog.delete("/admin/sales-channels/sc_missing"))[0] == 200


async def test_the_default_channel_stays(catalog: Client) -> None:
    default = (await catalog.ok("GET", "/admin/store"))["store"]["default_sales_channel_id"]
    status, refusal = await catalog.delete(f"/admin/sales-channels/{default}")
    assert (status, refusal["type"]) == (400, "not_allowed")
    assert (await catalog.get(f"/admin/sales-channels/{default}"))[0] == 200


async def test_products_join_and_leave(stack: Stack, catalog: Client) -> None:
    channel = await make_channel(catalog)
    a, b = [(await make_product(catalog, []))["id"] for _ in range(2)]
    path = f"/admin/sales-channels/{channel['id']}/products/batch"
    for _ in range(2):
        assert await catalog.post(path, {"product_ids": [{"id": a}, {"id": b}, {"id": a}]}) == (
            200,
            {"sales_channel": channel},
        )
    assert sorted(await products_of(stack, channel["id"])) == sorted([a, b])
    body = {"product_ids": [{"id": a}, {"id": "prod_missing"}]}
    assert await catalog.delete(path, body) == (200, {"sales_channel": channel})
    assert await products_of(stack, channel["id"]) == [b]
    assert (await catalog.post(path, body))[0] == 400
    assert await products_of(stack, channel["id"]) == [b]


async def test_wrong_batches_are_refused(catalog: Client) -> None:
    channel = await make_channel(catalog)
    path = f"/admin/sales-channels/{channel['id']}/products/batch"
    wrong: list[Any] = [{}, {"product_ids": ["prod_1"]}, {"product_ids": [{"id": "x", "y": 1}]}, {"product_ids": None}]
    for body in wrong:
        assert (await catalog.post(path, body))[0] == (await catalog.delete(path, body))[0] == 400
    missing = "/admin/sales-channels/sc_missing/products/batch"
    nothing: dict[str, Any] = {"product_ids": []}
    assert (await catalog.post(missing, nothing))[0] == (await catalog.delete(missing, nothing))[0] == 404


async def test_the_same_product_added_at_once(stack: Stack, catalog: Client) -> None:
    channel, product = await make_channel(catalog), await make_product(catalog, [])
    path = f"/admin/sales-channels/{channel['id']}/products/batch"
    answers = await asyncio.gather(*(catalog.post(path, {"product_ids": [{"id": product["id"]}]}) for _ in range(6)))
    assert {status for status, _ in answers} == {200}
    assert await products_of(stack, channel["id"]) == [product["id"]]


async def test_locations_are_what_the_inventory_sends(stack: Stack, catalog: Client) -> None:
    channel = await make_channel(catalog)
    link = {"id": f"scloc_{channel['id']}", "sales_channel_id": channel["id"], "location_id": "sloc_1"}

    async def locations_after(sequence: int, deleted_at: str | None) -> list[dict[str, Any]]:
        doc = {"id": link["id"], "sequence": sequence, "body": link | {"deleted_at": deleted_at}, "related": {}}
        async with stack.pool("catalog").acquire() as db:
            await sales_channels.keep_locations(db, {"copies": {"sales_channel_location": [doc]}})
        query = {"id": channel["id"], "expand": "locations"}
        shown = (await catalog.ok("GET", "/admin/sales-channels", query=query))["sales_channels"][0]
        locations: list[dict[str, Any]] = shown["locations"]
        return locations

    assert await locations_after(1, None) == [link | {"deleted_at": None}]
    assert await locations_after(2, "2026-11-22T00:00:00.000Z") == []
    assert await locations_after(1, None) == []


async def test_changes_are_announced(stack: Stack, catalog: Client) -> None:
    async with rolled_back(stack) as db:
        id_ = await sales_channels.create_channel(db, ChannelBody(name="A"))
        await sales_channels.update_channel(db, id_, ChannelUpdate(name="B"))
        await sales_channels.remove_channel(db, id_)
        await sales_channels.remove_channel(db, id_)
        sent = await events(db)
    names = [f"sales_channel.{what}" for what in ("created", "updated", "deleted")]
    assert [(name, aggregate, data["id"]) for name, aggregate, data in sent] == [(name, id_, id_) for name in names]
    bodies = [data["copies"]["sales_channel"][0]["body"] for _, _, data in sent]
    assert [body["name"] for body in bodies] == ["A", "B", "B"]
    assert [body["deleted_at"] is None for body in bodies] == [True, True, False]
