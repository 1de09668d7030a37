"""One mail about a broken door, from its mailbox to the page of an issued invoice, by public interfaces alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import httpx
import pytest

from models.enums import Provider
from ops_api.limits import Limits
from pipeline.adapters.wiring import CREDENTIALS
from pipeline.commands import mailboxes
from pipeline.runtime.db import Database
from pipeline.runtime.secrets import Secrets
from pipeline.runtime.settings import Settings
from tests.adapters.pictures import photo
from tests.commands import schedules
from tests.commands.field_desk import INCIDENT, FieldDesk
from tests.commands.site_steps import CHECKLIST, DOOR_KEYS, now
from tests.factories import mail
from tests.gmail_server.server import GmailServer
from tests.ops_api.serving import Api, Person, serving
from tests.worker_process import WorkerProcesses, until

_ADDRESS = "support@example.org"
_CUSTOMER = "ann@customer.example"
_LIMITS = Limits(write_per_minute=1_000, read_per_minute=1_000)
#: Nobody needs to look at a case before it is dispatched.
_TRIAGE = {"dispatch": {"least_priority": 0, "least_certainty": 0}}


@dataclass
class Office:
    """An organization whose mailbox is at a Gmail, and its people over HTTP."""

    api: Api
    desk: FieldDesk
    gmail: GmailServer
    mailbox_id: UUID

    def person(self, name: str) -> Person:
        """Sign somebody in."""
        person_id = self.desk.people[name].person_id
        assert person_id is not None
        return self.api.signed_in(self.desk.org_id, person_id)

    def send(self, name: str, path: str, body: object = None, *, method: str = "POST", **more: Any) -> Any:
        """Let somebody send a command with a key of its own; return what it is answered."""
        options = more or {"json": body}
        headers = {"Idempotency-Key": str(uuid4()), **options.pop("headers", {})}
        answer = self.person(name).ask(method, path, headers=headers, **options)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def traces(self, ticket_id: UUID) -> dict[str, set[str | None]]:
        """Return every trace id that stands anywhere about a ticket, by where."""
        named = {
            "work order": "SELECT trace_id FROM work_orders WHERE ticket_id = :id",
            "field work": "SELECT trace_id FROM dispatches WHERE ticket_id = :id",
            "history": "SELECT trace_id FROM events WHERE ticket_id = :id",
            "trail": "SELECT trace_id FROM audit_events WHERE target_id = CAST(:id AS text) AND outcome = 'done'",
            "transitions": "SELECT a.trace_id FROM transitions t JOIN audit_events a"
            " ON a.org_id = t.org_id AND a.number = t.audit_number WHERE t.ticket_id = :id",
        }
        return {name: {row[0] for row in self.desk.rows(query, id=ticket_id)} for name, query in named.items()}

    def is_idle(self) -> bool:
        """Say whether nothing is left to do but what waits for a time."""
        query = "SELECT count(*) FROM jobs WHERE state <> 'dead' AND run_at < now() + interval '1 minute'"
        return bool(self.desk.rows(query) == [(0,)])


@pytest.fixture
def office(db: Database, settings: Settings, tmp_path: Path) -> Iterator[Office]:
    """Connect an empty mailbox; its people's API knows the secrets and blobs of the workers."""
    desk, secrets = FieldDesk.of(db, _TRIAGE), Secrets.of(settings)
    with GmailServer(seed=1) as gmail, serving(settings, limits=_LIMITS) as api:
        gmail.mailbox(_ADDRESS)
        content = gmail.authorized_user_file(tmp_path / "credentials.json", _ADDRESS).read_bytes()
        with db.begin() as connection:
            mailbox_id = mailboxes.add_mailbox(
                connection,
                desk.org_id,
                _ADDRESS,
                Provider.GMAIL,
                source={"endpoint": gmail.url},
                credentials=secrets.seal(CREDENTIALS, _ADDRESS, content),
            )
        yield Office(api, desk, gmail, mailbox_id)


def test_a_mail_about_a_broken_door_becomes_an_issued_invoice_under_one_trace(
    office: Office, workers: WorkerProcesses
) -> None:
    ticket_id, trace_id = _work_order(office, workers)
    path = f"/tickets/{ticket_id}"
    _book_by_the_customer(office, path)
    _work(office, path)
    issued = office.send("finance", f"{path}/billing/generate-invoice", {})
    assert (issued["state"], issued["invoice"]["currency"]) == ("INVOICED", "USD")
    assert [line["kind"] for line in issued["invoice"]["lines"]][-1] == "part"
    assert issued["invoice"]["total_cents"] >= 4_500
    page = office.person("finance").get(f"/invoices/{issued['invoice']['id']}/pdf")
    assert (page.status_code, page.headers["content-type"]) == (200, "application/pdf")
    assert page.content.startswith(b"%PDF-")
    until(office.is_idle, "the end of all jobs")
    assert office.desk.rows("SELECT stage, cause FROM dead_letters") == []
    _is_one_story(office, ticket_id, trace_id)


def _work_order(office: Office, workers: WorkerProcesses) -> tuple[UUID, str]:
    """Let the mail arrive and the chain read it; return the ticket and the trace of its work order."""
    (tag,) = office.desk.rows("SELECT tag FROM assets WHERE org_id = :org")[0]
    raw = mail("The front door", f"Hello, {tag} is broken and out of service. It does not latch.", sender=_CUSTOMER)
    office.gmail.mailbox(_ADDRESS).add(raw)
    office.send("admin", f"/mailboxes/{office.mailbox_id}/sync/backfill", {})
    query = "SELECT ticket_id, trace_id FROM work_orders WHERE org_id = :org"
    workers.keep(1)
    until(lambda: office.desk.rows(query), "the work order")
    ((ticket_id, trace_id),) = office.desk.rows(query)
    assert office.desk.state(ticket_id) == "READY_TO_SCHEDULE"
    assert office.desk.work(ticket_id).asset_id == office.desk.asset_id
    return ticket_id, trace_id


def _book_by_the_customer(office: Office, path: str) -> None:
    """Say where and what it is, offer windows, and let the customer choose one by the link, without a login."""
    office.send("agent", path, {"site_id": str(office.desk.site_id)}, method="PATCH")
    wish = {"priority": "URGENT", "incident_type": INCIDENT, "ready_to_schedule": True}
    assert office.send("agent", f"{path}/triage", wish)["state"] == "READY_TO_SCHEDULE"
    windows = [schedules.ahead(hours) for hours in (48, 72)]
    options = [{"start": one.starts_at.isoformat(), "end": one.ends_at.isoformat()} for one in windows]
    assert office.send("agent", f"{path}/schedule/propose", {"options": options})["state"] == "SCHEDULE_PROPOSED"
    link = urlsplit(office.send("agent", f"{path}/schedule/link")["url"]).path
    customer, program = office.api.client(), {"accept": "application/json"}
    shown = customer.get(link, headers=program).json()
    assert (shown["standing"], shown["options"][1]["start"][:16]) == ("proposed", options[1]["start"][:16])
    chosen = customer.post(f"{link}/confirm", json={"window": shown["options"][1]}, headers=program)
    assert (chosen.status_code, chosen.json()["standing"]) == (200, "booked"), chosen.text
    assert b"BEGIN:VCALENDAR" in customer.get(f"{link}/invitation.ics").content


def _work(office: Office, path: str) -> None:
    """Send the best technician; let them arrive, prove the work and complete it; let another person check it."""
    found = office.send("dispatcher", f"{path}/assignment/recommend", {})
    best = next(one for one in found["recommendations"] if one["is_fit"])
    name = next(name for name, who in office.desk.people.items() if str(who.person_id) == best["tech_id"])
    wish = {"tech_id": best["tech_id"], "recommendation_snapshot_id": found["recommendation_snapshot_id"]}
    sent = office.send("dispatcher", f"{path}/assignment/dispatch", wish)
    assert (sent["state"], sent["assignment"]["place"]) == ("DISPATCHED", 1)
    assert office.send(name, f"{path}/tech/check-in", {"timestamp": now().isoformat()})["state"] == "IN_PROGRESS"
    for key in DOOR_KEYS[:2]:
        jpeg: dict[str, Any] = {"content": photo(), "headers": {"content-type": "image/jpeg"}}
        office.send(name, f"{path}/evidence/uploads?evidence_key={key}", **jpeg)
    note = {"kind": "NOTE", "note": "ten cycles, latched each time", "evidence_key": DOOR_KEYS[2]}
    office.send(name, f"{path}/evidence", note)
    office.send(name, f"{path}/parts", {"name": "Strike plate", "quantity": "1", "unit_price_cents": 4_500})
    report = {"checklist_status": CHECKLIST, "no_signature_reason": "nobody was there"}
    assert office.send(name, f"{path}/tech/complete", report)["state"] == "COMPLETED_PENDING_VERIFICATION"
    check = {"timestamp": now().isoformat(), "result": "PASS"}
    assert office.send("qa", f"{path}/qa/verify", check)["state"] == "VERIFIED"
    office.send("finance", "/billing/rates", {"currency": "USD", "labor_hour_cents": 8_000}, method="PUT")


def _is_one_story(office: Office, ticket_id: UUID, trace_id: str) -> None:
    """Look that one id leads from the mail to the invoice, and that the states connect."""
    assert trace_id
    assert {where: found for where, found in office.traces(ticket_id).items() if found != {trace_id}} == {}
    moves = office.desk.moves(ticket_id)
    # What a mail begins is NEW without a row of its own.
    assert [moves[0][0], *(after for _, after in moves)] == [
        *("NEW", "TRIAGED", "READY_TO_SCHEDULE", "SCHEDULE_PROPOSED", "SCHEDULED", "DISPATCHED", "ON_SITE"),
        *("IN_PROGRESS", "COMPLETED_PENDING_VERIFICATION", "VERIFIED", "INVOICED"),
    ]
    assert all(one[1] == other[0] for one, other in pairwise(moves))
    timeline: httpx.Response = office.person("dispatcher").get(f"/tickets/{ticket_id}/timeline?limit=200")
    tools = [one["tool_name"] for one in timeline.json()["events"]]
    assert tools[-1] == "billing.generate_invoice"
    assert {one["trace_id"] for one in timeline.json()["events"]} == {trace_id}
    ended = office.desk.rows("SELECT state FROM work_orders WHERE ticket_id = :id", id=ticket_id)
    assert ended == [("done",)]
