"""The IMAP source against a real Dovecot: what it lists, follows and fetches, and how it logs in."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from imapclient import IMAPClient

from pipeline.adapters.imap import ImapSource
from pipeline.adapters.imap_credentials import load
from pipeline.core.imap_names import Place, place_of
from pipeline.ports import Fetched, Label, Listed, Missed, Span
from pipeline.runtime.errors import (
    CursorExpired,
    Gone,
    NeedsAuthorization,
    PageExpired,
    Permanent,
    Reach,
    Throttled,
    Transient,
    UserError,
)
from tests.adapters.imap_box import Ledger, bytes_of, letter, listing, truth
from tests.dovecot import HOST, PASSWORD, Dovecot, dovecot
from tests.token_server import TokenServer, token_server
from tests.worker_process import until

#: Changes what the mailbox goes through; printed by a failing test.
_SEEDS = range(4)

LETTERS = [letter(number) for number in range(23)]
FULL = "Prüfung & 日本/alt"


class Account:
    """One account: another program that changes it, and sources that read it."""

    def __init__(self, server: Dovecot, user: str) -> None:
        self.server, self.user = server, user
        self.client: IMAPClient = server.client(user)
        self.opened: list[ImapSource] = []
        self.calls: list[tuple[str, str, int]] = []

    def open(
        self, login: dict[str, object] | None = None, tls: ssl.SSLContext | None = None, **source: object
    ) -> ImapSource:
        place = {"host": HOST, "port": self.server.port, "security": "none"} | source
        credentials = load(login or {"type": "imap_password", "password": PASSWORD})
        made = ImapSource(self.user, place, credentials, tls=tls, on_call=lambda *call: self.calls.append(call))
        self.opened.append(made)
        return made

    def add(self, *numbers: int, folder: str = "INBOX", flags: tuple[str, ...] = ()) -> None:
        for number in numbers:
            self.client.append(folder, letter(number), flags)

    def expunge(self, uids: list[int], folder: str = "INBOX") -> None:
        self.client.select_folder(folder)
        self.client.delete_messages(uids, silent=True)
        self.client.uid_expunge(uids)
        self.client.close_folder()

    def flag(self, uids: list[int], *flags: str, folder: str = "INBOX") -> None:
        self.client.select_folder(folder)
        self.client.set_flags(uids, flags, silent=True)
        self.client.close_folder()

    def move(self, uids: list[int], source: str, target: str) -> None:
        self.client.select_folder(source)
        self.client.move(uids, target)
        self.client.close_folder()

    def uids(self, folder: str = "INBOX") -> list[int]:
        self.client.select_folder(folder, readonly=True)
        found = list(self.client.search("ALL"))
        self.client.close_folder()
        return found

    def close(self) -> None:
        for source in self.opened:
            source.close()
        self.client.logout()


@pytest.fixture(scope="module")
def server() -> Iterator[Dovecot]:
    """One server for the module; each test has an account of its own."""
    with dovecot() as found:
        yield found


@pytest.fixture(scope="module")
def plain_server() -> Iterator[Dovecot]:
    """A server that offers neither CONDSTORE nor IDLE."""
    with dovecot(without=("CONDSTORE", "IDLE")) as found:
        yield found


@pytest.fixture
def account(server: Dovecot, request: pytest.FixtureRequest) -> Iterator[Account]:
    """An empty account."""
    found = Account(server, _user(request))
    yield found
    found.close()


@pytest.fixture(params=["condstore", "plain"])
def any_account(request: pytest.FixtureRequest) -> Iterator[Account]:
    """An empty account, at a server with and at one without CONDSTORE."""
    name = "server" if request.param == "condstore" else "plain_server"
    found = Account(request.getfixturevalue(name), _user(request))
    yield found
    found.close()


def _user(request: pytest.FixtureRequest) -> str:
    return f"u{abs(hash(request.node.nodeid)):x}@example.org"


def errors(outcomes: object) -> list[type[Exception] | None]:
    assert isinstance(outcomes, list)
    return [type(each.error) if isinstance(each, Missed) else None for each in outcomes]


# Listing


@pytest.mark.parametrize("limit", [1, 5, 20, 23, 24, 500])
def test_pages_of_any_size_list_everything_once_newest_first(account: Account, limit: int) -> None:
    account.add(*range(23))
    account.expunge([3, 4, 5, 6, 7, 8, 9, 10, 11])
    source = account.open()
    pages = listing(source, limit)
    assert all(len(page) <= limit for page in pages)
    items = [item for page in pages for item in page]
    assert bytes_of(source.fetch(items)) == [*LETTERS[22:10:-1], LETTERS[1], LETTERS[0]]
    assert all(item.locator is None and item.thread_id is None for item in items)


def test_inbox_is_listed_first_and_then_every_other_folder(account: Account) -> None:
    for name in ("Archive", FULL, "Junk"):
        account.client.create_folder(name)
    account.add(1, folder="Archive")
    account.add(2, folder=FULL)
    account.add(3)
    account.add(4, folder="Junk", flags=("\\Seen",))
    items = [item for page in listing(account.open(), 1) for item in page]
    assert [(place_of(item.provider_id).folder, item.labels) for item in items] == [
        ("INBOX", ("INBOX", "UNREAD")),
        ("Archive", ("Archive", "UNREAD")),
        ("Junk", ("Junk", "SPAM")),
        (FULL, (FULL, "UNREAD")),
    ]


def test_a_listing_goes_on_in_another_process_while_mail_comes_and_goes(account: Account) -> None:
    account.add(*range(20))
    first = account.open().list_page(None, limit=8)
    account.add(20, 21)
    account.expunge([2, 15])
    rest = account.open().list_page(first.next_cursor, limit=100)
    found = [place_of(item.provider_id).uid for item in [*first.items, *rest.items]]
    assert found == [uid for uid in range(20, 0, -1) if uid != 2]
    assert rest.next_cursor is None


def test_a_label_narrows_a_listing_to_its_folder(account: Account) -> None:
    account.client.create_folder("Junk")
    account.add(1)
    account.add(2, 3, folder="Junk")
    source = account.open()
    for label_id, uids in {"Junk": [2, 1], "SPAM": [2, 1], "INBOX": [1], "nowhere": []}.items():
        page = source.list_page(None, limit=9, label_id=label_id)
        assert [place_of(item.provider_id).uid for item in page.items] == uids
        assert page.next_cursor is None


def test_a_span_narrows_by_days_and_leaves_out_nothing_it_asks_for(account: Account) -> None:
    for day in range(1, 21):
        account.client.append("INBOX", letter(day), (), datetime(2026, 3, day, 12, tzinfo=UTC))
    source = account.open()
    after = Span(after=datetime(2026, 3, 15, 0, 30, tzinfo=UTC))
    uids = [place_of(item.provider_id).uid for page in listing(source, 4, span=after) for item in page]
    assert set(range(15, 21)) <= set(uids) <= set(range(13, 21))
    assert uids == sorted(uids, reverse=True)
    assert source.has_dates is False


@pytest.mark.parametrize("cursor", ["", "not a cursor", "INBOX/1", "INBOX/1/0", "INBOX/x/5", "/1/5"])
def test_a_cursor_nobody_gave_out_restarts_the_listing(account: Account, cursor: str) -> None:
    with pytest.raises(PageExpired):
        account.open().list_page(cursor, limit=5)


def test_a_folder_made_anew_ends_its_listing_and_the_history(account: Account) -> None:
    account.client.create_folder("Work")
    account.add(*range(9), folder="Work")
    source = account.open()
    cursor = source.profile().cursor
    assert cursor is not None
    page = source.list_page(None, limit=5)
    account.client.delete_folder("Work")
    account.client.create_folder("Work")
    account.add(*range(9), folder="Work")
    with pytest.raises(PageExpired):
        source.list_page(page.next_cursor, limit=5)
    with pytest.raises(CursorExpired, match="Work was made anew"):
        source.changes(cursor, None)
    assert errors(source.fetch(page.items)) == [Gone] * 5


def test_only_the_folders_that_the_mailbox_names_are_read(account: Account) -> None:
    account.client.create_folder("Work")
    account.add(1)
    account.add(2, folder="Work")
    source = account.open(folders=["Work", "nowhere"])
    assert source.labels() == [Label("Work", "Work", 1)]
    assert [item.labels[0] for page in listing(source) for item in page] == ["Work"]


def test_labels_are_the_folders_with_their_counts(account: Account) -> None:
    account.client.create_folder("Junk")
    account.add(1, 2, 3, folder="Junk")
    assert account.open().labels() == [Label("INBOX", "INBOX", 0), Label("Junk", "Junk", 3)]


# Reading


def test_reading_anything_changes_nothing_at_the_server_and_moves_no_cursor(account: Account) -> None:
    account.add(*range(5))
    account.client.select_folder("INBOX", readonly=True)
    before = account.client.get_flags([1, 2, 3, 4, 5])
    account.client.close_folder()
    source = account.open()
    profile = source.profile()
    assert (profile.address, profile.messages) == (account.user, 5)
    source.fetch([item for page in listing(source) for item in page])
    source.labels()
    assert profile.cursor is not None
    source.changes(profile.cursor, None)
    assert source.profile() == profile
    assert account.open().profile() == profile
    account.client.select_folder("INBOX", readonly=True)
    assert account.client.get_flags([1, 2, 3, 4, 5]) == before
    assert before[1] == (b"\\Recent",)


def test_a_message_comes_with_its_exact_bytes_date_and_labels(account: Account) -> None:
    raw = b"Subject: odd\r\n\r\n" + bytes(range(1, 256)) * 300 + b'\r\n{3}\r\n"(\\\r\n'
    raw = raw.replace(b"\r\n", b"\n").replace(b"\r", b"").replace(b"\n", b"\r\n")
    account.client.append("INBOX", raw, ("\\Seen", "\\Flagged"), datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC))
    source = account.open()
    (found,) = source.fetch(listing(source)[0])
    assert isinstance(found, Fetched)
    assert found.raw == raw
    assert found.internal_at == datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
    assert found.internal_at.tzinfo is UTC
    assert found.labels == ("INBOX", "STARRED")


def test_outcomes_stand_in_order_and_strange_or_vanished_ids_harm_no_other(account: Account) -> None:
    account.add(*range(9))
    source = account.open()
    items = listing(source)[0]
    account.expunge([4])
    uidvalidity = place_of(items[0].provider_id).uidvalidity
    strange = [
        Listed("0" * 16),
        Listed(Place("INBOX", uidvalidity, 999).text()),
        Listed(Place("INBOX", uidvalidity + 1, 1).text()),
        Listed(Place("nowhere", uidvalidity, 1).text()),
    ]
    asked = [*items[4:], *strange, *items[:4], items[0]]
    outcomes = source.fetch(asked)
    assert [each.provider_id for each in outcomes] == [item.provider_id for item in asked]
    gone = {each.provider_id for each in outcomes if isinstance(each, Missed) and type(each.error) is Gone}
    assert gone == {item.provider_id for item in [*strange, items[5]]}
    assert bytes_of([each for each in outcomes if isinstance(each, Fetched)]) == [
        LETTERS[place_of(item.provider_id).uid - 1] for item in asked if item.provider_id not in gone
    ]
    assert source.fetch([]) == []


def test_a_message_larger_than_allowed_is_refused_and_never_read(account: Account) -> None:
    account.add(1, 2)
    account.client.append("INBOX", letter(3, "x" * 5_000))
    source = account.open(max_message_bytes=2_000)
    assert errors(source.fetch(listing(source)[0])) == [Permanent, None, None]


def test_many_messages_are_read_in_bounded_pieces(account: Account) -> None:
    numbers = range(130)
    account.client.multiappend(
        "INBOX", [letter(number, "x" * 200_000 if number % 50 == 0 else "x") for number in numbers]
    )
    source = account.open()
    account.calls.clear()
    assert len(bytes_of(source.fetch(listing(source)[0]))) == 130
    assert account.calls.count(("imap.fetch", "ok", 0)) == 7


def test_threads_share_a_source_with_at_most_four_connections(account: Account) -> None:
    account.add(*range(20))
    source = account.open()
    items = listing(source)[0]
    found: list[list[bytes]] = []
    threads = [threading.Thread(target=lambda: found.append(bytes_of(source.fetch(items)))) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [LETTERS[19::-1]] * 12
    assert 1 <= account.calls.count(("imap.login", "ok", 0)) <= 4


# Following


def test_new_deleted_moved_and_flagged_mail_is_told_exactly(any_account: Account) -> None:
    account = any_account
    account.client.create_folder("Work")
    account.add(*range(12))
    ledger = Ledger.begin(account.open())
    assert ledger.labels == truth(account.client)
    (changes,) = ledger.follow()
    assert [*changes.added, *changes.deleted, *changes.labels] == []

    account.add(12, 13)
    account.expunge([2, 3])
    account.flag([4], "\\Seen")
    account.flag([5], "\\Flagged")
    account.move([6, 7], "INBOX", "Work")
    pages = ledger.follow()
    assert ledger.labels == truth(account.client)
    assert [len(page.added) for page in pages] == [2, 2]
    assert sorted(place_of(one).uid for one in pages[0].deleted) == [2, 3, 6, 7]
    assert sorted(place_of(one).uid for one in pages[0].labels) == [4, 5]


def test_mail_that_came_and_went_between_two_looks_leaves_no_trace(any_account: Account) -> None:
    account = any_account
    account.add(*range(3))
    ledger = Ledger.begin(account.open())
    account.add(3, 4)
    account.expunge([4, 5])
    (changes,) = ledger.follow()
    assert [*changes.added, *changes.deleted] == []
    account.add(5)
    ledger.follow()
    assert ledger.labels == truth(account.client)


def test_folders_that_come_go_and_change_their_names_are_followed(any_account: Account) -> None:
    account = any_account
    for name in ("Old", "Work", FULL):
        account.client.create_folder(name)
        account.add(1, 2, folder=name)
    ledger = Ledger.begin(account.open())
    account.client.delete_folder("Old")
    account.client.rename_folder(FULL, "Renamed")
    account.client.create_folder("New")
    account.add(3, folder="New")
    ledger.follow()
    assert ledger.labels == truth(account.client)
    assert {place_of(one).folder for one in ledger.labels} == {"Work", "Renamed", "New"}


def test_a_change_between_two_pages_is_told_by_this_reading_or_the_next(any_account: Account) -> None:
    account = any_account
    for name in ("A", "B", "C"):
        account.client.create_folder(name)
        account.add(1, 2, 3, folder=name)
    ledger = Ledger.begin(account.open())
    source, cursor = account.open(), ledger.cursor
    account.add(4, folder="A")
    account.add(4, folder="B")
    account.add(4, folder="C")
    first = source.changes(cursor, None)
    account.move([1], "C", "A")
    account.expunge([2], "A")
    second = source.changes(cursor, first.next_page)
    third = source.changes(cursor, second.next_page)
    assert third.next_page is None
    assert [len(page.added) for page in (first, second, third)] == [1, 1, 1]
    assert first.cursor == second.cursor == cursor
    ledger.cursor = third.cursor
    for page in (first, second, third):
        ledger.labels |= {item.provider_id: item.labels for item in page.added}
        ledger.labels = {one: labels for one, labels in ledger.labels.items() if one not in page.deleted}
    ledger.follow()
    assert ledger.labels == truth(account.client)


@pytest.mark.parametrize("seed", _SEEDS)
def test_whatever_a_mailbox_goes_through_the_ledger_equals_it(any_account: Account, seed: int) -> None:
    print(f"seed {seed}")
    account, chance = any_account, Random(seed)
    names = ["INBOX", "Work", "Junk", "Sent mail"]
    for name in names[1:]:
        account.client.create_folder(name)
    account.add(*range(30))
    ledger = Ledger.begin(account.open())
    for _ in range(12):
        for _ in range(chance.randrange(1, 6)):
            _happen(account, chance, names)
        ledger.follow()
        assert ledger.labels == truth(account.client)


def _happen(account: Account, chance: Random, names: list[str]) -> None:
    folder = chance.choice(names)
    uids = account.uids(folder)
    some = chance.sample(uids, min(len(uids), chance.randrange(1, 4)))
    kind = chance.randrange(4) if some else 0
    if kind == 0:
        account.add(*chance.sample(range(100), 2), folder=folder, flags=tuple(chance.sample(["\\Seen", "\\Draft"], 1)))
    elif kind == 1:
        account.expunge(some, folder)
    elif kind == 2:
        account.move(some, folder, chance.choice([name for name in names if name != folder]))
    else:
        account.flag(some, *chance.choice([("\\Seen",), (), ("\\Seen", "\\Flagged")]), folder=folder)
        if not account.client.has_capability("CONDSTORE"):
            account.add(1, folder=folder)  # outside INBOX some flags show only with the folder's next other change


@pytest.mark.parametrize("cursor", ["", "4711", "{}", '{"v":0,"kind":null,"folders":{},"pending":[]}'])
def test_a_cursor_of_another_source_leads_to_a_resync(account: Account, cursor: str) -> None:
    with pytest.raises(CursorExpired):
        account.open().changes(cursor, None)


# Waiting


def test_waiting_ends_when_mail_arrives(account: Account) -> None:
    source = account.open()
    assert source.wait_for_news(timedelta(0)) is False
    told: list[bool] = []
    waiting = threading.Thread(target=lambda: told.append(source.wait_for_news(timedelta(minutes=2))))
    waiting.start()
    account.add(1)
    waiting.join(60)
    assert told == [True]


def test_waiting_for_nothing_ends_in_time_and_tells_what_came_in_between(account: Account) -> None:
    source = account.open()
    assert source.wait_for_news(timedelta(seconds=0.2)) is False
    account.add(1)
    assert source.wait_for_news(timedelta(minutes=2)) is True
    assert source.wait_for_news(timedelta(seconds=0.2)) is False
    assert account.calls.count(("imap.login", "ok", 0)) == 1


def test_closing_ends_a_wait(account: Account) -> None:
    source = account.open()
    ended: list[Exception] = []

    def wait() -> None:
        try:
            source.wait_for_news(timedelta(minutes=2))
        except Transient as error:
            ended.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    until(lambda: ("imap.login", "ok", 0) in account.calls, "the wait to begin")
    source.close()
    waiting.join(60)
    assert len(ended) == 1


def test_a_server_without_idle_cannot_be_waited_on(plain_server: Dovecot) -> None:
    account = Account(plain_server, "idle@example.org")
    with pytest.raises(Permanent, match="IDLE"):
        account.open().wait_for_news(timedelta(minutes=2))
    with pytest.raises(Permanent):
        account.open().watch("projects/acme/topics/mail")
    account.close()


# Logging in


def test_a_wrong_password_needs_a_person(account: Account) -> None:
    with pytest.raises(NeedsAuthorization, match="connect the mailbox again") as caught:
        account.open({"type": "imap_password", "password": "something-else"}).profile()
    assert "something-else" not in str(caught.value)
    assert account.calls == [("imap.login", "needsauthorization", 0)]


def trusting(server: Dovecot) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(server.folder / "cert.pem"))


def test_mail_is_read_over_tls_from_the_start_and_after_starttls(account: Account, server: Dovecot) -> None:
    account.add(1)
    for place in ({"port": server.tls_port, "security": "tls"}, {"port": server.port, "security": "starttls"}):
        source = account.open(None, trusting(server), **place)
        assert bytes_of(source.fetch(listing(source)[0])) == [letter(1)]


def test_a_certificate_that_nobody_vouches_for_is_not_trusted(account: Account, server: Dovecot) -> None:
    for place in ({"port": server.tls_port, "security": "tls"}, {"port": server.port, "security": "starttls"}):
        with pytest.raises(Transient, match="certificate is not trusted"):
            account.open(None, None, **place).profile()


def test_mail_never_crosses_a_network_in_the_clear(account: Account) -> None:
    with pytest.raises(UserError, match="in the clear"):
        account.open(host="imap.example.org", security="none")


@pytest.fixture(scope="module")
def tokens() -> Iterator[TokenServer]:
    """What gives and checks access tokens."""
    with token_server() as found:
        yield found


@pytest.mark.parametrize("mechanisms", ["xoauth2 oauthbearer", "oauthbearer"])
def test_an_access_token_logs_in_and_is_renewed_when_it_is_refused(tokens: TokenServer, mechanisms: str) -> None:
    with dovecot(tokens=tokens.check_url, mechanisms=mechanisms) as server:
        account = Account(server, "oauth@example.org")
        account.add(1)
        source = account.open(tokens.credentials("oauth@example.org"))
        assert bytes_of(source.fetch(listing(source)[0])) == [letter(1)]
        source.close()
        tokens.forget_access_tokens()
        assert bytes_of(source.fetch(listing(source)[0])) == [letter(1)]
        source.close()
        tokens.forget_access_tokens()
        tokens.revoke()
        with pytest.raises(NeedsAuthorization, match="invalid_grant"):
            source.profile()
        tokens.restore()
        account.close()


def test_a_server_without_oauth_says_so(account: Account, tokens: TokenServer) -> None:
    with pytest.raises(Permanent, match="no login by OAuth2"):
        account.open(tokens.credentials(account.user)).profile()


def test_where_a_server_refuses_more_connections_those_that_are_open_are_shared() -> None:
    with dovecot(connections=2) as server:
        account = Account(server, "few@example.org")
        account.add(*range(20))
        source = account.open()
        items = listing(source)[0]
        found: list[list[bytes]] = []
        threads = [threading.Thread(target=lambda: found.append(bytes_of(source.fetch(items)))) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [LETTERS[19::-1]] * 6
        other = account.open()
        with pytest.raises(Throttled) as caught:
            other.labels()
        assert caught.value.reach is Reach.CALLS
        source.close()
        assert len(other.labels()) == 1
        account.close()


def test_while_nobody_calls_one_connection_is_kept(account: Account) -> None:
    account.add(*range(20))
    source = account.open()
    items = listing(source)[0]
    threads = [threading.Thread(target=lambda: source.fetch(items)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (kept,) = source._connections._pool._idle
    assert source._connections._pool._lent == set()
    source.labels()
    assert source._connections._pool._idle == [kept]
