"""The published description of the API."""

from __future__ import annotations

from typing import Any

import pytest

from ops_api.access import ROWS
from ops_api.app import make_app
from tests.ops_api.serving import settings_for

#: What is not answered with 200.
_SUCCESS = {"/push/gmail": "204", "/tickets/{ticket_id}/reply": "202", "/ops/jobs/dlq/replay": "202"}


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
        success = _SUCCESS.get(row.path, "200")
        assert ("content" in operation["responses"][success]) is (success != "204"), row.path
        refusals = {status for status in operation["responses"] if status != success}
        expected = {"422", "500", "503"} | (set() if row.is_public else {"401", "403"})
        assert expected <= refusals, row.path
        for status in refusals:
            schema = operation["responses"][status]["content"]["application/json"]["schema"]
            assert schema == {"$ref": "#/components/schemas/ErrorAnswer"}, (row.path, status)


def test_it_tells_who_may_call_what(described: dict[str, Any]) -> None:
    assert described["components"]["securitySchemes"]["session"]["name"] == "oss_session"
    for row in ROWS[1:]:
        operation = described["paths"][row.path][row.method.lower()]
        assert ("security" in operation) is not row.is_public, row.path
        assert operation.get("x-permission") == row.permission, row.path
        names = {parameter["name"] for parameter in operation.get("parameters", ())}
        assert ("x-csrf-token" in names) is row.needs_csrf, row.path
