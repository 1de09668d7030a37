"""The Gmail source against a real HTTP server: what it reads, what it asks for, and what it says when things fail."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from models.enums import QuotaProfile
from pipeline.adapters.gmail import GmailSource
from pipeline.adapters.gmail_credentials import load
from pipeline.adapters.gmail_errors import TooManyAtOnce
from pipeline.adapters.meter import NullMeter
from pipeline.core.quota import COSTS
from pipeline.ports import Fetched, Label, Listed, Missed, Span
from pipeline.runtime.errors import (
    CursorExpired,
    FieldpostError,
    Forbidden,
    Gone,
    NeedsAuthorization,
    OutOfBudget,
    PageExpired,
    Permanent,
    Suspended,
    Throttled,
    Transient,
)
from tests.adapters.desk import ADDRESS, LETTERS, Desk
from tests.adapters.mail import letter
from tests.gmail_server import FaultKind, GmailServer


def errors(outcomes: object) -> list[type[Exception] | None]:
    assert isinstance(outcomes, list)
    return [type(each.error) if isinstance(each, Missed) else None for each in outcomes]


def test_the_profile_tells_the_mailbox_and_its_newest_history(full: Desk) -> None:
    profile = full.source.profile()
    assert (profile.address, profile.cursor) == (ADDRESS, str(full.mailbox.history_id))


def test_credentials_of_another_mailbox_are_refused(desk: Desk) -> None:
    other = desk.open("someone.else@example.org")
    with pytest.raises(NeedsAuthorization, match=r"belong to support@example.org, not to someone.else@example.org"):
        other.profile()


READINGS: list[Callable[[GmailSource, str], object]] = [
    lambda source, _: source.list_page(None, limit=5),
    lambda source, cursor: source.changes(cursor, None),
    lambda source, _: source.labels(),
    lambda source, _: source.watch("projects/acme/topics/mail"),
]


@pytest.mark.parametrize("read", READINGS)
@pytest.mark.fault("F-47")
def test_nothing_is_read_with_the_credentials_of_another_account(
    full: Desk, read: Callable[[GmailSource, str], object]
) -> None:
    other = full.open("someone.else@example.org")
    for _ in range(2):
        with pytest.raises(NeedsAuthorization, match="connect the right account"):
            read(other, str(full.mailbox.history_id))
    outcomes = other.fetch([Listed(each) for each in full.mailbox.ids()])
    assert set(errors(outcomes)) == {NeedsAuthorization}
    assert {method for method, _, _ in full.calls} == {"getProfile"}


def test_whose_the_credentials_are_is_asked_once_however_many_threads_begin(full: Desk) -> None:
    begin = threading.Barrier(4)

    def read() -> None:
        begin.wait()
        full.source.list_page(None, limit=1)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    full.source.fetch(full.items())
    assert full.statuses("getProfile") == {"200": 1}


def test_an_owner_that_could_not_be_asked_is_asked_again_before_anything_is_read(full: Desk) -> None:
    number = full.server.faults.add(FaultKind.ERROR_503, method="getProfile")
    assert set(errors(full.source.fetch([Listed(each) for each in full.mailbox.ids()]))) == {Transient}
    full.server.faults.remove(number)
    assert set(errors(full.source.fetch(full.items()))) == {None}


def test_a_fetch_returns_raw_bytes_labels_thread_and_arrival_in_the_order_asked(full: Desk) -> None:
    items = full.items()
    outcomes = full.source.fetch(items)
    assert [each.raw for each in outcomes if isinstance(each, Fetched)] == LETTERS[::-1]
    newest = outcomes[0]
    assert isinstance(newest, Fetched)
    assert (newest.labels, newest.thread_id) == (("INBOX", "UNREAD"), items[0].thread_id)
    assert newest.internal_at == datetime(2026, 1, 7, tzinfo=UTC)


@pytest.mark.parametrize("padded", [True, False])
def test_every_byte_survives_with_and_without_base64_padding(desk: Desk, padded: bool) -> None:
    raws = [b"Subject: x\n\n" + bytes(range(256)) * 3 + b"z" * number for number in range(4)] + [os.urandom(300_000)]
    desk.server.world.padded_base64 = padded
    ids = [desk.mailbox.add(raw) for raw in raws]
    outcomes = desk.source.fetch([Listed(each) for each in ids])
    assert [each.raw for each in outcomes if isinstance(each, Fetched)] == raws


def test_spam_and_trash_are_listed_too(full: Desk) -> None:
    spam = full.mailbox.add(letter(50), labels=("SPAM",), at=datetime(2026, 2, 1, tzinfo=UTC))
    trash = full.mailbox.add(letter(51), labels=("TRASH",), at=datetime(2026, 2, 2, tzinfo=UTC))
    assert [item.provider_id for item in full.items()][:2] == [trash, spam]


def day(number: int) -> datetime:
    return datetime(2026, 1, 1 + number, tzinfo=UTC)


@pytest.mark.parametrize(
    ("span", "found"),
    [
        (Span(), [0, 1, 2, 3, 4, 5, 6]),
        (Span(after=day(5)), [5, 6]),
        (Span(before=day(2) - timedelta(seconds=2)), [0, 1]),
        (Span(day(2), day(5) - timedelta(seconds=2)), [2, 3, 4]),
        (Span(day(2) + timedelta(milliseconds=999), day(5) - timedelta(milliseconds=1)), [2, 3, 4, 5]),
        (Span(day(20), day(30)), []),
    ],
)
def test_a_span_names_all_that_lies_in_it_and_at_most_a_second_more(full: Desk, span: Span, found: list[int]) -> None:
    items = full.source.list_page(None, span=span, limit=500).items
    ids = full.mailbox.ids()
    assert sorted(ids.index(item.provider_id) for item in items) == found


def test_a_label_narrows_the_listing_to_what_carries_it(full: Desk) -> None:
    spam = full.mailbox.add(letter(50), labels=("SPAM",), at=day(30))
    full.mailbox.modify(full.mailbox.ids()[0], add=("STARRED",))
    assert [item.provider_id for item in full.source.list_page(None, limit=9, label_id="SPAM").items] == [spam]
    assert [item.provider_id for item in full.source.list_page(None, limit=9, label_id="STARRED").items] == [
        full.mailbox.ids()[0]
    ]


def test_labels_tell_the_providers_own_counts(full: Desk) -> None:
    own = full.mailbox.create_label("Repairs")
    full.mailbox.modify(full.mailbox.ids()[0], add=(own,), remove=("UNREAD",))
    counts = {label.label_id: label for label in full.source.labels()}
    assert counts[own] == Label(own, "Repairs", 1)
    assert (counts["INBOX"].messages, counts["UNREAD"].messages, counts["TRASH"].messages) == (7, 6, 0)
    assert full.statuses("labels.list") == {"200": 1}
    assert full.statuses("labels.get") == {"200": len(counts)}


def test_a_label_deleted_while_labels_are_counted_is_left_out(full: Desk) -> None:
    full.source.profile()
    full.server.faults.add(FaultKind.NOT_FOUND_404, method="labels.get", times=1)
    assert "INBOX" not in {label.label_id for label in full.source.labels()}


def test_a_watch_lasts_seven_days_and_is_renewed_on_the_same_topic(full: Desk) -> None:
    topic = "projects/acme/topics/mail"
    for _ in range(2):
        watch = full.source.watch(topic)
        assert watch.cursor == str(full.mailbox.history_id)
        assert timedelta(days=6, hours=23) < watch.expires_at - full.clock.now() < timedelta(days=7, hours=1)
    assert full.mailbox.watched is not None
    with pytest.raises(Permanent, match=r"Only one user push notification client.*topic here"):
        full.source.watch("projects/acme/topics/other")


def test_gmail_cannot_be_waited_on(desk: Desk) -> None:
    with pytest.raises(Permanent, match="push"):
        desk.source.wait_for_news(timedelta(seconds=1))


def test_a_page_never_asks_for_more_than_gmail_allows(full: Desk) -> None:
    assert len(full.source.list_page(None, limit=100_000).items) == len(LETTERS)
    page = full.source.list_page(None, limit=0)
    assert len(page.items) == 1
    assert page.next_cursor is not None


def test_an_empty_mailbox_has_an_empty_last_page(desk: Desk) -> None:
    page = desk.source.list_page(None, limit=100)
    assert (list(page.items), page.next_cursor) == ([], None)
    assert desk.source.fetch([]) == []


@pytest.mark.fault("F-46")
def test_a_page_token_that_expired_restarts_the_listing(full: Desk) -> None:
    token = full.source.list_page(None, limit=2).next_cursor
    full.server.page_tokens.expire()
    for cursor in (token, "nonsense"):
        with pytest.raises(PageExpired):
            full.source.list_page(cursor, limit=2)


def test_history_tells_what_was_added_deleted_and_labelled(full: Desk) -> None:
    cursor = full.source.profile().cursor
    assert cursor is not None
    known = full.mailbox.ids()
    new = full.mailbox.add(letter(60))
    full.mailbox.delete(known[0])
    full.mailbox.modify(known[1], add=("STARRED",))
    full.mailbox.modify(known[1], remove=("INBOX", "UNREAD"))
    full.mailbox.modify(known[2], remove=("INBOX", "UNREAD"))
    brief = full.mailbox.add(letter(61))
    full.mailbox.delete(brief)
    changes = full.source.changes(cursor, None)
    assert [item.provider_id for item in changes.added] == [new, brief]
    assert list(changes.deleted) == [known[0], brief]
    assert changes.labels == {known[1]: ("STARRED",), known[2]: ()}
    assert (changes.cursor, changes.next_page) == (str(full.mailbox.history_id), None)
    quiet = full.source.changes(changes.cursor, None)
    assert (list(quiet.added), list(quiet.deleted), quiet.labels, quiet.cursor) == ([], [], {}, changes.cursor)


def drained(desk: Desk, cursor: str) -> set[str]:
    added: set[str] = set()
    page = None
    while True:
        changes = desk.source.changes(cursor, page)
        added |= {item.provider_id for item in changes.added}
        page = changes.next_page
        if page is None:
            return added


@pytest.mark.parametrize(
    "kind", [FaultKind.EMPTY_HISTORY_PAGE, FaultKind.DUPLICATED_HISTORY, FaultKind.SHUFFLED_HISTORY]
)
@pytest.mark.fault("F-42")
def test_odd_pages_of_history_lose_nothing(full: Desk, kind: FaultKind) -> None:
    cursor = full.mailbox.history_id
    new = {full.mailbox.add(letter(number)) for number in range(100, 120)}
    full.server.faults.add(kind, times=3)
    assert drained(full, str(cursor)) == new


def test_history_longer_than_a_page_is_read_page_by_page(desk: Desk) -> None:
    cursor = desk.source.profile().cursor
    assert cursor is not None
    new = {desk.mailbox.add(letter(number)) for number in range(1100)}
    assert drained(desk, cursor) == new
    assert desk.statuses("history.list") == {"200": 3}


def test_a_forgotten_history_asks_for_a_resync(full: Desk) -> None:
    cursor = str(full.mailbox.history_id)
    full.mailbox.add(letter(70))
    full.mailbox.expire_history()
    with pytest.raises(CursorExpired):
        full.source.changes(cursor, None)


@pytest.mark.parametrize("cursor", ["", "0", "-1", "1.5", " 1", "x", "1" * 41, str(10**15), str(2**64), "\u0663"])
def test_a_cursor_that_never_was_one_asks_for_a_resync(full: Desk, cursor: str) -> None:
    with pytest.raises(CursorExpired):
        full.source.changes(cursor, None)


@pytest.mark.fault("F-43")
def test_a_message_deleted_between_listing_and_fetch_is_gone_alone(full: Desk) -> None:
    items = full.items()
    full.mailbox.delete(items[3].provider_id)
    assert errors(full.source.fetch(items)) == [None, None, None, Gone, None, None, None]
    assert full.statuses() == {"200": 6, "404": 1}


BLIPS = [
    FaultKind.ERROR_500,
    FaultKind.ERROR_503,
    FaultKind.TRUNCATED_JSON,
    FaultKind.WRONG_BASE64,
    FaultKind.RESET,
    FaultKind.LOST_REPLY,
    FaultKind.CUT_BODY,
]


@pytest.mark.parametrize("kind", BLIPS)
@pytest.mark.fault("F-38", "F-40")
def test_a_blip_is_tried_again_inside_the_same_attempt(full: Desk, kind: FaultKind) -> None:
    items = full.items()
    number = full.server.faults.add(kind, method="messages.get", times=2)
    outcomes = full.source.fetch(items)
    assert [each.raw for each in outcomes if isinstance(each, Fetched)] == LETTERS[::-1]
    assert full.server.faults.hits(number) == 2
    assert sum(full.clock.waits, timedelta()) < timedelta(seconds=2)


@pytest.mark.parametrize("kind", BLIPS)
@pytest.mark.fault("F-40", "F-45")
def test_a_blip_that_stays_harms_only_its_own_message(full: Desk, kind: FaultKind) -> None:
    items = full.items()
    full.server.faults.add(kind, method="messages.get", message_id=items[2].provider_id)
    assert errors(full.source.fetch(items)) == [None, None, Transient, None, None, None, None]
    full.server.faults.clear()
    assert errors(full.source.fetch(items[2:3])) == [None]


@pytest.mark.parametrize("kind", [FaultKind.ERROR_503, FaultKind.RESET, FaultKind.TRUNCATED_JSON])
@pytest.mark.parametrize(
    "read",
    [
        lambda desk: desk.source.profile(),
        lambda desk: desk.source.list_page(None, limit=5),
        lambda desk: desk.source.changes(str(desk.mailbox.history_id), None),
    ],
)
@pytest.mark.fault("F-38")
def test_a_provider_that_keeps_failing_passes_by_itself(
    full: Desk, kind: FaultKind, read: Callable[[Desk], object]
) -> None:
    full.source.profile()
    full.server.faults.add(kind, method="*")
    with pytest.raises(Transient):
        read(full)


def test_an_outage_is_transient_and_the_same_source_works_after_it(tmp_path: Path) -> None:
    server = GmailServer().start()
    desk = Desk(server, tmp_path)
    desk.mailbox.add(LETTERS[0])
    items = desk.items()
    server.stop()
    assert errors(desk.source.fetch(items)) == [Transient]
    with pytest.raises(Transient):
        desk.source.profile()
    with server:
        assert errors(desk.source.fetch(items)) == [None]
        desk.close()


THROTTLES = [
    FaultKind.RATE_LIMIT_403,
    FaultKind.USER_RATE_LIMIT_403,
    FaultKind.DAILY_LIMIT_403,
    FaultKind.BANDWIDTH_429,
]


@pytest.mark.parametrize("kind", THROTTLES)
@pytest.mark.fault("F-37", "F-45")
def test_throttling_ends_the_fetch_without_asking_for_the_rest(full: Desk, kind: FaultKind) -> None:
    items = full.items() * 20
    full.server.faults.add(kind, method="messages.get")
    found = Counter(errors(full.source.fetch(items)))
    assert found.keys() == {Throttled, OutOfBudget}
    assert found[Throttled] == sum(full.statuses().values()) <= 4
    assert {units for method, _, units in full.calls if method == "messages.get"} == {0}
    assert full.clock.waits == []


@pytest.mark.parametrize("told", [{"retry_after": 40.0}, {"retry_time_in_message": 40.0}])
@pytest.mark.fault("F-37")
def test_the_wait_gmail_asks_for_is_handed_on(full: Desk, told: dict[str, float]) -> None:
    items = full.items()
    full.server.faults.add(FaultKind.USER_RATE_LIMIT_403, method="messages.get", **told)  # type: ignore[arg-type]
    (missed, *_) = full.source.fetch(items)
    assert isinstance(missed, Missed)
    assert isinstance(missed.error, Throttled)
    assert timedelta(seconds=30) < missed.error.retry_after <= timedelta(seconds=41)


def test_too_many_calls_at_once_stop_those_that_were_told_and_lose_nothing(full: Desk) -> None:
    full.server.quota.max_concurrent = 1
    full.server.quota.latency = 0.01
    left = full.items()
    got: list[bytes] = []
    rounds = 0
    while left:
        outcomes = full.source.fetch(left)
        got += [each.raw for each in outcomes if isinstance(each, Fetched)]
        assert set(errors(outcomes)) <= {None, TooManyAtOnce}
        left = [item for item, each in zip(left, outcomes, strict=True) if isinstance(each, Missed)]
        rounds += 1
        assert rounds < 10
    assert sorted(got) == sorted(LETTERS)
    assert full.statuses()["429"] >= 1


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        (FaultKind.SUSPENDED_400, Suspended),
        (FaultKind.FORBIDDEN_403, NeedsAuthorization),
        (FaultKind.DOMAIN_POLICY_403, Forbidden),
        (FaultKind.UNAUTHENTICATED_401, NeedsAuthorization),
    ],
)
def test_a_mailbox_that_needs_a_person_is_not_asked_for_every_message(
    full: Desk, kind: FaultKind, error: type[FieldpostError]
) -> None:
    items = full.items() * 20
    full.server.faults.add(kind, method="messages.get")
    assert set(errors(full.source.fetch(items))) == {error}
    assert sum(full.statuses().values()) <= 4


def test_a_bad_request_buries_only_its_own_message(full: Desk) -> None:
    items = full.items()
    full.server.faults.add(FaultKind.BAD_REQUEST_400, message_id=items[0].provider_id)
    assert errors(full.source.fetch(items)) == [Permanent] + [None] * 6


def test_an_expired_token_is_renewed_once_without_anybody_noticing(full: Desk) -> None:
    items = full.items()
    full.server.tokens.expire()
    assert errors(full.source.fetch(items)) == [None] * 7
    assert full.statuses() == {"200": 7}


@pytest.mark.fault("F-47")
def test_revoked_consent_needs_a_person_and_works_again_after_it(full: Desk) -> None:
    items = full.items()
    full.server.tokens.revoke(ADDRESS)
    assert set(errors(full.source.fetch(items))) == {NeedsAuthorization}
    with pytest.raises(NeedsAuthorization, match="invalid_grant"):
        full.source.profile()
    full.server.tokens.restore(ADDRESS)
    assert errors(full.source.fetch(items)) == [None] * 7


def test_a_service_account_reads_for_its_mailbox(full: Desk, tmp_path: Path) -> None:
    key = json.loads(full.server.service_account_file(tmp_path / "key.json").read_text())
    source = GmailSource(ADDRESS, load(key, subject=ADDRESS), full.server.url)
    assert source.profile().address == ADDRESS
    source.close()


def test_connections_are_kept_and_at_most_four_calls_are_made_at_once(desk: Desk) -> None:
    for number in range(60):
        desk.mailbox.add(letter(number))
    desk.server.quota.latency = 0.001
    items = desk.items()
    for _ in range(3):
        assert set(errors(desk.source.fetch(items))) == {None}
    stats = desk.server.stats()
    assert int(str(stats["connections"])) <= 6
    peak = stats["peak_concurrency"]
    assert isinstance(peak, dict)
    assert peak[ADDRESS] <= 4


def test_a_mailbox_keeps_no_thread_between_fetches(full: Desk) -> None:
    full.source.fetch(full.items())
    assert [each.name for each in threading.enumerate() if each.name.startswith("gmail_")] == []


def test_a_source_that_was_closed_works_on_and_keeps_no_connection(full: Desk) -> None:
    items = full.items()
    idle = full.source._calls._idle
    assert idle.qsize() == 1
    with full.source._calls._connection():
        full.source.close()
    assert idle.qsize() == 0
    assert all(isinstance(each, Fetched) for each in full.source.fetch(items))
    assert idle.qsize() == 0


def test_calls_and_units_are_counted_as_the_provider_counts_them(full: Desk) -> None:
    items = full.items()
    full.source.fetch(items)
    full.source.profile()
    full.source.changes(str(full.mailbox.history_id), None)
    labels = len(full.source.labels())
    full.source.watch("projects/acme/topics/mail")
    assert Counter(method for method, _, _ in full.calls) == {
        "messages.list": 1,
        "messages.get": 7,
        "getProfile": 2,
        "history.list": 1,
        "labels.list": 1,
        "labels.get": labels,
        "watch": 1,
    }
    assert sum(units for _, _, units in full.calls) == 5 + 7 * 20 + 2 * 1 + 2 + 1 + labels + 100
    full.calls.clear()
    older = full.open(ADDRESS, meter=NullMeter(COSTS[QuotaProfile.BEFORE_2026_05]))
    older.fetch(items)
    assert sum(units for _, _, units in full.calls) == 1 + 7 * 5
