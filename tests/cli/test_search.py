"""`fieldpost search`, `reprocess` and `collisions`, over an imported archive with real workers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.runtime.db import Database
from pipeline.runtime.settings import Settings
from tests.adapters.mail import write_mbox
from tests.cli.conftest import Command
from tests.factories import mail, rows, value

ADDRESS = "help@acme.example"


@pytest.fixture
def imported(fieldpost: Command, served: Settings, tmp_path: Path) -> Settings:
    """Import three mails; the import waits until they are indexed, too."""
    raws = [
        mail("Ladesäule AUS_0123", "Der Stecker klemmt.", sender="Jörg <joerg@kunde.example>"),
        mail("Invoice", "Thank you for the invoice."),
        mail("Hello", "Nothing special."),
    ]
    path = tmp_path / "mail.mbox"
    write_mbox(path, raws)
    assert fieldpost("import", path, "--mailbox", ADDRESS).code == 0
    return served


def test_imported_mail_is_found_repeated_and_looked_through(
    fieldpost: Command, imported: Settings, db: Database
) -> None:
    found = fieldpost("search", "AUS-0123 from:jorg", "--json")
    assert found.code == 0
    (item,) = found.json["items"]
    assert item["subject"] == "Ladesäule AUS_0123"
    assert item["ticket_code"].startswith("tkt-")
    shown = fieldpost("search", "stecker")
    assert "Ladesäule AUS_0123" in shown.out
    assert "Stecker" in shown.out
    nothing = fieldpost("search", "zebra")
    assert (nothing.code, nothing.err.strip()) == (1, "nothing was found")
    broken = fieldpost("search", "--", "-refund")
    assert broken.code == 2
    assert "minus" in broken.err

    assert "every message is indexed" in fieldpost("search", "--reindex").out
    rows(db, "DELETE FROM message_search")
    assert fieldpost("search", "--reindex", "--json").json == {"asked": 3, "live_workers": 0}
    assert value(db, "SELECT count(*) FROM jobs WHERE stage = 'index'") == 3

    rows(db, "UPDATE messages SET subject = 'wrong' WHERE subject = 'Invoice'")
    started = fieldpost("reprocess", "start", "parse", "--mailbox", ADDRESS, "--wait", "--json")
    assert started.code == 0
    run_id = started.json["reprocessing_id"]
    assert (started.json["state"], started.json["changed"], started.json["seen"]) == ("compared", 1, 3)
    shown = fieldpost("reprocess", "show", run_id)
    assert "wrong" in shown.out
    assert "Invoice" in shown.out
    (difference,) = fieldpost("reprocess", "show", run_id, "--json").json["differences"]
    assert difference["changes"] == {"subject": ["wrong", "Invoice"]}
    applied = fieldpost("reprocess", "apply", run_id, "--wait", "--json")
    assert (applied.code, applied.json["state"], applied.json["applied"]) == (0, "applied", 1)
    assert value(db, "SELECT count(*) FROM messages WHERE subject = 'Invoice'") == 1
    (listed,) = fieldpost("reprocess", "list", "--json").json
    assert listed["applied"] == 1
    assert fieldpost("reprocess", "cancel", run_id).code == 2
    assert fieldpost("reprocess", "show", 999).code == 2

    assert fieldpost("collisions", "--backfill", "--json").json == {
        "backfill": {"fingerprints_scanned": 3, "groups_updated": 0, "messages_updated": 0},
        "groups": [],
    }
    assert fieldpost("collisions").out.strip() == "No messages collide."


def test_several_organizations_must_be_told_apart(fieldpost: Command, served: Settings, db: Database) -> None:
    assert "no organization" in fieldpost("search", "x").err
    rows(db, "INSERT INTO organizations (name) VALUES ('one'), ('two')")
    told = fieldpost("search", "x")
    assert told.code == 2
    assert "--org: one, two" in told.err
    assert fieldpost("search", "x", "--org", "two").code == 1
    assert fieldpost("search", "x", "--org", "three").code == 2
    assert json.loads(fieldpost("reprocess", "list", "--org", "one", "--json").out) == []
