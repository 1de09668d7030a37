"""The Gmail source against a Gmail that others wrote: everything it has is read, over single calls only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.adapters.gmail import GmailSource
from pipeline.adapters.gmail_credentials import load
from pipeline.ports import ALL, Fetched, Label, Listed, Missed, Span
from pipeline.runtime.errors import CursorExpired, Gone, NeedsAuthorization, Permanent
from tests.adapters.mail import letter
from tests.other_gmail import OtherGmail

ADDRESS = "support@example.org"
FIRST_AT = datetime(2026, 1, 1, tzinfo=UTC)
#: Bytes that a server that reads mail and writes it anew would change.
LETTERS = [
    letter(0),
    letter(1, "Caf\u00e9.\r\n"),
    letter(2, "no end of line"),
    letter(3, "x" * 200_000),
    b"Subject: =?utf-8?b?w6k=?=\r\nX-Odd:   kept  \r\n\r\n" + bytes(range(256)),
    b"Subject: parts\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b\n\ntwo\n--b--\n",
    letter(6, "Last.\n"),
]

Open = Callable[..., GmailSource]


@pytest.fixture
def gmail(tmp_path: Path) -> Iterator[OtherGmail]:
    """Yield a server whose mailbox has a letter a day, the last one newest."""
    with OtherGmail(ADDRESS, tmp_path) as server:
        for number, raw in enumerate(LETTERS):
            server.insert(raw, at=FIRST_AT + timedelta(days=number))
        yield server


@pytest.fixture
def opened(gmail: OtherGmail) -> Iterator[Open]:
    """Yield what opens the mailbox."""
    sources: list[GmailSource] = []

    def open_one(address: str = ADDRESS, owner: str = ADDRESS) -> GmailSource:
        sources.append(GmailSource(address, load(gmail.credentials(owner)), gmail.url))
        return sources[-1]

    yield open_one
    for source in sources:
        source.close()


def listed(source: GmailSource, limit: int, span: Span = ALL, label_id: str | None = None) -> list[Listed]:
    items: list[Listed] = []
    cursor = None
    while True:
        page = source.list_page(cursor, span=span, limit=limit, label_id=label_id)
        assert len(page.items) <= limit
        items += page.items
        cursor = page.next_cursor
        if cursor is None:
            return items


def raws(source: GmailSource, items: list[Listed]) -> list[bytes]:
    outcomes = source.fetch(items)
    assert all(isinstance(each, Fetched) for each in outcomes), outcomes
    return [each.raw for each in outcomes if isinstance(each, Fetched)]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8, 500])
def test_pages_of_any_size_list_everything_and_every_byte_is_fetched(opened: Open, limit: int) -> None:
    source = opened()
    assert raws(source, listed(source, limit)) == LETTERS[::-1]


def test_the_profile_tells_whose_mailbox_it_is_and_another_account_reads_nothing(
    gmail: OtherGmail, opened: Open
) -> None:
    assert opened().profile().address == ADDRESS
    stranger = opened(ADDRESS, f"other.{ADDRESS}")
    before = gmail.calls["messages"]
    with pytest.raises(NeedsAuthorization, match="connect the right account"):
        listed(stranger, 5)
    assert gmail.calls["messages"] == before


def test_each_mail_is_got_by_a_call_of_its_own(gmail: OtherGmail, opened: Open) -> None:
    source = opened()
    source.fetch(listed(source, 500))
    assert gmail.calls["messages/*"] == len(LETTERS)
    assert not [path for path in gmail.calls if "batch" in path]


def test_a_span_names_all_that_lies_in_it(opened: Open) -> None:
    source = opened()
    span = Span(FIRST_AT + timedelta(days=2), FIRST_AT + timedelta(days=5) - timedelta(seconds=2))
    assert raws(source, listed(source, 2, span)) == LETTERS[2:5][::-1]
    assert listed(source, 2, Span(after=FIRST_AT + timedelta(days=50))) == []


def test_spam_and_trash_are_listed_and_a_label_narrows_the_listing(gmail: OtherGmail, opened: Open) -> None:
    source = opened()
    own = gmail.create_label("Repairs")
    spam, mine = gmail.insert(letter(50), ("SPAM",)), gmail.insert(letter(51), ("INBOX", own))
    trashed = gmail.insert(letter(52))
    gmail.trash(trashed)
    assert {spam, mine, trashed} < {item.provider_id for item in listed(source, 3)}
    assert [item.provider_id for item in listed(source, 3, label_id=own)] == [mine]
    assert [item.provider_id for item in listed(source, 3, label_id="TRASH")] == [trashed]
    counts = {label.label_id: label for label in source.labels()}
    assert counts[own] == Label(own, "Repairs", 1)
    assert counts["SPAM"].messages == 1


def test_history_tells_new_mail_deletions_and_label_changes(gmail: OtherGmail, opened: Open) -> None:
    source = opened()
    known = [item.provider_id for item in listed(source, 500)]
    cursor = source.profile().cursor
    assert cursor is not None
    new = gmail.insert(letter(60))
    gmail.modify(known[0], add=("STARRED",), remove=("UNREAD",))
    gmail.trash(known[1])
    gmail.delete(known[2])
    changes = source.changes(cursor, None)
    assert [item.provider_id for item in changes.added] == [new]
    assert list(changes.deleted) == [known[2]]
    assert {one: sorted(labels) for one, labels in changes.labels.items()} == {
        one: gmail.labels_of(one) for one in known[:2]
    }
    assert changes.next_page is None
    quiet = source.changes(changes.cursor, None)
    assert (list(quiet.added), list(quiet.deleted), quiet.labels, quiet.cursor) == ([], [], {}, changes.cursor)


def test_history_of_several_pages_loses_nothing(gmail: OtherGmail, opened: Open) -> None:
    source = opened()
    cursor = source.profile().cursor
    assert cursor is not None
    new = {gmail.insert(letter(number)) for number in range(1_000, 1_510)}
    added: set[str] = set()
    page, pages = None, 0
    while True:
        changes = source.changes(cursor, page)
        added |= {item.provider_id for item in changes.added}
        page, pages = changes.next_page, pages + 1
        if page is None:
            break
    assert (added, pages) == (new, 2)


def test_reading_moves_no_cursor_and_a_cursor_ahead_of_the_mailbox_asks_for_a_resync(opened: Open) -> None:
    source = opened()
    before = source.profile()
    source.fetch(listed(source, 2))
    assert source.profile() == before
    assert before.cursor is not None
    with pytest.raises(CursorExpired):
        source.changes(str(int(before.cursor) + 1), None)


def test_a_vanished_message_is_gone_alone(gmail: OtherGmail, opened: Open) -> None:
    source = opened()
    items = listed(source, 500)
    gmail.delete(items[1].provider_id)
    errors = [type(each.error) if isinstance(each, Missed) else None for each in source.fetch(items[:3])]
    assert errors == [None, Gone, None]


def test_a_watch_names_the_history_of_its_moment(opened: Open) -> None:
    source = opened()
    watch = source.watch("projects/acme/topics/mail")
    assert watch.cursor == source.profile().cursor
    assert watch.expires_at > FIRST_AT
    with pytest.raises(Permanent):
        source.wait_for_news(timedelta(seconds=1))
