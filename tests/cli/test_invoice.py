"""`fieldpost invoice`: listed, shown and printed at the machine."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.adapters.clock import SystemClock
from pipeline.runtime.db import Database
from tests.cli.conftest import Command, trail
from tests.commands.billed import invoiced, set_rate, worked
from tests.commands.field_desk import FieldDesk


@pytest.mark.usefixtures("served")
def test_invoices_are_listed_shown_and_printed(db: Database, fieldpost: Command, tmp_path: Path) -> None:
    desk = FieldDesk.of(db)
    set_rate(desk, 8_000, tax_percent=10)
    days = [(SystemClock().now() - timedelta(days=ago)).date().isoformat() for ago in (60, 59)]
    for day in days:
        invoiced(desk, worked(desk), issued_on=day)
    listed = fieldpost("invoice", "list", "--until", days[0], "--json").json
    assert [(one["code"], one["total_cents"]) for one in listed] == [("INV-000001", 8_800)]
    assert "lines" not in listed[0]
    assert [one["number"] for one in fieldpost("invoice", "list", "--json").json] == [2, 1]
    assert "88.00" in fieldpost("invoice", "list", "--before", 2).out
    shown = fieldpost("invoice", "show", "INV-000001").out
    assert "Labor" in shown
    assert "USD 88.00" in shown
    assert fieldpost("invoice", "show", "INV-000002", "--json").json["lines"][0]["amount_cents"] == 8_000
    assert fieldpost("invoice", "pdf", "INV-000001").code == 0
    printed = (tmp_path / "INV-000001.pdf").read_bytes()
    assert printed.startswith(b"%PDF")
    assert fieldpost("invoice", "pdf", "INV-000001").code == 2
    assert fieldpost("invoice", "pdf", "INV-000001", "-o", "again.pdf").code == 0
    assert (tmp_path / "again.pdf").read_bytes() == printed
    assert fieldpost("invoice", "show", "INV-9").code == 2
    assert fieldpost("invoice", "pdf", "INV-000002", "-o", "nowhere/x.pdf").code == 2


@pytest.mark.usefixtures("served")
def test_the_series_is_shown_and_set(db: Database, fieldpost: Command) -> None:
    desk = FieldDesk.of(db)
    assert fieldpost("invoice", "series", "--json").json["next_code"] == "INV-000001"
    done = fieldpost("invoice", "series", "--prefix", "2026-", "--next-number", 41)
    assert (done.code, "2026-000041" in done.out) == (0, True)
    assert [(row.action, row.target_kind, row.actor_id[:4]) for row in trail(db)] == [
        ("invoices.number_from", "organization", "cli:")
    ]
    set_rate(desk)
    invoiced(desk, worked(desk))
    for said in (("--next-number", 9), ("--prefix", "R1"), ("--next-number", 0)):
        refused = fieldpost("invoice", "series", *said)
        assert (refused.code, len(refused.err.strip().splitlines())) == (2, 1)
    assert "no digit last" in fieldpost("invoice", "series", "--prefix", "R1").err
    assert fieldpost("invoice", "series", "--json").json["next_number"] == 42
