"""Reading dead letters: by every filter, page by page, with the message they are about."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from dlq import letters, reading
from dlq.reading import Which
from models.enums import Cause, Lane, Resolution
from pipeline.runtime import ledger
from pipeline.runtime.db import Database
from pipeline.runtime.jobs import Emit
from tests.cli.archive import Archive
from tests.dlq.pile import Pile


@dataclass(frozen=True)
class Buried:
    """Letters: in parse one of each mailbox, in triage one of a message, in history one of a mailbox."""

    archive: Archive
    other: Archive
    message_id: int
    ids: list[int]


@pytest.fixture
def buried(db: Database) -> Buried:
    with db.begin() as connection:
        archive, other = Archive(connection), Archive(connection, "other@example.org")
        message_id = archive.message("The pump leaks", "<1@x>")
        parse = {
            archive: archive.occurrence("a", "fetched"),
            other: other.occurrence("b", "stitched", message_id),
        }
        emits = [Emit("parse", str(key), it.org_id, it.mailbox_id, Lane.LIVE, 0, "trace") for it, key in parse.items()]
        emits.append(Emit("triage", str(message_id), archive.org_id, archive.mailbox_id, Lane.LIVE, 0, "trace"))
        emits.append(
            Emit("history", str(archive.mailbox_id), archive.org_id, archive.mailbox_id, Lane.LIVE, 0, "trace")
        )
        ledger.put(connection, emits)
        for stage, error, cause in (
            ("parse", ValueError("part 7"), Cause.PERMANENT),
            ("triage", ValueError("part 8"), Cause.EXHAUSTED),
            ("history", None, Cause.CRASHED),
        ):
            line = ledger.Line(stage, Lane.LIVE)
            jobs = ledger.claim(connection, line, batch=9, worker=1, lease=timedelta(minutes=1))
            letters.bury(connection, [letters.Death(job, cause, error, by_occurrence=stage == "parse") for job in jobs])
        return Buried(archive, other, message_id, reading.ids(connection))


def test_letters_come_newest_first_and_page_by_their_last_id(db: Database, buried: Buried) -> None:
    with db.begin() as connection:
        first = reading.find(connection, limit=3)
        rest = reading.find(connection, limit=3, before_id=first[-1].letter_id)
    assert [letter.letter_id for letter in [*first, *rest]] == buried.ids[::-1]


def test_every_filter_narrows_and_filters_add_up(db: Database, buried: Buried) -> None:
    archive, other = buried.archive, buried.other
    cases: list[tuple[Which, int]] = [
        ({}, 4),
        ({"mailbox_id": archive.mailbox_id}, 3),
        ({"org_id": archive.org_id}, 4),
        ({"org_id": other.mailbox_id}, 0),
        ({"stage": "parse"}, 2),
        ({"stage": "parse", "mailbox_id": other.mailbox_id}, 1),
        ({"cause": Cause.CRASHED}, 1),
        ({"letter_id": buried.ids[0]}, 1),
        ({"is_open": False}, 0),
        ({"is_open": None}, 4),
        ({"error_class": "ValueError"}, 3),
        ({"error_class": "Value"}, 0),
        ({"text": "PART 7"}, 2),
        ({"text": "%"}, 0),
        ({"text": "part_7"}, 0),
        ({"text": "the PUMP"}, 2),
        ({"text": "Other@"}, 1),
        ({"text": str(archive.mailbox_id)[5:]}, 1),
        ({"letter_ids": buried.ids[:2]}, 2),
        ({"letter_ids": []}, 0),
        ({"newest_id": buried.ids[1]}, 2),
        ({"newest_id": buried.ids[1], "before_id": buried.ids[1]}, 1),
        ({"since": datetime(2020, 1, 1, tzinfo=UTC)}, 4),
        ({"until": datetime(2020, 1, 1, tzinfo=UTC)}, 0),
        ({"resolution": Resolution.DISCARDED, "is_open": False}, 0),
        ({"trace_id": "trace"}, 4),
        ({"job_id": 10**12}, 0),
    ]
    with db.begin() as connection:
        for which, expected in cases:
            assert reading.count(connection, **which) == expected, which
            assert len(reading.find(connection, **which)) == expected, which
            assert len(reading.ids(connection, **which)) == expected, which
        assert reading.open_by_mailbox(connection) == {archive.mailbox_id: 3, other.mailbox_id: 1}


def test_a_letter_knows_its_message_by_occurrence_and_by_message(db: Database, buried: Buried) -> None:
    with db.begin() as connection:
        found = {(letter.stage, letter.mailbox): letter for letter in reading.find(connection)}
    unparsed = found["parse", "support@example.org"]
    parsed = found["parse", "other@example.org"]
    triage = found["triage", "support@example.org"]
    history = found["history", "support@example.org"]
    assert (unparsed.provider_id, unparsed.subject, unparsed.message_id) == ("a", None, None)
    assert unparsed.raw_sha256 is not None
    assert (parsed.provider_id, parsed.subject, parsed.sender) == ("b", "The pump leaks", "customer@example.net")
    assert (triage.message_id, triage.subject, triage.occurrence_id) == (buried.message_id, "The pump leaks", None)
    assert (history.subject, history.raw_sha256, history.error_class) == (None, None, "WorkerDied")


def test_errors_that_differ_only_in_numbers_are_one_group_per_stage(db: Database, buried: Buried) -> None:
    with db.begin() as connection:
        found = reading.groups(connection)
        narrowed = reading.groups(connection, mailbox_id=buried.other.mailbox_id)
    assert [(group.stage, group.count) for group in found] == [("parse", 2), ("history", 1), ("triage", 1)]
    assert found[0].group == found[2].group
    assert found[0].example == "part 7"
    assert found[0].first_at <= found[0].last_at
    assert [(group.stage, group.count) for group in narrowed] == [("parse", 1)]


def test_a_replayed_letter_is_open_no_more_and_says_by_whom(db: Database, buried: Buried) -> None:
    with db.begin() as connection:
        letters.replay(connection, buried.ids[:1], actor="ada", reason="mended")
        (letter,) = reading.find(connection, is_open=False)
        assert reading.count(connection) == 3
    assert (letter.resolution, letter.resolved_by, letter.resolved_reason) == (Resolution.REPLAYED, "ada", "mended")


def test_a_count_says_which_letter_was_the_newest(db: Database, buried: Buried) -> None:
    with db.begin() as connection:
        assert reading.counted(connection) == reading.Counted(4, buried.ids[-1])
        assert reading.counted(connection, stage="nothing") == reading.Counted(0, None)


def test_a_time_bound_includes_its_beginning_and_not_its_end(db: Database, buried: Buried) -> None:
    with db.begin() as connection:
        at = reading.find(connection, limit=1)[0].buried_at
        assert reading.count(connection, since=at, until=at) == 0
        assert reading.count(connection, since=at, until=at + timedelta(microseconds=1)) == 4


def test_more_letters_can_be_named_than_a_statement_has_parameters(pile: Pile) -> None:
    (letter_id,) = pile.add(1)
    many = [letter_id, *range(10**12, 10**12 + 70_000)]
    with pile.db.begin() as connection:
        assert reading.ids(connection, letter_ids=many) == [letter_id]
