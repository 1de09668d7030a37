"""Bodies of megabytes: read and checked in threads, before a transaction begins, and refused by their first mistake."""

from __future__ import annotations

import inspect
from threading import get_ident
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from fastapi.exceptions import RequestValidationError

from ops_api import commands, json_bodies
from ops_api.access_rows import ROWS
from ops_api.body_limits import BodyLimits
from ops_api.json_bodies import StrictRequest
from ops_api.large_bodies import checked
from ops_api.limits import Limits
from ops_api.routes import triage
from pipeline.commands.case_arguments import MOST_BYTES, MOST_SIGNALS, Reports


@pytest.mark.parametrize(("size", "is_here"), [(1_000, True), (1_000_000, False)])
def test_what_is_large_is_read_in_a_thread(monkeypatch: pytest.MonkeyPatch, size: int, is_here: bool) -> None:
    readers: list[int] = []
    monkeypatch.setattr(json_bodies, "read", lambda _body, _most: readers.append(get_ident()))
    services = SimpleNamespace(limits=SimpleNamespace(json_depth=64))
    scope: dict[str, Any] = {"type": "http", "app": SimpleNamespace(state=SimpleNamespace(services=services))}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b" " * size, "more_body": False}

    anyio.run(StrictRequest(scope, receive).json)
    assert [reader == get_ident() for reader in readers] == [is_here]


@pytest.mark.parametrize("path", ["/api/triage/baseline", "/api/triage/certainty"])
def test_reports_are_checked_in_a_thread_before_the_transaction_begins(path: str) -> None:
    (route,) = (one for one in triage.router.routes if getattr(one, "path", "") == path)
    calls = [one.call for one in route.dependant.dependencies]  # type: ignore[attr-defined]
    (check,) = (number for number, one in enumerate(calls) if getattr(one, "__module__", "") == triage.__name__)
    assert not inspect.iscoroutinefunction(calls[check])
    assert check < calls.index(commands.caller)


def test_the_first_mistake_alone_is_told() -> None:
    with pytest.raises(RequestValidationError) as refused:
        checked(Reports, {"signals": [{"id": "x"}] * MOST_SIGNALS})
    places = [one["loc"] for one in refused.value.errors()]
    assert {place[:3] for place in places} == {("body", "signals", 0)}
    assert ("body", "signals", 0, "source") in places


def test_too_many_reports_are_refused_with_what_to_do_before_any_is_checked() -> None:
    with pytest.raises(RequestValidationError, match="one call takes 10,000 reports: send the rest in further calls"):
        checked(Reports, {"signals": [{}] * (MOST_SIGNALS + 1)})
    assert Reports.model_json_schema()["properties"]["signals"]["maxItems"] == MOST_SIGNALS


def test_reports_of_too_many_bytes_are_refused_with_what_to_do() -> None:
    limits = BodyLimits(ROWS, Limits())
    assert (
        limits.of("POST", "/api/triage/certainty").said
        == f"the body is larger than {MOST_BYTES} bytes; send it in parts"
    )
    assert limits.of("POST", "/tickets").said == f"the body is larger than {Limits().body_bytes} bytes"


@pytest.mark.parametrize("said", [None, b"no JSON", [], "x", {"signals": None}, {"signals": [None]}, {"more": 1}])
def test_what_is_no_list_of_reports_is_refused(said: object) -> None:
    with pytest.raises(RequestValidationError):
        checked(Reports, said)
