"""Options of a product."""

from tests.support.client import Client
from tests.support.factories.products import make, one, shirt, variant


async def test_a_new_option_gives_every_variant_a_value(catalog: Client, uid: str) -> None:
    product = await make(catalog, shirt(uid))
    path = f"/admin/products/{product['id']}/options"
    changed = (await catalog.ok("POST", path, {"title": "Color"}))["product"]
    size, color = changed["options"]
    assert (size["title"], color["title"]) == ("Size", "Color")
    assert [value["value"] for value in color["values"]] == ["Default Value", "Default Value"]
    assert [[o["value"] for o in v["options"]] for v in changed["variants"]] == [
        ["S", "Default Value"],
        ["L", "Default Value"],
    ]


async def test_options_that_are_refused(catalog: Client, uid: str) -> None:
    product = await make(catalog, shirt(uid))
    path = f"/admin/products/{product['id']}/options"
    color = (await catalog.ok("POST", path, {"title": "Color"}))["product"]["options"][1]
    before = await one(catalog, product["id"])
    status, answer = await catalog.post(path, {"title": "Size"})
    assert (status, answer["type"], answer["code"]) == (422, "duplicate_error", "invalid_request_error")
    for where, body, refused in (
        (path, {}, 400),
        (f"{path}/{color['id']}", {"title": "size"}, 404),
        (f"{path}/{color['id']}", {}, 400),
        (f"{path}/opt_missing", {"title": "Cut"}, 404),
        ("/admin/products/prod_missing/options", {"title": "Cut"}, 404),
    ):
        assert (await catalog.post(where, body))[0] == refused, (where, body)
    assert await one(catalog, product["id"]) == before
    renamed = (await catalog.ok("POST", f"{path}/{color['id']}", {"title": "COLOR"}))["product"]
    assert [option["title"] for option in renamed["options"]] == ["Size", "COLOR"]


async def test_two_options_of_one_title_are_refused_at_once(catalog: Client, uid: str) -> None:
    status, answer = await catalog.post("/admin/products", {"title": uid, "options": [{"title": "A"}, {"title": "A"}]})
    assert (status, answer["type"]) == (422, "duplicate_error")


async def test_an_option_goes_when_it_tells_nothing_apart(catalog: Client, uid: str) -> None:
    product = await make(catalog, shirt(uid))
    path = f"/admin/products/{product['id']}"
    (size,) = product["options"]
    status, answer = await catalog.delete(f"{path}/options/{size['id']}")
    assert (status, answer["type"]) == (400, "invalid_data")
    assert (await one(catalog, product["id"]))["options"] == product["options"]
    await catalog.ok("DELETE", f"{path}/variants/{product['variants'][1]['id']}")
    answer = await catalog.ok("DELETE", f"{path}/options/{size['id']}")
    assert (answer["option_id"], answer["object"], answer["deleted"]) == (size["id"], "option", True)
    assert (answer["product"]["options"], answer["product"]["variants"][0]["options"]) == ([], [])
    assert await catalog.ok("DELETE", f"{path}/options/{size['id']}") == answer
    assert (await catalog.delete(f"/admin/products/prod_missing/options/{size['id']}"))[0] == 404


async def test_an_option_of_another_product_is_unknown(catalog: Client, uid: str) -> None:
    mine, other = await make(catalog, shirt(uid)), await make(catalog, {"title": f"Other {uid}", **one_option()})
    path = f"/admin/products/{mine['id']}/options/{other['options'][0]['id']}"
    assert (await catalog.post(path, {"title": "Mine"}))[0] == 404
    await catalog.ok("DELETE", path)
    assert (await one(catalog, other["id"]))["options"] == other["options"]


def one_option() -> dict[str, object]:
    return {"options": [{"title": "Size"}], "variants": [variant("S", "S")]}
