"""The development fallback of contract 000: who one is, by headers; and that production does not believe them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from deploy.local.lock import Endpoints
from tests.commands.field_desk import INCIDENT
from tests.conformance.service import Service, dispatch_service, error
from tests.conftest import fresh_database

_WISH = {"priority": "URGENT", "incident_type": INCIDENT}


def actor(service: Service, role: str = "dispatcher", **more: str) -> dict[str, str]:
    """Return the headers of somebody whom nobody knows."""
    said = {"X-Actor-Id": "ann", "X-Actor-Role": role, "X-Organization-Id": str(service.desk.org_id)}
    return {name: value for name, value in (said | more).items() if value}


def triage(service: Service, ticket_id: UUID, headers: dict[str, str]) -> httpx.Response:
    keyed = headers | {"Idempotency-Key": str(uuid4())}
    return service.http.post(f"/tickets/{ticket_id}/triage", json=_WISH, headers=keyed)


def test_headers_say_who_acts_and_the_trail_has_it(service: Service) -> None:
    ticket_id = service.desk.make()
    more = {"X-Tool-Name": "ticket.triage", "X-Trace-Id": "trace-12345", "X-Actor-Type": "SERVICE"}
    assert triage(service, ticket_id, actor(service, **more)).json()["state"] == "TRIAGED"
    audit = service.done(ticket_id)[-1]
    assert (audit.actor_id, audit.actor_role, audit.actor_kind) == ("ann", "dispatcher", "SERVICE")
    assert audit.trace_id == "trace-12345"


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"X-Actor-Id": ""}, 400, "MISSING_ACTOR_CONTEXT"),
        ({"X-Actor-Role": ""}, 400, "MISSING_ACTOR_CONTEXT"),
        ({"X-Actor-Role": "nobody"}, 403, "FORBIDDEN"),
        ({"X-Actor-Role": "customer"}, 403, "FORBIDDEN"),
        ({"X-Tool-Name": "tech.complete"}, 403, "TOOL_NOT_ALLOWED"),
        ({"X-Actor-Type": "ROBOT"}, 401, "INVALID_AUTH_CLAIMS"),
        ({"X-Account-Scope": "x"}, 401, "INVALID_AUTH_CLAIMS"),
        ({"X-Site-Scope": str(UUID(int=9))}, 404, "TICKET_NOT_FOUND"),
        ({"X-Account-Scope": str(UUID(int=9))}, 404, "TICKET_NOT_FOUND"),
    ],
    ids=str,
)
def test_headers_that_do_not_fit_are_refused(service: Service, changes: dict[str, Any], status: int, code: str) -> None:
    ticket_id = service.standing("NEW")
    before = service.seen(ticket_id)
    error(triage(service, ticket_id, actor(service, **changes)), status, code)
    assert service.seen(ticket_id) == before


def test_a_tech_is_a_technician_and_scopes_are_lists(service: Service) -> None:
    ticket_id = service.standing("DISPATCHED")
    path = f"/tickets/{ticket_id}"
    scopes = {"X-Account-Scope": f"{uuid4()}, {service.desk.account_id}", "X-Site-Scope": str(service.desk.site_id)}
    assert service.http.get(path, headers=actor(service, "tech", **scopes)).status_code == 200
    headers = actor(service, "tech") | {"Idempotency-Key": str(uuid4())}
    body = {"timestamp": "2026-01-01T00:00:00Z"}
    refused = service.http.post(f"{path}/tech/check-in", json=body, headers=headers)
    error(refused, 403, "NOT_ASSIGNED")


@pytest.fixture(scope="module")
def production(servers: Endpoints) -> Iterator[Service]:
    with fresh_database(servers) as url, dispatch_service(url, allow_dev_login=False) as running:
        yield running


def test_production_believes_no_headers(production: Service) -> None:
    ticket_id = production.desk.make()
    for headers in ({}, actor(production)):
        error(triage(production, ticket_id, headers), 401, "AUTH_REQUIRED")
        error(production.http.get(f"/tickets/{ticket_id}/evidence", headers=headers), 401, "AUTH_REQUIRED")
    assert production.post(f"/tickets/{ticket_id}/triage", _WISH).json()["state"] == "TRIAGED"
