"""The published description of the API."""

from __future__ import annotations

from typing import Any

import pytest

from ops_api.access_rows import ROWS
from ops_api.app import make_app
from ops_api.shapes import shape_of
from tests.ops_api.serving import settings_for


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    return make_app(settings_for("postgresql://nowhere.invalid/none")).openapi()


def test_it_lists_every_route_and_nothing_else(described: dict[str, Any]) -> None:
    found = {(method.upper(), path) for path, methods in described["paths"].items() for method in methods}
    assert found == {(row.method, row.path) for row in ROWS} - {("GET", "/openapi.json")}


def test_every_operation_says_what_it_answers_and_how_it_refuses(described: dict[str, Any]) -> None:
    for row in ROWS[1:]:
        operation = described["paths"][row.path][row.method.lower()]
        assert operation["description"], row.path
        # A download is the bytes, or says where they are; a form of the customer's leads back to its page; an upload
        # may be there already.
        success = min(operation["responses"])
        others = [status for status in operation["responses"] if success < status < "400"]
        assert others in ([], ["201"], ["303"], ["307"]), row.path
        assert ("content" in operation["responses"][success]) is (success not in {"204", "302", "303", "307"}), row.path
        refusals = {status for status in operation["responses"] if status >= "400"}
        invalid = str(shape_of(row.method, row.path).status(422))
        expected = {invalid, "414", "500", "503"} | (set() if row.is_public else {"401", "403"})
        assert expected <= refusals, row.path
        for status in refusals:
            schema = operation["responses"][status]["content"]["application/json"]["schema"]
            model = shape_of(row.method, row.path).model.__name__
            assert schema == {"$ref": f"#/components/schemas/{model}"}, (row.path, status)


def test_it_tells_who_may_call_what(described: dict[str, Any]) -> None:
    assert described["components"]["securitySchemes"]["session"]["name"] == "oss_session"
    for row in ROWS[1:]:
        operation = described["paths"][row.path][row.method.lower()]
        assert ("security" in operation) is not row.is_public, row.path
        assert operation.get("x-permission") == row.permission, row.path
        names = {parameter["name"] for parameter in operation.get("parameters", ())}
        assert ("x-csrf-token" in names) is row.needs_csrf, row.path


def test_every_shape_has_a_name_of_its_own_and_every_operation_a_sentence(described: dict[str, Any]) -> None:
    assert [name for name in described["components"]["schemas"] if "__" in name] == []
    said = [operation["summary"] for methods in described["paths"].values() for operation in methods.values()]
    assert [one for one in said if " " not in one or one.endswith(".")] == []
