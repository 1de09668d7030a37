"""A source that pays for nothing itself: its refusals rest the mailbox for everybody, its mail counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import timedelta
from uuid import UUID

import pytest

from models.enums import Lane
from pipeline.adapters.clock import SystemClock
from pipeline.adapters.meter import Meters
from pipeline.adapters.metered import MeteredSource
from pipeline.ports import Fetched, Listed, Missed, Page
from pipeline.runtime.db import Database
from pipeline.runtime.errors import Gone, NeedsAuthorization, OutOfBudget, Throttled, Transient
from tests.factories import mailbox, organization, rows, value
from tests.stages.fakes import MemorySource

Open = Callable[[MemorySource], MeteredSource]


@pytest.fixture
def mine(db: Database) -> UUID:
    with db.begin() as connection:
        return mailbox(connection, organization(connection), cursor="5")


@pytest.fixture
def opened(db: Database, mine: UUID) -> Iterator[Open]:
    """Yield what opens a source as a process of its own does; their slots are given back at the end."""
    with ExitStack() as stack:

        def open_one(source: MemorySource) -> MeteredSource:
            meters = stack.enter_context(closing(Meters(db, SystemClock())))
            return MeteredSource(source, meters.meter(mine, "imap:mail.example.org", Lane.LIVE))

        yield open_one


def test_calls_pass_and_mail_counts_against_the_day(db: Database, opened: Open):
    source = MemorySource(pages={None: Page([Listed("a")], None)}, mails={"a": Fetched("a", b"x" * 1_000)})
    found = opened(source)
    assert [item.provider_id for item in found.list_page(None, limit=5).items] == ["a"]
    (answer,) = found.fetch([Listed("a")])
    assert isinstance(answer, Fetched)
    found.close()
    assert value(db, "SELECT day_bytes FROM budgets WHERE scope LIKE 'mailbox:%'") == 1_000
    assert source.calls == ["list", "fetch", "close"]


@pytest.mark.parametrize("by_item", [False, True])
def test_a_refusal_rests_the_mailbox_for_every_process_without_another_call(
    db: Database, opened: Open, *, by_item: bool
):
    source = MemorySource(mails={"a": Throttled("too many", timedelta(minutes=5))})
    if not by_item:
        source.pages = {None: Throttled("too many", timedelta(minutes=5))}
    first, second = opened(source), opened(MemorySource())
    if by_item:
        first.fetch([Listed("a")])
    else:
        with pytest.raises(Throttled):
            first.list_page(None, limit=5)
    assert value(db, "SELECT rest_until > now() + interval '4 minutes' FROM budgets WHERE scope LIKE 'mailbox:%'")
    with pytest.raises(OutOfBudget):
        second.changes("5", None)
    (missed,) = second.fetch([Listed("b")])
    assert isinstance(missed, Missed)
    assert isinstance(missed.error, OutOfBudget)


@pytest.mark.parametrize(
    ("answer", "is_believed"),
    [(Fetched("a", b"x"), True), (Gone("a"), True), (NeedsAuthorization("no"), False), (Transient("cut"), False)],
)
def test_only_what_the_provider_answered_ends_a_rest(
    db: Database, opened: Open, answer: Fetched | Exception, *, is_believed: bool
):
    source = opened(MemorySource(mails={"a": answer}))
    source.fetch([Listed("b")])
    rows(db, "UPDATE budgets SET rest_until = now() WHERE scope LIKE 'mailbox:%'")
    source.fetch([Listed("a")])
    assert value(db, "SELECT rest_until IS NULL FROM budgets WHERE scope LIKE 'mailbox:%'") is is_believed
    assert value(db, "SELECT count(*) FROM budgets WHERE probe_until IS NOT NULL") == 0


def test_a_fetch_that_breaks_leaves_the_next_call_to_probe(db: Database, opened: Open):
    source = MemorySource(broken=Transient("cut"))
    found = opened(source)
    found.profile()
    rows(db, "UPDATE budgets SET rest_until = now() WHERE scope LIKE 'mailbox:%'")
    with pytest.raises(Transient, match="cut"):
        found.fetch([Listed("a")])
    assert value(db, "SELECT count(*) FROM budgets WHERE probe_until IS NOT NULL") == 0
    assert found.fetch([]) == []


def test_an_imap_server_is_a_project_whose_bytes_only_google_limits(db: Database, mine: UUID):
    for host, limited in (("mail.example.org", False), ("imap.gmail.com", True)):
        Meters(db, SystemClock()).meter(mine, f"imap:{host}", Lane.LIVE)
        found = rows(db, "SELECT bytes_per_user_day FROM projects WHERE name = :name", name=f"imap:{host}")
        assert bool(found) is not limited
