"""What every source of mail promises, whatever it reads from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.adapters.files import FileSource
from pipeline.adapters.gmail import GmailSource
from pipeline.adapters.gmail_credentials import load
from pipeline.ports import Fetched, Listed, MailSource, Missed
from pipeline.runtime.errors import Gone, PageExpired
from tests.adapters.mail import letter, write_folder, write_maildir, write_mbox
from tests.gmail_server import GmailServer

ADDRESS = "support@example.org"
LETTERS = [letter(number) for number in range(23)]

Source = tuple[MailSource, Callable[[], MailSource]]


def files(path: Path) -> Callable[[], MailSource]:
    return lambda: FileSource([path], path.parent / "spool", address=ADDRESS)


@pytest.fixture(params=["mbox", "mbox.gz", "maildir", "folder", "gmail"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], MailSource]]:
    """Yield what opens the same mailbox anew, as another process would."""
    sources: list[MailSource] = []

    def kept(make: Callable[[], MailSource]) -> Callable[[], MailSource]:
        def open_one() -> MailSource:
            sources.append(make())
            return sources[-1]

        return open_one

    if request.param == "gmail":
        with GmailServer() as server:
            for number, raw in enumerate(LETTERS):
                server.mailbox(ADDRESS).add(raw, at=datetime(2026, 1, 1 + number, tzinfo=UTC))
            data = json.loads(server.authorized_user_file(tmp_path / "user.json", ADDRESS).read_text())
            yield kept(lambda: GmailSource(ADDRESS, load(data), server.url))
            for source in sources:
                source.close()
    else:
        forms = {"mbox": write_mbox, "mbox.gz": write_mbox, "maildir": write_maildir, "folder": write_folder}
        yield kept(files(forms[request.param](tmp_path / f"mail.{request.param.partition('.')[2]}", LETTERS)))
        for source in sources:
            source.close()


def pages(source: MailSource, limit: int) -> list[list[Listed]]:
    found: list[list[Listed]] = []
    cursor = None
    while True:
        page = source.list_page(cursor, limit=limit)
        found.append(list(page.items))
        cursor = page.next_cursor
        if cursor is None:
            return found


@pytest.mark.parametrize("limit", [1, 5, 23, 24, 500])
def test_pages_of_any_size_list_everything_once_newest_first(opened: Callable[[], MailSource], limit: int) -> None:
    source = opened()
    found = pages(source, limit)
    assert all(len(page) <= limit for page in found)
    items = [item for page in found for item in page]
    outcomes = source.fetch(items)
    assert [each.raw for each in outcomes if isinstance(each, Fetched)] == LETTERS[::-1]
    assert len({item.provider_id for item in items}) == len(LETTERS)


def test_a_listing_is_the_same_every_time_and_in_another_process(opened: Callable[[], MailSource]) -> None:
    first = opened()
    expected = pages(first, 4)
    assert pages(first, 4) == expected
    assert pages(opened(), 4) == expected


def test_a_listing_goes_on_in_another_process(opened: Callable[[], MailSource]) -> None:
    page = opened().list_page(None, limit=10)
    rest = opened().list_page(page.next_cursor, limit=100)
    assert len({item.provider_id for item in [*page.items, *rest.items]}) == len(LETTERS)
    assert rest.next_cursor is None


def test_outcomes_stand_in_the_order_of_the_items_and_a_strange_id_harms_no_other(
    opened: Callable[[], MailSource],
) -> None:
    source = opened()
    (items,) = pages(source, 100)
    strange = Listed("0" * 16)
    asked = [*items[5:], strange, *items[:5], items[0]]
    outcomes = source.fetch(asked)
    assert [each.provider_id for each in outcomes] == [item.provider_id for item in asked]
    missed = [each for each in outcomes if isinstance(each, Missed)]
    assert [(each.provider_id, type(each.error)) for each in missed] == [(strange.provider_id, Gone)]


def test_another_process_fetches_what_this_one_listed(opened: Callable[[], MailSource]) -> None:
    (items,) = pages(opened(), 100)
    outcomes = opened().fetch(items)
    assert [each.raw for each in outcomes if isinstance(each, Fetched)] == LETTERS[::-1]
    times = [each.internal_at for each in outcomes if isinstance(each, Fetched)]
    assert all(time is not None and time.tzinfo is UTC for time in times)


def test_reading_moves_no_cursor(opened: Callable[[], MailSource]) -> None:
    source = opened()
    before = source.profile()
    assert before.address == ADDRESS
    expected = pages(source, 5)
    source.fetch([item for page in expected for item in page])
    assert source.profile() == before
    assert pages(source, 5) == expected


def test_a_cursor_nobody_gave_out_restarts_the_listing(opened: Callable[[], MailSource]) -> None:
    with pytest.raises(PageExpired):
        opened().list_page("not a cursor", limit=5)
