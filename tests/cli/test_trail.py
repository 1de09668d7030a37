"""The audit trail by hand: listed, shown, proved whole, sealed and written out."""

from __future__ import annotations

import json
from uuid import UUID

import pytest
from sqlalchemy import text

from pipeline.core.audit_chain import details_hash
from pipeline.runtime import auditing
from pipeline.runtime.auditing import Entry
from pipeline.runtime.db import Database
from pipeline.runtime.settings import Settings
from tests import factories
from tests.cli.conftest import Command


@pytest.fixture
def org_id(db: Database) -> UUID:
    """An organization with four rows in its trail."""
    with db.begin() as connection:
        org_id = factories.organization(connection, "acme")
        entries = [Entry(org_id, "ticket.note", f"p{n}", target_id=f"t{n}", details={"n": n}) for n in range(4)]
        auditing.append_all(connection, org_id, entries)
    return org_id


def tamper(db: Database, statement: str) -> None:
    with db.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text(statement))


def test_rows_are_listed_shown_and_written_out(fieldpost: Command, served: Settings, org_id: UUID) -> None:
    assert [row["number"] for row in fieldpost("trail", "list", "--limit", 2, "--json").json["rows"]] == [4, 3]
    assert "older ones: --before 3" in fieldpost("trail", "list", "--limit", 2).err
    assert [row["number"] for row in fieldpost("trail", "list", "--target", "t1", "--json").json["rows"]] == [2]
    said = fieldpost("trail", "show", 2).out
    assert all(part in said for part in ("ticket.note", "p1", "t1", '{"n":1}'))
    assert fieldpost("trail", "show", 9).code == 2
    lines = [json.loads(line) for line in fieldpost("trail", "export", "--after", 1).out.splitlines()]
    assert [line["number"] for line in lines] == [2, 3, 4]
    assert [line["previous"] for line in lines[1:]] == [line["hash"] for line in lines[:-1]]
    assert details_hash(lines[0]["details"]).hex() == lines[0]["details_sha256"]


def test_a_whole_trail_is_told_with_its_newest_row_and_a_changed_one_with_what_is_wrong(
    fieldpost: Command, served: Settings, org_id: UUID, db: Database
) -> None:
    whole = fieldpost("trail", "verify")
    assert (whole.code, whole.out.split(";")[0]) == (0, "the trail is whole: 4 rows and 0 seals were checked")
    noted = whole.out.split()[-1]
    assert fieldpost("trail", "verify", "--noted", noted).code == 0
    assert fieldpost("trail", "verify", "--noted", "4:no").code == 2
    assert fieldpost("trail", "verify", "--noted", "4:" + "0" * 64).code == 1
    tamper(db, "DELETE FROM audit_events WHERE number = 2")
    broken = fieldpost("trail", "verify")
    assert broken.code == 1
    assert "3: missing: before it 2 is missing" in broken.out
    assert fieldpost("trail", "verify", "--json").json["is_whole"] is False


def test_a_seal_is_printed_as_verify_takes_it_and_shows_a_trail_that_was_cut(
    fieldpost: Command, served: Settings, org_id: UUID, db: Database
) -> None:
    sealed = fieldpost("trail", "seal").out.strip()
    assert sealed.startswith("4:")
    assert "nothing was added" in fieldpost("trail", "seal").err
    assert fieldpost("trail", "verify", "--noted", sealed).out.startswith("the trail is whole: 4 rows and 1 seals")
    tamper(db, "DELETE FROM audit_details WHERE number = 4")
    tamper(db, "DELETE FROM audit_events WHERE number = 4")
    tamper(db, "UPDATE audit_heads h SET number = 3, hash = e.hash FROM audit_events e WHERE e.number = 3")
    cut = fieldpost("trail", "verify")
    assert cut.code == 1
    assert "4: seal: it was sealed, and is not there any more" in cut.out
