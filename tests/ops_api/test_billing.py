"""Billing over HTTP: rates, time and parts, the invoice and its page, and how each is refused."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from pypdf import PdfReader

from models.enums import Reach
from pipeline.adapters.clock import SystemClock
from tests.commands.billed import invoiced, set_rate, worked
from tests.commands.field_desk import FieldDesk
from tests.ops_api import people
from tests.ops_api.serving import Api, Person, change, rows, serving, settings_for

NOBODY = UUID(int=0)


@pytest.fixture
def api(database_url: str, tmp_path: Path) -> Iterator[Api]:
    with serving(settings_for(database_url, blob_url=f"file://{tmp_path}/blobs")) as running:
        yield running


@pytest.fixture
def desk(api: Api) -> FieldDesk:
    return FieldDesk.of(api.db)


def person(api: Api, desk: FieldDesk, name: str) -> Person:
    person_id = desk.people[name].person_id
    assert person_id is not None
    return api.signed_in(desk.org_id, person_id)


def send(who: Person, path: str, body: dict[str, Any]) -> Any:
    return who.post(path, json=body, headers={"Idempotency-Key": str(uuid4())})


def test_from_a_rate_to_a_printed_invoice(api: Api, desk: FieldDesk) -> None:
    finance, tech = person(api, desk, "finance"), person(api, desk, "tech")
    ticket_id = worked(desk, limit=9_000)
    base = f"/tickets/{ticket_id}"
    refused = send(finance, f"{base}/billing/generate-invoice", {"anything": [1]})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "INVOICE_RATE_MISSING")
    wish = {"currency": "USD", "labor_hour_cents": 8_000, "tax_percent": 10}
    assert finance.ask("PUT", "/billing/rates", json=wish).json()["tax_percent"] == "10.000"
    assert [one["labor_hour_cents"] for one in finance.get("/billing/rates").json()["items"]] == [8_000]
    part = {"name": "Hinge", "quantity": 1.5, "unit_price_cents": 333}
    assert send(tech, f"{base}/parts", part).json()["part"]["quantity"] == "1.5"
    over = send(finance, f"{base}/billing/generate-invoice", {}).json()["error"]
    assert (over["code"], over["limit_cents"], over["over_cents"]) == ("INVOICE_EXCEEDS_LIMIT", 9_000, 350)
    answer = send(finance, f"{base}/billing/generate-invoice", {"write_off": True})
    invoice = answer.json()["invoice"]
    assert (answer.status_code, answer.json()["state"], invoice["total_cents"]) == (200, "INVOICED", 9_000)
    assert finance.get(f"{base}/invoice").json() == finance.get(f"/invoices/{invoice['id']}").json() == invoice
    _is_printed_once(api, finance, invoice)


def _is_printed_once(api: Api, finance: Person, invoice: dict[str, Any]) -> None:
    page = finance.get(f"/invoices/{invoice['id']}/pdf")
    assert (page.status_code, page.headers["Content-Type"]) == (200, "application/pdf")
    assert page.headers["Content-Disposition"].startswith('attachment; filename="INV-000001.pdf"')
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert "USD 90.00" in PdfReader(BytesIO(page.content)).pages[0].extract_text()
    digest = sha256(page.content).digest()
    assert rows(api.db, "SELECT pdf_sha256 FROM invoices") == [(digest,)]
    assert rows(api.db, "SELECT kind, sha256, size FROM blobs") == [("document", digest, len(page.content))]
    # What is kept is given out, whatever an account or the seller is called by now.
    change(api.db, "UPDATE invoices SET issuer = 'renamed'")
    assert finance.get(f"/invoices/{invoice['id']}/pdf").content == page.content


def test_a_page_that_the_store_lost_is_printed_anew_if_it_is_the_same(
    api: Api, desk: FieldDesk, tmp_path: Path
) -> None:
    set_rate(desk)
    invoice = invoiced(desk, worked(desk)).body["invoice"]
    finance = person(api, desk, "finance")
    path = f"/invoices/{invoice['id']}/pdf"
    first = finance.get(path).content
    _lose_blobs(tmp_path)
    assert finance.get(path).content == first
    _lose_blobs(tmp_path)
    change(api.db, "UPDATE invoices SET issuer = 'another page'")
    assert finance.get(path).status_code == 502


def _lose_blobs(tmp_path: Path) -> None:
    lost = [one for one in (tmp_path / "blobs" / "document").rglob("*") if one.is_file()]
    assert lost
    for one in lost:
        one.unlink()


def test_invoices_are_paged_filtered_and_within_reach(api: Api, desk: FieldDesk) -> None:
    set_rate(desk)
    days = [(SystemClock().now() - timedelta(days=ago)).date().isoformat() for ago in (60, 59, 30)]
    second = days[1]
    codes = [invoiced(desk, worked(desk), issued_on=day).body["invoice"]["code"] for day in days]
    finance = person(api, desk, "finance")
    page = finance.get("/invoices", params={"limit": 2}).json()
    rest = finance.get("/invoices", params={"limit": 2, "cursor": page["next_cursor"]}).json()
    assert [one["code"] for one in (*page["items"], *rest["items"])] == codes[::-1]
    assert rest["next_cursor"] is None
    filters: list[tuple[dict[str, Any], int]] = [
        ({"issued_since": second}, 2),
        ({"issued_since": second, "issued_until": second}, 1),
        ({"account_id": str(desk.account_id)}, 3),
        ({"account_id": str(NOBODY)}, 0),
    ]
    for wanted, many in filters:
        assert len(finance.get("/invoices", params=wanted).json()["items"]) == many
    assert finance.get("/invoices", params={"issued_since": "yesterday"}).status_code == 422
    elsewhere = person(api, desk, "approver")
    with api.db.begin() as connection:
        assert elsewhere.person_id
        people.narrow(connection, desk.org_id, elsewhere.person_id, Reach.ACCOUNT, accounts=())
    assert elsewhere.get("/invoices").json()["items"] == []
    found = finance.get("/invoices").json()["items"][0]
    for path in (f"/invoices/{found['id']}", f"/invoices/{found['id']}/pdf", f"/tickets/{found['ticket_id']}/invoice"):
        assert elsewhere.get(path).status_code == 404
    assert elsewhere.get("/billing/rates").status_code == 403


def test_time_and_parts_are_told_read_in_pages_and_taken_back(api: Api, desk: FieldDesk) -> None:
    ticket_id = worked(desk, "IN_PROGRESS")
    base, dispatcher = f"/tickets/{ticket_id}", person(api, desk, "dispatcher")
    time = {"kind": "travel", "began_at": "2026-01-05T08:00:00+01:00", "ended_at": "2026-01-05T09:30:00+01:00"}
    told = send(dispatcher, f"{base}/time", time)
    assert (told.status_code, told.json()["time"]["began_at"]) == (201, "2026-01-05T07:00:00Z")
    assert send(dispatcher, f"{base}/time", time).json()["error"]["code"] == "TIME_OVERLAP"
    part = send(dispatcher, f"{base}/parts", {"name": "Hinge", "quantity": "2", "unit_price_cents": 1}).json()["part"]
    taken = send(dispatcher, f"{base}/parts/{part['id']}/remove", {"reason": "never built in"})
    assert (taken.status_code, taken.headers["ETag"]) == (200, f'"{taken.json()["version"]}"')
    back = f"{base}/time/{told.json()['time']['id']}/remove"
    assert send(dispatcher, back, {"reason": "by train"}).json()["time"]["removed_at"] is not None
    assert send(dispatcher, back, {"reason": "by train"}).json()["error"]["code"] == "TIME_REMOVED"
    none = send(dispatcher, f"{base}/time/{NOBODY}/remove", {"reason": "x"})
    assert (none.status_code, none.json()["error"]["code"]) == (404, "TIME_NOT_FOUND")
    first = dispatcher.get(f"{base}/work-items", params={"limit": 2}).json()
    rest = dispatcher.get(f"{base}/work-items", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert [one["type"] for one in (*first["items"], *rest["items"])] == ["time", "time", "part"]
    assert first["items"][1]["time"]["removed_at"] is not None
    assert rest["items"][0]["part"]["removed_at"] is not None
    assert person(api, desk, "customer").get(f"{base}/work-items").status_code == 403


def test_refusals_have_the_shape_of_their_contract(api: Api, desk: FieldDesk) -> None:
    finance, dispatcher = person(api, desk, "finance"), person(api, desk, "dispatcher")
    ticket_id = worked(desk)
    path = f"/tickets/{ticket_id}/billing/generate-invoice"
    assert finance.post(path, json={}).json()["error"]["code"] == "MISSING_IDEMPOTENCY_KEY"
    assert send(dispatcher, path, {}).json()["error"]["code"] == "FORBIDDEN"
    assert send(finance, f"/tickets/{uuid4()}/billing/generate-invoice", {}).json()["error"]["code"] == (
        "TICKET_NOT_FOUND"
    )
    for wrong in ({"write_off": "yes"}, {"issued_on": "soon"}, {"issued_on": 0}, {"reason": ""}):
        refused = send(finance, path, wrong)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "INVALID_REQUEST")
    quantity = send(dispatcher, f"/tickets/{ticket_id}/parts", {"name": "x", "quantity": 0, "unit_price_cents": 1})
    assert (quantity.status_code, list(quantity.json()["error"]["fields"])) == (400, ["quantity"])
    none = finance.get(f"/tickets/{ticket_id}/invoice")
    assert (none.status_code, none.json()["error"]["code"]) == (404, "INVOICE_NOT_FOUND")
    assert finance.get(f"/invoices/{NOBODY}").json()["code"] == "INVOICE_NOT_FOUND"
    assert finance.ask("DELETE", f"/billing/rates/{NOBODY}").json()["code"] == "RATE_NOT_FOUND"
    wish = {"currency": "USD", "labor_hour_cents": 1, "account_id": str(NOBODY)}
    unknown = finance.ask("PUT", "/billing/rates", json=wish)
    assert (unknown.status_code, unknown.json()["code"]) == (422, "UNKNOWN_ACCOUNT")


def test_an_invoice_asked_for_again_is_the_same(api: Api, desk: FieldDesk) -> None:
    set_rate(desk)
    finance, path = person(api, desk, "finance"), f"/tickets/{worked(desk)}/billing/generate-invoice"
    headers = {"Idempotency-Key": str(uuid4())}
    first, again = (finance.post(path, json={}, headers=headers) for _ in range(2))
    assert (first.content, again.headers["Idempotency-Replayed"]) == (again.content, "true")
    assert rows(api.db, "SELECT count(*) FROM invoices") == [(1,)]


def test_the_series_of_invoices_is_read_and_set(api: Api, desk: FieldDesk) -> None:
    finance, dispatcher = person(api, desk, "finance"), person(api, desk, "dispatcher")
    path = "/billing/series"
    fresh = {"prefix": "INV-", "next_number": 1, "next_code": "INV-000001", "is_begun": False}
    assert dispatcher.get(path).json() == fresh
    assert dispatcher.ask("PUT", path, json={"prefix": "R-"}).status_code == 403
    assert finance.ask("PUT", path, json={"prefix": "R-", "next_number": 500}).json()["next_code"] == "R-000500"
    set_rate(desk)
    assert invoiced(desk, worked(desk)).body["invoice"]["code"] == "R-000500"
    refused = finance.ask("PUT", path, json={"next_number": 900})
    assert (refused.status_code, refused.json()["code"]) == (409, "SERIES_BEGUN")
    for wrong in ({}, {"prefix": "R1"}, {"next_number": 0}, {"prefix": "R-", "colour": 1}):
        assert finance.ask("PUT", path, json=wrong).status_code == 422
    assert finance.get(path).json() == fresh | {
        "prefix": "R-",
        "next_number": 501,
        "next_code": "R-000501",
        "is_begun": True,
    }
