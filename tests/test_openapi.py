"""/openapi.json of the running product: valid, complete beside the contract, and true."""

import copy
import os
from collections.abc import Iterator
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from services.chassis.http import Body
from tests.contract.compare import Comparison
from tests.contract.exceptions import EXCEPTIONS, REASONS
from tests.contract.lines import silent
from tests.contract.table import PAGE, page
from tests.support.answers import Answers, kept_document, unfolded
from tests.support.client import Client
from tests.support.stack import Stack


@pytest.fixture(scope="session")
async def document(stack: Stack) -> Any:
    """As the gateway serves it to anybody."""
    visitor = Client(stack.session, stack.urls["gateway"], dict)
    return await kept_document(lambda: visitor.ok("GET", "/openapi.json"))


def test_the_document_is_valid(document: Any) -> None:
    assert [str(error) for error in OpenAPIV31SpecValidator(document).iter_errors()] == []
    ids = [operation["operationId"] for item in document["paths"].values() for operation in item.values()]
    assert len(ids) == len(set(ids))
    assert "x-missing" not in document["info"]


def test_every_operation_parameter_and_property_of_the_contract_is_there(document: Any) -> None:
    missing = Comparison(document).run()
    excepted = {name for names in EXCEPTIONS.values() for name in names}
    print("\n".join(f"{reason}: {name}" for reason, names in EXCEPTIONS.items() for name in names))
    assert sorted(missing - excepted) == []
    assert sorted(excepted - missing) == [], "these are there by now: take them off the list"
    assert EXCEPTIONS.keys() == REASONS.keys()


def test_the_comparison_finds_what_is_taken_away(document: Any) -> None:
    poorer = copy.deepcopy(document)
    del poorer["paths"]["/admin/regions/{id}"]["delete"]
    products = poorer["paths"]["/admin/products"]["get"]
    products["parameters"] = [p for p in products["parameters"] if p["name"] != "q"]
    for schema in poorer["components"]["schemas"].values():
        schema.get("properties", {}).pop("hs_code", None)
    found = Comparison(poorer).run() - Comparison(document).run()
    assert {"DELETE /admin/regions/{id}", "GET /admin/products ?q", "Product.hs_code"} <= found


def test_bodies_are_as_the_code_declares_them(document: Any) -> None:
    """Also those below others: no row of an answer has taken the name of one."""
    declared: dict[str, list[set[str]]] = {}
    for model in descendants(Body):
        _, service, *_ = model.__module__.split(".")
        fields = {field.alias or name for name, field in model.model_fields.items()}
        declared.setdefault(f"{service}.{model.__name__}", []).append(fields)
    schemas = document["components"]["schemas"]
    known = [name for name, fields in declared.items() if len(fields) == 1 and name in schemas]
    assert [name for name in known if schemas[name]["properties"].keys() != declared[name][0]] == []
    assert len(known) > 100


def descendants(model: type[Body]) -> Iterator[type[Body]]:
    """All models of the services that are made from it."""
    for each in model.__subclasses__():
        if each.__module__.startswith("services."):
            yield each
        yield from descendants(each)


def test_every_operation_says_what_it_answers(document: Any) -> None:
    silent = [
        f"{method.upper()} {path}"
        for path, item in document["paths"].items()
        for method, operation in item.items()
        for status, response in operation["responses"].items()
        if status.startswith("2")
        and any(is_unknown(content["schema"]) for content in response.get("content", {}).values())
    ]
    assert silent == []


def is_unknown(schema: dict[str, Any]) -> bool:
    """Whether anything would do, for the answer or for what it carries."""
    if not schema:
        return True
    shown = [inner for key, inner in schema.get("properties", {}).items() if key not in ("id", "metadata")]
    return schema.get("type") == "object" and bool(shown) and all(inner == {} for inner in shown)


def test_no_schema_of_an_answer_explodes(document: Any) -> None:
    """Pages and generators unfold an answer: with every reference followed, but for those that lead back."""
    schemas = document["components"]["schemas"]
    sizes = {
        f"{method.upper()} {path}": unfolded(content["schema"], schemas)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        for response in operation["responses"].values()
        for content in response.get("content", {}).values()
    }
    assert {name: size for name, size in sizes.items() if size > 7000} == {}


def test_every_parameter_is_there_once_and_says_what_it_is(document: Any) -> None:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            parameters = [p for p in operation.get("parameters", ()) if "$ref" not in p]
            # A list has one way to be sent, and so has a comparison.
            names = [(p["in"], p["name"].removesuffix("[]")) for p in parameters]
            whole = {name for place, name in names if place == "query" and "[" not in name}
            parts = {name.partition("[")[0] for place, name in names if place == "query" and "[" in name}
            assert len(set(names)) == len(names), (method, path)
            assert not whole & parts, (method, path)
            assert [p["name"] for p in parameters if not p.get("description")] == [], (method, path)
            assert [p for p in parameters if p["name"] == "limit" and "default" not in p["schema"]] == [], (
                method,
                path,
            )


def test_every_property_that_is_not_obvious_says_what_it_is(document: Any) -> None:
    """In the glossary of its service, or in the body that has it."""
    assert silent(document) == []


def test_every_tag_is_described(document: Any) -> None:
    described = [tag["name"] for tag in document["tags"] if tag["description"].endswith(".")]
    assert described == sorted({o["tags"][0] for item in document["paths"].values() for o in item.values()})


def test_every_operation_but_signing_in_needs_credentials(document: Any) -> None:
    free = [
        f"{method.upper()} {path}"
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if operation.get("security") == [] and path.startswith("/admin")
    ]
    assert sorted(free) == [
        "POST /admin/auth",
        "POST /admin/auth/token",
        "POST /admin/invites/accept",
        "POST /admin/users/password-token",
        "POST /admin/users/reset-password",
    ]


def test_an_answer_that_is_not_as_declared_is_noticed(document: Any) -> None:
    answers = Answers(document)
    region = {"id": "reg_1", "object": "region", "deleted": True}
    kind = "application/json"
    assert answers.wrong("DELETE", "/admin/regions/reg_1", 200, kind, region) is None
    assert answers.wrong("DELETE", "/admin/regions/reg_1", 200, kind, region | {"more": 1})
    assert answers.wrong("DELETE", "/admin/regions/reg_1", 200, kind, {"id": "reg_1"})
    assert answers.wrong("DELETE", "/admin/regions/reg_1", 200, "text/plain", "OK")
    assert answers.wrong("DELETE", "/admin/regions/reg_1", 404, kind, {"type": "not_found", "message": ""}) is None
    assert answers.wrong("DELETE", "/admin/regions/reg_1", 404, kind, {"message": ""})
    assert answers.wrong("GET", "/admin/products?limit=1", 200, kind, {"products": [{}], "count": 1})
    assert answers.wrong("GET", "/elsewhere", 200, kind, {}) is None


def test_the_table_of_operations_is_true(document: Any) -> None:
    """`MERCER_WRITE_DOCS=1 make test T=tests/test_openapi.py` writes it anew."""
    if os.environ.get("MERCER_WRITE_DOCS"):
        PAGE.write_text(page(document))
    assert PAGE.read_text() == page(document)
