"""The list of tickets: the same answer as a plain look at every row, and at a cost that is bounded, behind the barrier.

The plans are those of 20,000 tickets with real statistics; `python -m tests.bench.desk` measures a million.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, text

from deploy.local.lock import Endpoints
from models import row_security
from models.enums import Reach, TicketPriority, TicketStatus
from models.queries import ticket_clauses, ticket_detail, ticket_list
from models.queries.scoping import ticket_condition
from models.queries.ticket_clauses import Sla, Wanted, telling_piece
from models.queries.ticket_list import Found, Place
from pipeline.runtime.db import Database
from tests.bench import desk_data
from tests.bench.desk_data import Made
from tests.bench.plans import explained
from tests.conftest import fresh_database

TICKETS, MAILS = 20_000, 400
#: Of the newest, and of the oldest, so many are looked at one by one.
PART = 400


class Desk:
    """A database with many tickets; `rows` are those of the largest organization, newest activity first."""

    def __init__(self, db: Database, made: Made) -> None:
        self.db, self.made = db, made
        with self.bound() as connection:
            shown = "t.*, w.haystack, k.state AS clock, k.warn_at, k.due_at, now() AS asked_at"
            self.rows = connection.execute(
                text(f"""
                SELECT {shown} FROM tickets t JOIN ticket_words w ON w.ticket_id = t.id
                  LEFT JOIN ticket_clocks k ON k.ticket_id = t.id ORDER BY t.last_activity_at DESC, t.id DESC
            """)
            ).all()

    @contextmanager
    def bound(self) -> Iterator[Connection]:
        with self.db.begin() as connection:
            row_security.bind(connection, self.made.org_id)
            yield connection

    def page(self, wanted: Wanted, *, limit: int = 50, after: Place | None = None, **options: Any) -> Found:
        with self.bound() as connection:
            return ticket_list.find(connection, self.made.org_id, wanted, limit=limit, after=after, **options)

    def pages(self, wanted: Wanted, *, limit: int, after: Place | None = None, **options: Any) -> list[UUID]:
        """Follow the cursor to the end; return the ids."""
        found: list[UUID] = []
        for _ in range(500):
            page = self.page(wanted, limit=limit, after=after, **options)
            assert len(page.rows) <= limit
            found += [row.id for row in page.rows]
            if page.last is None:
                return found
            assert after is None or (page.last.at, page.last.ticket_id) < (after.at, after.ticket_id)
            after = page.last
        raise AssertionError("the list has no end")

    def plans(self, wanted: Wanted, *, after: Place | None = None, **options: Any) -> str:
        """Return the plans of everything that one page asks."""
        with explained(self.db.engine) as plans:
            self.page(wanted, after=after, **options)
        return "\n".join(plans)


@pytest.fixture(scope="module")
def desk(servers: Endpoints) -> Iterator[Desk]:
    with fresh_database(servers) as url:
        db = Database(url, "test")
        with db.begin() as connection:
            made = desk_data.make(connection, TICKETS, MAILS, longest=120)
        with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("ANALYZE"))
        yield Desk(db, made)
        db.close()


def _sla(row: Any) -> Sla | None:
    if row.sla_due_at is None:
        return Sla.PAUSED if row.clock == "paused" else None
    if row.sla_due_at <= row.asked_at:
        return Sla.BREACH
    return Sla.WARNING if row.warn_at <= row.asked_at else Sla.HEALTHY


def _says(row: Any, words: str) -> bool:
    is_code = words.startswith("tkt-") or (len(words) >= 3 and set(words) <= set("abcdefghijklmnopqrstuvwxyz234567"))
    return words in row.haystack or (is_code and row.code.removeprefix("tkt-").startswith(words.removeprefix("tkt-")))


def _has(row: Any, wanted: Wanted) -> bool:
    """Say the same as the query, one row at a time."""
    return all(
        (
            row.status in wanted.statuses if wanted.statuses else row.status != "merged",
            wanted.words is None or _says(row, wanted.words.lower()),
            wanted.assignee_user_id in {None, row.assignee_user_id},
            wanted.queue_id in {None, row.queue_id},
            not wanted.is_unassigned or (row.assignee_user_id, row.queue_id) == (None, None),
            set(wanted.tags) <= set(row.tags),
            wanted.since is None or row.last_activity_at >= wanted.since,
            wanted.before is None or row.last_activity_at < wanted.before,
            wanted.created_since is None or row.created_at >= wanted.created_since,
            wanted.created_before is None or row.created_at < wanted.created_before,
            wanted.mailbox_id in {None, row.mailbox_id},
            wanted.priority in {None, row.priority},
            wanted.account_id in {None, row.account_id},
            wanted.sla is None or wanted.sla is _sla(row),
        )
    )


def _ids(desk: Desk, wanted: Wanted) -> list[UUID]:
    return [row.id for row in desk.rows if _has(row, wanted)]


def _some(row: Any, drawn: Sequence[str]) -> Wanted:
    """Return a question that a row answers, about the things that were drawn."""
    day = timedelta(days=20)
    values: dict[str, Any] = {
        "statuses": (TicketStatus(row.status),),
        "words": [*(one[2:11] for one in row.haystack.split("\n")), row.code[4:8], row.code][len(drawn) % 4].upper(),
        "assignee_user_id": row.assignee_user_id,
        "queue_id": row.queue_id,
        "is_unassigned": row.assignee_user_id is None and row.queue_id is None,
        "tags": row.tags[:1],
        "since": row.last_activity_at - day,
        "before": row.last_activity_at + day,
        "created_since": row.created_at - day,
        "created_before": row.created_at + day,
        "mailbox_id": row.mailbox_id,
        "priority": TicketPriority(row.priority),
        "account_id": row.account_id,
        "sla": _sla(row),
    }
    found = Wanted(**{name: values[name] for name in drawn})
    return replace(found, statuses=(*found.statuses, TicketStatus.OPEN)) if len(drawn) % 2 else found


NAMES = (
    *("statuses", "words", "assignee_user_id", "queue_id", "is_unassigned", "tags", "since", "before"),
    *("created_since", "created_before", "mailbox_id", "priority", "account_id", "sla"),
)


@given(
    place=st.integers(0, PART - 1),
    drawn=st.lists(st.sampled_from(NAMES), unique=True, max_size=4),
    is_old=st.booleans(),
    bounds=st.sampled_from([(10_000, 4_000), (150, 5), (60, 4_000)]),
)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_page_together_are_what_a_look_at_every_row_finds(
    desk: Desk, place: int, drawn: list[str], is_old: bool, bounds: tuple[int, int]
) -> None:
    """Of the newest and of the oldest tickets: the oldest are reached by a cursor, the newest by a date."""
    part = desk.rows[-PART:] if is_old else desk.rows[:PART]
    wanted = _some(part[place], drawn)
    if not is_old:
        wanted = replace(wanted, since=max(wanted.since or part[-1].last_activity_at, part[-1].last_activity_at))
    before = desk.rows[-PART - 1]
    after = Place(before.last_activity_at, before.id) if is_old else None
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ticket_clauses, "WALK", bounds[0])
        patched.setattr(ticket_clauses, "MOST_FOUND", bounds[1])
        patched.setattr(ticket_list, "MOST_FOUND", bounds[1])
        assert desk.pages(wanted, limit=17 if is_old else 100, after=after) == [
            row.id for row in part if _has(row, wanted)
        ]


ORDERED = "Index Scan using ix_tickets"


def test_no_list_reads_a_table_through(desk: Desk) -> None:
    made = desk.made
    old = desk.rows[-100]
    asked = {
        "ix_tickets_all": Wanted(),
        "ix_tickets_inbox": Wanted(statuses=(TicketStatus.OPEN,)),
        "ix_tickets_assignee": Wanted(assignee_user_id=made.person_id),
        "ix_tickets_queue": Wanted(queue_id=made.queue_id),
        "ix_ticket_words_haystack": Wanted(words=desk_data.ABSENT),
        "ix_ticket_words_tags": Wanted(tags=("nobody-has-it",)),
        "ix_tickets_sla": Wanted(sla=Sla.WARNING),
        "uq_tickets_org_id_code": Wanted(words=old.code[:9]),
    }
    for index, wanted in asked.items():
        plans = desk.plans(wanted)
        assert index in plans, index
        assert "Seq Scan" not in plans, (index, plans)
    others = (
        Wanted(words="charger"), Wanted(words=old.requester_email), Wanted(words=old.code[4:9]), Wanted(words="zq"),
        Wanted(tags=("hardware",)), Wanted(mailbox_id=made.mailbox_id), Wanted(priority=TicketPriority.URGENT),
        Wanted(sla=Sla.BREACH), Wanted(sla=Sla.PAUSED), Wanted(is_unassigned=True), Wanted(before=old.created_at),
        Wanted(statuses=(TicketStatus.OPEN, TicketStatus.NEW)), Wanted(account_id=old.account_id),
        Wanted(assignee_user_id=made.person_id, statuses=(TicketStatus.OPEN,)),
    )  # fmt: skip
    for wanted in others:
        assert "Seq Scan" not in desk.plans(wanted), wanted
        place = Place(old.last_activity_at, old.id)
        assert "Seq Scan" not in desk.plans(wanted, after=place), wanted


def test_a_walk_takes_tickets_in_the_order_of_an_index_and_sorts_nothing(desk: Desk) -> None:
    for wanted in (Wanted(), Wanted(words="charger"), Wanted(statuses=(TicketStatus.CLOSED,), tags=("hardware",))):
        walk = desk.plans(wanted).partition("unnest")[0]
        assert ORDERED in walk
        assert "Sort" not in walk
        assert "Bitmap" not in walk


def test_what_is_neither_common_nor_rare_ends_the_page_early_and_goes_on(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ticket_clauses, "WALK", 200)
    monkeypatch.setattr(ticket_clauses, "MOST_FOUND", 5)
    monkeypatch.setattr(ticket_list, "MOST_FOUND", 5)
    wanted = Wanted(tags=(next(tag for row in desk.rows for tag in row.tags if tag.startswith("topic-2")),))
    page = desk.page(wanted)
    assert len(page.rows) < 50
    assert page.last is not None
    assert page.last.ticket_id == desk.rows[199].id
    assert desk.pages(wanted, limit=50) == _ids(desk, wanted)


def test_a_ticket_with_all_that_stands_in_it_is_read_by_its_keys(desk: Desk) -> None:
    with explained(desk.db.engine) as plans, desk.bound() as connection:
        ticket_id = desk.made.ticket_id
        ticket_detail.ticket(connection, ticket_id)
        page = ticket_detail.messages(connection, ticket_id, limit=8)
        oldest = page.items[0].row
        ticket_detail.messages(connection, ticket_id, limit=8, before=(oldest.received_at, oldest.id))
        ticket_detail.message(connection, ticket_id, oldest.id)
        events = ticket_detail.events(connection, ticket_id, limit=100)
        ticket_detail.events(connection, ticket_id, limit=100, before=events.items[0].id)
        ticket_detail.notes(connection, ticket_id, limit=100)
        ticket_detail.attachment(connection, desk.made.org_id, ticket_id, 1)
    said = "\n".join(plans)
    large = ("tickets", "ticket_messages", "messages", "message_contents", "attachments", "occurrences", "events")
    assert not [plan for plan in plans for name in large if f"Seq Scan on {name} " in plan]
    assert "ix_ticket_messages_ticket_id" in said
    assert "ix_events_ticket_id" in said


def test_nothing_of_another_organization_is_listed(desk: Desk) -> None:
    own = {row.id for row in desk.rows}
    assert all(row.org_id == desk.made.org_id for row in desk.rows)
    assert set(desk.pages(Wanted(words="aus_1"), limit=100)) <= own
    with desk.db.begin() as connection:
        other = connection.execute(
            text("SELECT id FROM organizations WHERE id <> :own LIMIT 1"), {"own": desk.made.org_id}
        ).scalar_one()
    with desk.bound() as connection:  # behind the barrier of one, asked for another's
        assert not ticket_list.find(connection, other, Wanted(words="charger"), limit=10).rows
        assert not ticket_list.find(connection, other, Wanted(words=desk_data.RARE), limit=10).rows


def test_a_reach_narrows_the_list(desk: Desk) -> None:
    row = next(row for row in desk.rows if row.assignee_user_id is not None and row.status != "merged")
    nowhere: dict[str, Any] = {"account_ids": None, "site_ids": None, "team_id": None, "queue_ids": ()}
    own = ticket_condition(reach=Reach.OWN, person_id=row.assignee_user_id, **nowhere)
    assert desk.pages(Wanted(), limit=100, reach=own) == _ids(desk, Wanted(assignee_user_id=row.assignee_user_id))
    account = ticket_condition(reach=Reach.ACCOUNT, person_id=None, **(nowhere | {"account_ids": [row.account_id]}))
    common = Wanted(words="CHARGER", statuses=(TicketStatus.OPEN,))
    expected = _ids(desk, replace(common, account_id=row.account_id))
    assert desk.pages(common, limit=100, reach=account) == expected
    assert expected


def test_a_code_is_found_by_its_beginning_in_any_case(desk: Desk) -> None:
    old = desk.rows[-7]
    for words in (old.code, old.code.upper(), old.code[:12], old.code[4:12], old.code[4:].upper()):
        assert desk.pages(Wanted(words=words), limit=100) == [old.id], words
    assert old.id not in desk.pages(Wanted(words=old.code[6:14]), limit=100)
    assert len(desk.page(Wanted(words="TKT-"), limit=100).rows) == 100


@pytest.mark.parametrize("words", ["%", "_", "\\", "a%r", "au__", "AUS_1%", "\\%"])
def test_wildcards_are_letters_like_any_other(desk: Desk, words: str) -> None:
    assert desk.pages(Wanted(words=words), limit=100) == _ids(desk, Wanted(words=words))


def test_the_index_is_asked_for_the_piece_that_tells_most() -> None:
    assert telling_piece("customer26204@post.example") == "26204@p"
    assert telling_piece("tkt-abcd2345wxyz7777") == "xyz7777"
    assert telling_piece("the start") == "the start"
    assert telling_piece("charger at invoice") == " at inv"
    assert telling_piece("bill for charger") == "for cha"
    assert "26204" in telling_piece("e" * 180 + "26204")
