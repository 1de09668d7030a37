"""Billing: what an invoice asks for, why it is refused, and numbers without gaps whatever happens."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import IntegrityError

from models.queries import invoices as queries
from models.queries.scoping import EVERYTHING
from pipeline.adapters.clock import SystemClock
from pipeline.command import Refused
from pipeline.commands.approvals import DECIDE, Decision
from pipeline.commands.billing import GENERATE_INVOICE, REQUEST_INCREASE
from pipeline.commands.billing_arguments import IncreaseWish, InvoiceWish
from pipeline.commands.endings import CANCEL, Ending
from pipeline.runtime.db import Database
from tests.commands.billed import invoiced, set_rate, worked
from tests.commands.field_desk import FieldDesk

_NUMBERS = "SELECT number FROM invoices WHERE org_id = :org ORDER BY number"


@pytest.fixture
def desk(db: Database) -> FieldDesk:
    return FieldDesk.of(db)


def numbers(desk: FieldDesk) -> list[int]:
    return [number for (number,) in desk.rows(_NUMBERS)]


def refused(desk: FieldDesk, ticket_id: UUID, **wish: Any) -> Any:
    found = desk.refused(GENERATE_INVOICE, InvoiceWish(**wish), ticket_id, by="finance")
    assert desk.state(ticket_id) == "VERIFIED"
    return found


def test_an_invoice_has_lines_sums_parties_and_the_next_number(desk: FieldDesk) -> None:
    desk.change("UPDATE sites SET address1 = 'Long road 1', city = 'Austin', region = 'TX', postal_code = '73301'")
    set_rate(desk, 8_000, callout_cents=4_500, tax_percent="8.25")
    ticket_id = worked(desk, labor=timedelta(minutes=61), limit=50_000)
    answer = invoiced(desk, ticket_id)
    invoice = answer.body["invoice"]
    assert (answer.status, answer.body["state"], answer.body["id"]) == (200, "INVOICED", str(ticket_id))
    assert (invoice["number"], invoice["code"], invoice["nte_cents"]) == (1, "INV-000001", 50_000)
    assert [(line["kind"], line["quantity"], line["amount_cents"]) for line in invoice["lines"]] == [
        ("labor", "75.000", 10_000),
        ("callout", "1.000", 4_500),
    ]
    sums = (invoice["subtotal_cents"], invoice["tax_percent"], invoice["tax_cents"], invoice["total_cents"])
    assert sums == (14_500, "8.250", 1_196, 15_696)
    assert invoice["customer_name"] == "Acme"
    assert invoice["customer_place"] == ["North", "Long road 1", "73301 Austin TX", "US"]
    assert desk.moves(ticket_id)[-1] == ("VERIFIED", "INVOICED")
    assert desk.trail(ticket_id)[-1] == ("billing.generate_invoice", "done", None)
    kind, told = desk.events(ticket_id)[-1]
    assert (kind, told["number"], told["total_cents"]) == ("billing.generate_invoice", 1, 15_696)


def test_a_ticket_has_one_invoice(desk: FieldDesk) -> None:
    set_rate(desk)
    ticket_id = worked(desk)
    invoiced(desk, ticket_id)
    again = desk.refused(GENERATE_INVOICE, InvoiceWish(), ticket_id, by="finance")
    assert (again.code, again.details["from_state"]) == ("INVALID_STATE_TRANSITION", "INVOICED")
    # Whatever led it back: the database holds to it, and no number is lost.
    desk.change("UPDATE tickets SET dispatch_state = 'VERIFIED' WHERE id = :id", id=ticket_id)
    with pytest.raises(IntegrityError):
        invoiced(desk, ticket_id)
    assert invoiced(desk, worked(desk)).body["invoice"]["number"] == 2


def test_without_a_rate_in_its_currency_it_is_said_what_to_do(desk: FieldDesk) -> None:
    ticket_id = worked(desk)
    set_rate(desk, currency="EUR")
    set_rate(desk, incident_type="OTHER")
    found = refused(desk, ticket_id)
    assert found.code == "INVOICE_RATE_MISSING"
    assert (found.details["currency"], found.details["currencies"]) == ("USD", ["EUR"])
    assert "PUT /billing/rates" in found.said


def test_the_most_particular_rate_holds_and_a_later_one_changes_no_invoice(desk: FieldDesk) -> None:
    set_rate(desk, 1_000)
    set_rate(desk, 2_000, incident_type="door_wont_latch")
    set_rate(desk, 3_000, account_id=desk.account_id)
    assert invoiced(desk, worked(desk)).body["invoice"]["total_cents"] == 3_000
    set_rate(desk, 4_000, account_id=desk.account_id, incident_type="DOOR_WONT_LATCH")
    assert invoiced(desk, worked(desk)).body["invoice"]["total_cents"] == 4_000
    assert desk.rows("SELECT total_cents FROM invoices ORDER BY number") == [(3_000,), (4_000,)]


def test_above_the_limit_it_is_refused_or_written_off(desk: FieldDesk) -> None:
    set_rate(desk, 8_000, tax_percent=10)
    ticket_id = worked(desk, limit=8_000)
    found = refused(desk, ticket_id)
    assert found.code == "INVOICE_EXCEEDS_LIMIT"
    assert dict(found.details) == {"limit_cents": 8_000, "total_cents": 8_800, "over_cents": 800, "currency": "USD"}
    invoice = invoiced(desk, ticket_id, write_off=True, reason="our mistake").body["invoice"]
    assert invoice["total_cents"] == 8_000
    assert [line["amount_cents"] for line in invoice["lines"]] == [8_000, -727]
    assert "our mistake" in invoice["lines"][1]["text"]


def test_nothing_is_billed_only_with_a_reason(desk: FieldDesk) -> None:
    set_rate(desk)
    ticket_id = worked(desk, labor=timedelta(0))
    assert refused(desk, ticket_id).code == "INVOICE_EMPTY"
    assert refused(desk, ticket_id, write_off=True).code == "INVOICE_EMPTY"
    assert refused(desk, ticket_id, reason="warranty").code == "INVOICE_EMPTY"
    invoice = invoiced(desk, ticket_id, write_off=True, reason="warranty").body["invoice"]
    assert [(line["kind"], line["text"], line["amount_cents"]) for line in invoice["lines"]] == [
        ("write_off", "warranty", 0)
    ]


def test_proof_is_looked_at_again(desk: FieldDesk) -> None:
    set_rate(desk)
    ticket_id = worked(desk)
    desk.change(
        "INSERT INTO expected_evidence (ticket_id, sha256, org_id, evidence_key) "
        "VALUES (:ticket, decode(repeat('ab', 32), 'hex'), :org, 'photo_after_latched_alignment')",
        ticket=ticket_id,
    )
    assert refused(desk, ticket_id).code == "EVIDENCE_OUTSTANDING"
    desk.change("UPDATE expected_evidence SET waived_because = 'lost', waived_by = 'tests'")
    desk.change(
        "UPDATE evidence_items SET withdrawn_at = now(), withdrawn_by = 'tests', withdrawn_because = 'wrong' "
        "WHERE evidence_key LIKE 'note%'"
    )
    found = refused(desk, ticket_id)
    assert (found.code, found.details["requirement_code"]) == ("CLOSEOUT_REQUIREMENTS_INCOMPLETE", "MISSING_EVIDENCE")
    desk.change("DELETE FROM completions")
    assert refused(desk, ticket_id).details["requirement_code"] == "MISSING_COMPLETION_CONTEXT"


def test_time_that_goes_on_is_not_left_out(desk: FieldDesk) -> None:
    set_rate(desk)
    ticket_id = worked(desk)
    desk.change("UPDATE time_entries SET ended_at = NULL")
    assert refused(desk, ticket_id).code == "TIME_GOES_ON"


def test_an_invoice_is_issued_on_a_day_of_the_last_year(desk: FieldDesk) -> None:
    set_rate(desk)
    ticket_id = worked(desk)
    today = SystemClock().now().date()
    for days in (2, -400):
        assert refused(desk, ticket_id, issued_on=today + timedelta(days=days)).code == "INVALID_REQUEST"
    day = today - timedelta(days=30)
    assert invoiced(desk, ticket_id, issued_on=day).body["invoice"]["issued_on"] == day.isoformat()


def test_finance_alone_issues_invoices(desk: FieldDesk) -> None:
    ticket_id = worked(desk)
    for by in ("dispatcher", "tech", "qa", "approver", "customer"):
        assert desk.refused(GENERATE_INVOICE, InvoiceWish(), ticket_id, by=by).code == "FORBIDDEN"
        assert desk.refused(REQUEST_INCREASE, IncreaseWish(), ticket_id, by=by).code == "FORBIDDEN"


# A higher limit


def test_a_limit_is_raised_by_somebody_else_and_then_it_is_billed(desk: FieldDesk) -> None:
    set_rate(desk)
    ticket_id = worked(desk, limit=5_000)
    answer = desk.run(REQUEST_INCREASE, IncreaseWish(reason="a second hinge"), ticket_id, by="finance")
    approval = answer.body["approval"]
    assert (answer.body["ticket"]["state"], approval["amount_delta_cents"]) == ("APPROVAL_REQUIRED", 3_000)
    assert (approval["approval_type"], approval["return_state"]) == ("NTE_INCREASE", "VERIFIED")
    desk.run(DECIDE, Decision(approval_id=approval["id"], decision="APPROVED"), ticket_id, by="approver")
    assert (desk.state(ticket_id), desk.work(ticket_id).nte_cents) == ("VERIFIED", 8_000)
    assert invoiced(desk, ticket_id).body["invoice"]["total_cents"] == 8_000


def test_what_is_denied_is_written_off(desk: FieldDesk) -> None:
    set_rate(desk)
    ticket_id = worked(desk, limit=5_000)
    approval = desk.run(REQUEST_INCREASE, IncreaseWish(), ticket_id, by="finance").body["approval"]
    desk.run(DECIDE, Decision(approval_id=approval["id"], decision="DENIED"), ticket_id, by="approver")
    assert refused(desk, ticket_id).code == "INVOICE_EXCEEDS_LIMIT"
    assert invoiced(desk, ticket_id, write_off=True).body["invoice"]["total_cents"] == 5_000


def test_verified_work_that_waits_for_a_higher_limit_is_not_cancelled(desk: FieldDesk) -> None:
    set_rate(desk, 8_000, tax_percent=10)
    ticket_id = worked(desk, limit=8_000)
    desk.run(REQUEST_INCREASE, IncreaseWish(reason="a second hinge"), ticket_id, by="finance")
    found = desk.refused(CANCEL, Ending(reason="never mind"), ticket_id)
    assert (found.code, found.details["from_state"]) == ("INVALID_STATE_TRANSITION", "APPROVAL_REQUIRED")


def test_no_more_is_asked_for_than_is_needed(desk: FieldDesk) -> None:
    set_rate(desk)
    found = desk.refused(REQUEST_INCREASE, IncreaseWish(), worked(desk, limit=8_000), by="finance")
    assert (found.code, found.details["over_cents"]) == ("INVOICE_WITHIN_LIMIT", 0)


# Numbers without gaps


@pytest.mark.parametrize("many", [30, pytest.param(100, marks=pytest.mark.soak)])
def test_invoices_at_once_have_numbers_in_a_row(desk: FieldDesk, many: int) -> None:
    set_rate(desk)
    tickets = _many(desk, many)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda ticket_id: invoiced(desk, ticket_id).body["invoice"]["number"], tickets))
    assert sorted(found) == numbers(desk) == list(range(1, many + 1))


def test_of_invoices_of_one_ticket_at_once_one_is_issued(desk: FieldDesk) -> None:
    set_rate(desk)
    ticket_id = worked(desk)

    def ask(_: int) -> str:
        try:
            return str(invoiced(desk, ticket_id).body["invoice"]["number"])
        except Refused as refusal:
            return refusal.refusal.code

    with ThreadPoolExecutor(8) as pool:
        found = sorted(pool.map(ask, range(8)))
    assert found == ["1", *["INVALID_STATE_TRANSITION"] * 7]


def test_a_failure_at_any_statement_leaves_nothing_and_loses_no_number(desk: FieldDesk) -> None:
    set_rate(desk)
    invoiced(desk, worked(desk))
    ticket_id = worked(desk)
    for place in range(1, 100):
        try:
            with _failing(desk.db, place):
                invoiced(desk, ticket_id)
        except _Failed:
            assert (numbers(desk), desk.state(ticket_id)) == ([1], "VERIFIED")
            assert desk.rows("SELECT next_number FROM invoice_series") == [(2,)]
        else:
            break
    assert place > 15
    assert numbers(desk) == [1, 2]


def test_a_process_killed_after_it_took_a_number_loses_none(desk: FieldDesk, database_url: str) -> None:
    set_rate(desk)
    ticket_id, other = worked(desk), worked(desk)
    desk.db.close()
    child = os.fork()
    if child == 0:
        with suppress(BaseException), closing(Database(database_url, "killed")) as db:
            event.listen(db.engine, "commit", lambda _: os.kill(os.getpid(), signal.SIGKILL))
            desk.db = db
            invoiced(desk, ticket_id)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert (numbers(desk), desk.state(ticket_id)) == ([], "VERIFIED")
    assert [invoiced(desk, one).body["invoice"]["number"] for one in (other, ticket_id)] == [1, 2]


def test_organizations_count_apart_and_a_prefix_is_theirs(desk: FieldDesk, db: Database) -> None:
    other = FieldDesk.of(db)
    other.change("INSERT INTO invoice_series (org_id, next_number, prefix) VALUES (:org, 500, 'R-')")
    for one in (desk, other):
        set_rate(one)
    found = [invoiced(one, worked(one)).body["invoice"]["code"] for one in (desk, other, desk, other)]
    assert found == ["INV-000001", "R-000500", "INV-000002", "R-000501"]


def test_an_invoice_is_read_as_it_was_answered(desk: FieldDesk) -> None:
    set_rate(desk)
    invoice = invoiced(desk, worked(desk)).body["invoice"]
    with desk.db.begin() as connection:
        found = queries.one(connection, desk.org_id, EVERYTHING, UUID(invoice["id"]))
        assert found is not None
        assert queries.of_code(connection, desk.org_id, EVERYTHING, found.code) == found
        assert queries.of_ticket(connection, desk.org_id, EVERYTHING, found.ticket_id) == found
        assert [one.code for one in queries.listed(connection, desk.org_id, EVERYTHING, queries.InvoiceFilter())] == [
            invoice["code"]
        ]


class _Failed(Exception):
    """The statement that was to fail."""


@contextmanager
def _failing(db: Database, place: int) -> Iterator[None]:
    """Let the statement of this number fail."""
    seen = 0

    def fail(*_: object) -> None:
        nonlocal seen
        seen += 1
        if seen == place:
            raise _Failed

    event.listen(db.engine, "before_cursor_execute", fail)
    try:
        yield
    finally:
        event.remove(db.engine, "before_cursor_execute", fail)


def _many(desk: FieldDesk, number: int) -> list[UUID]:
    """Return tickets like one that was worked."""
    first = worked(desk)
    with desk.db.begin() as connection:
        copy = text("""
            WITH made AS (
                INSERT INTO tickets (org_id, code, status, dispatch_state, priority, subject, subject_norm, account_id,
                                     site_id, first_message_at, last_message_at, last_activity_at)
                SELECT org_id, code || n, status, dispatch_state, priority, subject, subject_norm, account_id,
                       site_id, first_message_at, last_message_at, last_activity_at
                  FROM tickets, generate_series(1, :more) AS n WHERE id = :first RETURNING id, org_id
            ), worked AS (
                INSERT INTO dispatches (ticket_id, org_id, incident_type, template_id, due_at, due_soon_at)
                SELECT made.id, d.org_id, incident_type, template_id, due_at, due_soon_at FROM made, dispatches d
                 WHERE d.ticket_id = :first
            ), timed AS (
                INSERT INTO time_entries (org_id, ticket_id, kind, began_at, ended_at, recorded_by)
                SELECT made.org_id, made.id, kind, began_at, ended_at, 'tests' FROM made, time_entries e
                 WHERE e.ticket_id = :first
            ), proved AS (
                INSERT INTO evidence_items (org_id, ticket_id, kind, uri, evidence_key, created_by)
                SELECT made.org_id, made.id, kind, uri, evidence_key, 'tests' FROM made, evidence_items e
                 WHERE e.ticket_id = :first
            ), completed AS (
                INSERT INTO completions (org_id, ticket_id, command, template_id, checklist_status, completed_by)
                SELECT made.org_id, made.id, command, template_id, checklist_status, 'tests' FROM made, completions c
                 WHERE c.ticket_id = :first
            )
            SELECT id FROM made
        """)
        return [first, *connection.execute(copy, {"first": first, "more": number - 1}).scalars()]
