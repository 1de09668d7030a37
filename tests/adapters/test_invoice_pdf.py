"""The printed page of an invoice: what it says, that it is always the same, and that no name breaks it."""

from __future__ import annotations

import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from hashlib import sha256
from io import BytesIO
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pypdf import PdfReader

from models.queries.invoices import Invoice, InvoiceLine
from pipeline.adapters.invoice_pdf import render

LINES = (
    InvoiceLine("labor", "Labor", Decimal("135.000"), "minute", 8_000, 18_000),
    InvoiceLine("callout", "Call-out", Decimal("2.000"), "visit", 4_500, 9_000),
    InvoiceLine("part", "Hinge <b>heavy</b> & co (H-1)", Decimal("1.500"), "piece", 123_456_789, 185_185_184),
    InvoiceLine("write_off", "Written off above the agreed limit", Decimal("1.000"), "sum", -500, -500),
)
INVOICE = Invoice(
    id=UUID(int=1),
    number=17,
    code="INV-000017",
    ticket_id=UUID(int=2),
    ticket_code="tkt-abc123",
    account_id=None,
    currency="USD",
    subtotal_cents=185_211_684,
    tax_percent=Decimal("8.250"),
    tax_cents=15_279_964,
    total_cents=200_491_648,
    nte_cents=200_491_700,
    issuer="Türen & Söhne GmbH",
    customer="Acme Hospitals\nNorth gate\nLong road 1\n73301 Austin TX\nUS",
    issued_on=date(2026, 3, 2),
    issued_by="finance",
    created_at=datetime(2026, 3, 2, tzinfo=UTC),
    pdf_sha256=None,
    lines=LINES,
)


def pages(content: bytes) -> list[str]:
    return [" ".join(page.extract_text().split()) for page in PdfReader(BytesIO(content)).pages]


def test_a_page_says_who_bills_whom_for_what_and_how_much() -> None:
    (page,) = pages(render(INVOICE))
    for said in (
        *("Türen & Söhne GmbH", "INV-000017", "2026-03-02", "tkt-abc123", "Acme Hospitals", "73301 Austin TX"),
        *("2 h 15 min", "80.00 / h", "180.00", "2 visits", "1.5", "1,234,567.89", "-5.00", "Hinge <b>heavy</b> & co"),
        *("1,852,116.84", "Tax (8.25 %)", "152,799.64", "USD 2,004,916.48", "Agreed limit: USD 2,004,917.00."),
        "Page 1 of 1",
    ):
        assert said in page
    found = PdfReader(BytesIO(render(INVOICE)))
    assert found.metadata is not None
    assert (found.metadata.title, found.metadata.author) == ("Invoice INV-000017", "Türen & Söhne GmbH")


def test_the_same_invoice_has_the_same_bytes_in_any_thread_and_process() -> None:
    first = sha256(render(INVOICE)).hexdigest()
    render(replace(INVOICE, customer="Somebody else"))
    with ThreadPoolExecutor(4) as pool:
        assert {sha256(one).hexdigest() for one in pool.map(render, [INVOICE] * 8)} == {first}
    script = (
        "import pickle, sys; from hashlib import sha256; from pipeline.adapters.invoice_pdf import render; "
        "print(sha256(render(pickle.load(sys.stdin.buffer))).hexdigest())"
    )
    found = subprocess.run([sys.executable, "-c", script], input=pickle.dumps(INVOICE), capture_output=True, check=True)
    assert found.stdout.decode().strip() == first


def test_many_lines_go_on_with_heads_and_numbered_pages() -> None:
    lines = [replace(LINES[2], text=f"Part {number} " + "of a long name " * 10) for number in range(80)]
    found = pages(render(replace(INVOICE, lines=tuple(lines))))
    assert len(found) > 3
    for number, page in enumerate(found, 1):
        assert f"Page {number} of {len(found)}" in page
        assert "Description" in page or "Subtotal" in page
    assert sum(page.count("Part ") for page in found) == 80


def test_yen_have_no_places_and_other_offices_other_paper() -> None:
    yen, dollars = render(replace(INVOICE, currency="JPY")), render(INVOICE)
    assert "JPY 200,491,648" in pages(yen)[0]
    heights = [round(float(PdfReader(BytesIO(one)).pages[0].mediabox.height)) for one in (yen, dollars)]
    assert heights == [842, 792]


def test_letters_that_cannot_be_shown_are_seen_to_be_missing() -> None:
    (page,) = pages(render(replace(INVOICE, customer="Dvořák Wąs 株式会社\nЩукино")))  # noqa: RUF001
    lozenge = "\u25ca"
    assert f"Dvorák Was {lozenge * 4} {lozenge * 6}" in page
    assert "cannot show" in page
    assert "cannot show" not in pages(render(INVOICE))[0]


@pytest.mark.parametrize("name", ["W" * 10_000, "<font", "&amp;<br/>", "a\u0301" * 200, "\u202e x", "-", "\t\x01"])
def test_no_name_breaks_the_page(name: str) -> None:
    changed = replace(INVOICE, issuer=name, customer=f"{name}\n{name}", lines=(replace(LINES[2], text=name),))
    assert "INV-000017" in pages(render(changed))[0]


@settings(max_examples=15, deadline=None)
@given(st.text(max_size=400))
def test_any_text_is_printed(said: str) -> None:
    assert render(replace(INVOICE, customer=said, lines=(replace(LINES[0], text=said),))).startswith(b"%PDF")
