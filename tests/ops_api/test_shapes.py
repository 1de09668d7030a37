"""Every contract's refusals in its own shape, whoever refuses: the edge, the framework, the guard, a handler, a bug."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest
from fastapi import Body
from fastapi.routing import APIRoute
from httpx import Client, Response
from sqlalchemy.exc import OperationalError

from ops_api.answers import CODES, Refusal
from ops_api.limits import Limits
from ops_api.shapes import CASE, COMMAND, MAIL, SHARED, TECHNICIAN, WORKSHOP, Problem, Shape, shape_of
from pipeline.runtime.errors import UserError
from tests.ops_api.serving import serving, settings_for

_NO_DATABASE = "postgresql://nowhere.invalid/none"
_ID = "0190b7c4-0000-7000-8000-000000000001"
_ADDRESSES: list[tuple[str, str, Shape]] = [
    ("GET", "/mailboxes", MAIL),
    ("GET", "/nowhere", MAIL),
    ("GET", "/", MAIL),
    ("GET", "/tickets", MAIL),
    ("DELETE", "/tickets", MAIL),
    ("GET", "/tickets/routing/rules", MAIL),
    ("GET", "/tickets/send-identities", MAIL),
    ("POST", "/tickets/{ticket_id}/reply", MAIL),
    ("PATCH", f"/tickets/{_ID}", MAIL),
    ("GET", f"/tickets/{_ID}/attachments/{_ID}/download", MAIL),
    ("GET", "/apis", MAIL),
    ("GET", f"/tickets/{_ID}", SHARED),
    ("GET", "/tickets/{ticket_id}", SHARED),
    ("POST", "/tickets", COMMAND),
    *(
        ("POST", f"/tickets/{_ID}/{command}", COMMAND)
        for command in (
            *("triage", "schedule/propose", "schedule/confirm", "assignment/dispatch", "tech/check-in"),
            *("tech/request-change", "approval/decide", "evidence", "tech/complete", "qa/verify"),
            "billing/generate-invoice",
        )
    ),
    ("GET", f"/tickets/{_ID}/timeline", COMMAND),
    ("GET", "/tickets/{ticket_id}/evidence", COMMAND),
    ("DELETE", f"/tickets/{_ID}/triage", COMMAND),
    ("POST", f"/tickets/{_ID}/schedule/nothing", COMMAND),
    ("GET", "/api/v1/tickets", WORKSHOP),
    ("POST", "/api/v1/tickets/create/", WORKSHOP),
    ("POST", f"/api/v1/tickets/{_ID}/work-session/pause/", WORKSHOP),
    *(
        ("GET", f"/api/v1/{area}/nothing/", WORKSHOP)
        for area in ("inventory", "xp", "rules", "attendance", "levels", "leaderboard")
    ),
    ("GET", "/api/v1/levelsx", TECHNICIAN),
    ("GET", "/api/v1/ticketsx", TECHNICIAN),
    ("POST", "/api/v1/auth/login", TECHNICIAN),
    ("GET", "/api/v1/me/work-orders", TECHNICIAN),
    ("PATCH", f"/api/v1/work-orders/{_ID}/done", TECHNICIAN),
    ("GET", "/api/cases", CASE),
    ("GET", "/api/v10/me", CASE),
    ("POST", "/api", CASE),
]
#: One address of each contract, where the test's own routes stand.
_BASES = {
    "/mail": MAIL,
    f"/tickets/{_ID}/qa": COMMAND,
    "/api/v1/tickets": WORKSHOP,
    "/api/v1/nowhere": TECHNICIAN,
    "/api/nowhere": CASE,
}


@pytest.mark.parametrize(("method", "address", "shape"), _ADDRESSES)
def test_every_address_belongs_to_one_contract(method: str, address: str, shape: Shape) -> None:
    assert shape_of(method, address) is shape


@pytest.mark.parametrize("shape", [MAIL, COMMAND, SHARED, TECHNICIAN, CASE, WORKSHOP], ids=lambda shape: shape.contract)
@pytest.mark.parametrize("status", sorted(CODES))
def test_what_a_contract_says_is_what_its_schema_says(shape: Shape, status: int) -> None:
    problem = Problem(status, "words", CODES[status], "r-1", {"body.reason": "is missing"})
    said = shape.body(problem)
    assert shape.model.model_validate(said).model_dump(exclude_none=True) == {
        name: value for name, value in said.items() if value is not None
    }


def _boom() -> None:
    raise RuntimeError("canary-bug")


def _away() -> None:
    raise OperationalError("SELECT canary-statement", {}, psycopg.OperationalError("canary-host"))


def _conflict() -> None:
    details = {"from_state": "NEW", "to_state": "CLOSED"}
    raise Refusal(409, "not from here", code="INVALID_STATE_TRANSITION", details=details)


def _weak() -> None:
    raise Refusal(422, "too weak", code="weak_password", fields={"newPassword": "guessed at once"})


def _words() -> None:
    raise UserError("say which one")


def _take(reason: str = Body(embed=True)) -> None:
    del reason


def _by_id(ticket_id: UUID) -> None:
    del ticket_id


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    endpoints: dict[str, Callable[..., None]] = {
        "boom": _boom,
        "away": _away,
        "conflict": _conflict,
        "weak": _weak,
        "words": _words,
        "take": _take,
    }
    with serving(settings_for(_NO_DATABASE), limits=Limits(stray_per_minute=100)) as api:
        routes = api.app.router.routes
        for base in _BASES:
            routes.extend(
                APIRoute(f"{base}/{name}", endpoint, methods=["POST"]) for name, endpoint in endpoints.items()
            )
        routes.append(APIRoute("/tickets/{ticket_id}/qa/elsewhere", _by_id, methods=["POST"]))
        routes.append(APIRoute("/tickets/{ticket_id}/schedule/elsewhere", _by_id, methods=["GET"]))
        yield api.client()


_REFUSALS: dict[str, tuple[int, str, Callable[[Client, str], Response]]] = {
    "nothing there": (404, "not_found", lambda client, base: client.get(f"{base}/nothing")),
    "another method": (405, "method_not_allowed", lambda client, base: client.get(f"{base}/take")),
    "too large": (413, "too_large", lambda client, base: client.post(f"{base}/take", content=b" " * 1_048_577)),
    "packed": (
        415,
        "unsupported_media_type",
        lambda client, base: client.post(f"{base}/take", content=b"x", headers={"content-encoding": "gzip"}),
    ),
    "invalid": (422, "invalid", lambda client, base: client.post(f"{base}/take", json={"reason": 7})),
    "no JSON": (
        422,
        "invalid_json",
        lambda client, base: client.post(f"{base}/take", content=b"{", headers={"content-type": "application/json"}),
    ),
    "conflict": (409, "INVALID_STATE_TRANSITION", lambda client, base: client.post(f"{base}/conflict")),
    "weak": (422, "weak_password", lambda client, base: client.post(f"{base}/weak")),
    "in words": (400, "bad_request", lambda client, base: client.post(f"{base}/words")),
    "bug": (500, "internal", lambda client, base: client.post(f"{base}/boom")),
    "database": (503, "unavailable", lambda client, base: client.post(f"{base}/away")),
}


@pytest.mark.parametrize("base", _BASES)
@pytest.mark.parametrize("name", _REFUSALS)
def test_whoever_refuses_the_contract_shapes_it(client: Client, base: str, name: str) -> None:
    status, code, ask = _REFUSALS[name]
    shape, answer = _BASES[base], ask(client, base)
    said = answer.json()
    assert answer.status_code == shape.status(status)
    assert answer.headers["content-type"] == "application/json"
    assert set(said) == set(shape.model.model_validate(said).model_dump(exclude_unset=True))
    assert "canary" not in answer.text
    assert _code(shape, said) in {code, None} | {_as_command(code), "validation_error"}
    assert answer.headers["x-request-id"] in answer.text or shape in (CASE, WORKSHOP)


def _code(shape: Shape, said: dict[str, Any]) -> str | None:
    """Return the code as each contract names it; contract 003 has none."""
    if shape is MAIL:
        return str(said["code"])
    if shape is WORKSHOP:
        return str(said["error"])
    return None if shape is CASE else str(said["error"]["code"])


def _as_command(code: str) -> str:
    fixed = {"invalid": "INVALID_REQUEST", "bad_request": "INVALID_REQUEST", "internal": "INTERNAL_ERROR"}
    more = {"unavailable": "SERVICE_UNAVAILABLE", "too_large": "PAYLOAD_TOO_LARGE"}
    return (fixed | more).get(code, code.upper())


def test_contract_000_shows_details_and_a_reference(client: Client) -> None:
    base = f"/tickets/{_ID}/qa"
    conflict = client.post(f"{base}/conflict").json()["error"]
    assert (conflict["from_state"], conflict["to_state"]) == ("NEW", "CLOSED")
    bug = client.post(f"{base}/boom")
    assert bug.json()["error"]["reference"] == bug.headers["x-request-id"]
    invalid = client.post(f"{base}/take", json={}).json()["error"]
    assert (invalid["code"], invalid["fields"]) == ("INVALID_REQUEST", {"reason": "Field required"})


def test_contract_000_says_of_an_id_that_is_none_what_it_always_said(client: Client) -> None:
    command, reading = client.post("/tickets/7/qa/elsewhere"), client.get("/tickets/7/schedule/elsewhere")
    assert (command.status_code, command.json()["error"]["code"]) == (404, "NOT_FOUND")
    assert (reading.status_code, reading.json()["error"]["code"]) == (400, "INVALID_TICKET_ID")


def test_contract_004_names_fields_as_an_object(client: Client) -> None:
    said = client.post("/api/v1/nowhere/weak").json()["error"]
    assert set(said) == {"code", "message", "fields", "request_id"}
    assert said["fields"] == {"newPassword": "guessed at once"}


def test_contracts_002_and_003_say_nothing_but_their_envelope(client: Client) -> None:
    workshop, case = client.post("/api/v1/tickets/conflict"), client.post("/api/nowhere/conflict")
    assert (workshop.status_code, case.status_code) == (400, 409)
    assert workshop.json() == {"success": False, "message": "not from here", "error": "INVALID_STATE_TRANSITION"}
    assert case.json() == {"ok": False, "data": None, "error": "not from here"}


def test_words_of_contract_000_are_put_plainly_elsewhere(client: Client) -> None:
    assert MAIL.body(Problem(401, "sign in", "AUTH_REQUIRED", "r"))["code"] == "unauthenticated"
    assert COMMAND.body(Problem(401, "sign in", "unauthenticated", "r"))["error"]["code"] == "AUTH_REQUIRED"


def test_who_looks_for_what_is_not_there_is_told_to_wait_in_the_shape_of_the_place() -> None:
    with serving(settings_for(_NO_DATABASE), limits=Limits(stray_per_minute=1)) as api:
        client = api.client()
        answers = [client.get("/api/nothing") for _ in range(11)]
    assert [answer.status_code for answer in answers] == [404] * 10 + [429]
    assert answers[-1].json()["ok"] is False
    assert 0 < int(answers[-1].headers["retry-after"]) <= 60
