"""Triage as its clients see it: real HTTP, contract 003's envelope, and the rows behind it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import httpx
import structlog

from models.enums import Reach
from pipeline.commands.mailboxes import ensure_organization
from tests import factories
from tests.conformance.service import LIMITS
from tests.factories import rows
from tests.ops_api import people
from tests.ops_api.serving import Api, Person, serving, settings_for

START = datetime(2026, 2, 20, 20, 0, tzinfo=UTC)
SOURCES = ("charger_api", "311", "ugc")
TEAM = "FieldOps"
_NUMBERS = count(1)


@dataclass
class Cases:
    """A running service with one organization's chargers in it; each test has chargers of its own."""

    api: Api
    org_id: UUID
    by: dict[str, Person]

    def post(self, path: str, body: object, by: str = "dispatcher", **options: Any) -> httpx.Response:
        """Send a change."""
        return self.by[by].post(path, json=body, **options)

    def get(self, path: str, by: str = "dispatcher", **query: Any) -> httpx.Response:
        """Read."""
        return self.by[by].get(path, params=query)

    def triage(self, signals: list[dict[str, Any]], mode: str = "certainty", **options: Any) -> Any:
        """Report, and return what is answered."""
        return data(self.post(f"/api/triage/{mode}", {"signals": signals}, **options))

    def case(self, signals: list[dict[str, Any]], mode: str = "certainty") -> dict[str, Any]:
        """Report about one charger; return its one case."""
        (found,) = self.triage(signals, mode)["cases"]
        assert isinstance(found, dict)
        return found

    def detail(self, case_id: str, **query: Any) -> dict[str, Any]:
        """Return a case with its history."""
        found: dict[str, Any] = data(self.get(f"/api/cases/{case_id}", **query))
        return found

    def verify(self, case_id: str, result: str, **more: Any) -> Any:
        """Say what was found."""
        return data(self.post(f"/api/cases/{case_id}/verify", {"result": result, **more}))

    def dispatch(self, case_id: str, **more: Any) -> dict[str, Any]:
        """Send a team; return the order."""
        body = {"assigned_team": TEAM, **more}
        found: dict[str, Any] = data(self.post(f"/api/cases/{case_id}/dispatch", body))["work_order"]
        return found

    def rows(self, statement: str, **values: Any) -> list[Any]:
        """Return the rows of a statement, as tuples; `:org` is known."""
        known = {"org": self.org_id} if ":org" in statement else {}
        return [tuple(row) for row in rows(self.api.db, statement, **known, **values)]

    def jobs(self, stage: str) -> list[str]:
        """Return the keys of a stage's jobs."""
        return [key for (key,) in self.rows("SELECT key FROM jobs WHERE stage = :stage", stage=stage)]


def charger() -> str:
    """Return the id of a charger that nobody has heard of."""
    return f"AUS_{next(_NUMBERS):05}"


def signals(statuses: str, sources: int = 1, asset: str | None = None, **more: Any) -> list[dict[str, Any]]:
    """Return signals one minute apart about one charger, the first ones from different sources."""
    asset = asset or charger()
    return [
        {
            "id": f"sig_{uuid4().hex[:10]}",
            "source": SOURCES[min(number, sources - 1)],
            "timestamp": (START + timedelta(minutes=number)).isoformat().replace("+00:00", "Z"),
            "charger_id": asset,
            "status": status,
            "text": "",
            **more,
        }
        for number, status in enumerate(statuses.split())
    ]


@contextmanager
def case_service(database_url: str) -> Iterator[Cases]:
    """Serve contract 003 while the block runs; what is logged meanwhile is dropped."""
    before = structlog.get_config()
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    try:
        with serving(settings_for(database_url), limits=LIMITS) as api:
            with api.db.begin() as connection:
                org_id = ensure_organization(connection, "Chargers")
                for name in (TEAM, "Night shift"):
                    factories.team(connection, org_id, name)
                narrowed = people.member(connection, org_id, "dispatcher", "elsewhere@ours.example")
                ticket_id = factories.ticket(connection, org_id)
                people.give(connection, org_id, ticket_id, narrowed, Reach.SITE)
            by = {role: api.person(org_id, role) for role in ("admin", "agent", "dispatcher", "viewer", "technician")}
            yield Cases(api, org_id, by | {"elsewhere": api.signed_in(org_id, narrowed)})
    finally:
        structlog.configure(**before)


def data(answer: httpx.Response) -> Any:
    """Return what an answer holds, in contract 003's envelope: {ok: true, data, error: null}."""
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert set(said) == {"ok", "data", "error"}
    assert (said["ok"], said["error"]) == (True, None)
    return said["data"]


def refused(answer: httpx.Response, status: int) -> str:
    """Return the words of a refusal: {ok: false, data: null, error}."""
    assert answer.status_code == status, answer.text
    said = answer.json()
    assert set(said) == {"ok", "data", "error"}
    assert (said["ok"], said["data"]) == (False, None)
    assert said["error"]
    return str(said["error"])
