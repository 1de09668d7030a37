"""The IMAP source where servers differ or fail: ids that stay, refusals, lost connections, changes under its eyes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from datetime import timedelta
from random import Random

import pytest

from pipeline.adapters import imap_client, imap_connections, imap_folders
from pipeline.adapters.imap import ImapSource
from pipeline.adapters.imap_client import ImapClient
from pipeline.adapters.imap_credentials import load
from pipeline.adapters.imap_errors import Silent
from pipeline.adapters.imap_pool import end
from pipeline.ports import Fetched, Listed, Missed
from pipeline.runtime.errors import (
    CursorExpired,
    FieldpostError,
    Forbidden,
    Gone,
    NeedsAuthorization,
    Permanent,
    Reach,
    Throttled,
    Transient,
)
from tests.adapters.imap_box import Ledger, bytes_of, letter, listing
from tests.imap_server import HOST, Box, ImapServer, imap_server

ADDRESS = "help@example.org"
_SEEDS = range(12)
PASSWORD = {"type": "imap_password", "password": "secret"}


def source_of(server: ImapServer, password: str = "secret", **place: object) -> ImapSource:
    where = {"host": HOST, "port": server.port, "security": "none", **place}
    return ImapSource(ADDRESS, where, load({"type": "imap_password", "password": password}))


@pytest.fixture(params=["OBJECTID", "X-GM-EXT-1"])
def stable(request: pytest.FixtureRequest) -> Iterator[ImapServer]:
    """A server whose messages keep their ids when they move."""
    with imap_server("CONDSTORE", request.param) as server:
        server.boxes |= {"Junk": Box(attributes="\\Junk"), "Work": Box()}
        yield server


@pytest.fixture
def server() -> Iterator[ImapServer]:
    """A server with nothing but the basics."""
    with imap_server() as found:
        yield found


def truth(server: ImapServer) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, box in server.boxes.items():
        for mail in box.mails:
            words = {name, *({"SPAM"} if name == "Junk" else ())}
            words |= {"UNREAD"} if "\\Seen" not in mail.flags else set()
            words |= {"STARRED"} if "\\Flagged" in mail.flags else set()
            found.setdefault(mail.one, set()).update(words)
    return found


def kept(ledger: Ledger) -> dict[str, set[str]]:
    return {one: set(labels) for one, labels in ledger.labels.items()}


# Ids that stay


def test_a_message_in_two_folders_is_one_id_with_both_labels(stable: ImapServer) -> None:
    stable.boxes["INBOX"].add("101", letter(1), "\\Seen")
    stable.boxes["Work"].add("101", letter(1))
    source = source_of(stable)
    items = [item for page in listing(source) for item in page]
    assert [(item.provider_id, item.locator) for item in items] == [("101", "INBOX/7/1"), ("101", "Work/7/1")]
    assert all(item.thread_id is not None and item.thread_id.endswith("101") for item in items)
    first, second = source.fetch(items)
    assert first == second
    assert isinstance(first, Fetched)
    assert (first.raw, first.labels, first.thread_id) == (letter(1), ("INBOX", "Work", "UNREAD"), items[0].thread_id)
    assert source.profile().messages == 1
    source.close()


def test_a_moved_message_keeps_its_id_and_gets_new_labels(stable: ImapServer) -> None:
    stable.boxes["INBOX"].add("101")
    stable.boxes["INBOX"].add("102")
    ledger = Ledger.begin(source_of(stable))
    stable.move("101", "INBOX", "Junk")
    pages = ledger.follow()
    assert [page.deleted for page in pages] == [()] or not any(page.deleted for page in pages)
    assert not any(page.added for page in pages)
    assert kept(ledger) == truth(stable) == {"101": {"Junk", "SPAM", "UNREAD"}, "102": {"INBOX", "UNREAD"}}
    ledger.source.close()


def test_a_message_that_moved_since_it_was_listed_is_fetched_where_it_is_now(stable: ImapServer) -> None:
    stable.boxes["INBOX"].add("101", letter(1))
    source = source_of(stable)
    items = listing(source)[0]
    stable.move("101", "INBOX", "Work")
    assert bytes_of(source.fetch(items)) == [letter(1)]
    stable.boxes["Work"].remove("101")
    (missed, strange) = source.fetch([*items, Listed("not an id")])
    assert isinstance(missed, Missed)
    assert isinstance(strange, Missed)
    assert type(missed.error) is type(strange.error) is Gone
    source.close()


def test_a_message_that_moves_into_a_folder_already_looked_at_is_not_deleted(stable: ImapServer) -> None:
    stable.boxes["Work"].add("101")
    ledger = Ledger.begin(source_of(stable))
    stable.boxes["Junk"].add("102")

    def move_late(name: str, arguments: list[str]) -> None:
        if name == "STATUS" and arguments[0] == "Work" and stable.boxes["Work"].mails:
            stable.move("101", "Work", "INBOX")  # INBOX was looked at first

    stable.before = move_late
    pages = ledger.follow()
    assert not any(page.deleted for page in pages)
    ledger.follow()
    assert kept(ledger) == truth(stable)
    stable.boxes["INBOX"].remove("101")
    assert [page.deleted for page in ledger.follow()][-1] == ["101"]
    ledger.source.close()


def test_a_message_that_moves_while_it_is_looked_for_is_not_gone(stable: ImapServer) -> None:
    stable.boxes["Work"].add("101")
    source = source_of(stable)
    items = listing(source)[0]

    def move_late(name: str, arguments: list[str]) -> None:
        if name == "EXAMINE" and arguments[0] == "Work" and stable.boxes["Work"].mails:
            stable.move("101", "Work", "INBOX")

    stable.before = move_late
    (outcome,) = source.fetch(items)
    assert isinstance(outcome, Missed)
    assert type(outcome.error) is Transient
    assert bytes_of(source.fetch(items))
    source.close()


def test_a_server_that_names_messages_otherwise_than_before_leads_to_a_resync(stable: ImapServer) -> None:
    source = source_of(stable)
    cursor = source.profile().cursor
    stable.capabilities = ["IMAP4rev1"]
    source.close()
    assert cursor is not None
    with pytest.raises(CursorExpired, match="otherwise"):
        source.changes(cursor, None)
    source.close()


@pytest.mark.parametrize("seed", _SEEDS)
@pytest.mark.parametrize("capabilities", [("CONDSTORE", "OBJECTID"), ("OBJECTID",)])
def test_whatever_happens_under_its_eyes_the_ledger_equals_the_mailbox_at_rest(
    seed: int, capabilities: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    print(f"seed {seed}")
    chance = Random(seed)
    monkeypatch.setattr(imap_folders, "MOST_ADDED", 3)
    monkeypatch.setattr("pipeline.adapters.imap_changes.MOST_TOUCHED", 2)
    monkeypatch.setattr(imap_client, "SEARCH_WINDOW", 5)
    monkeypatch.setattr(imap_client, "FACTS_PER_COMMAND", 4)
    with imap_server(*capabilities) as server:
        server.boxes |= {"Junk": Box(attributes="\\Junk"), "Work": Box(), "Late": Box()}
        for number in range(10):
            server.boxes["INBOX"].add(str(number))
        life = _Life(server, chance, is_counted="CONDSTORE" in capabilities)
        source = source_of(server)
        ledger = Ledger.begin(source)
        for turn in range(15):
            if turn == 4:
                del server.boxes["Late"]  # whatever lies there goes with it
                server.boxes["New"] = Box()
            life.left = chance.randrange(1, 16)
            ledger.follow()
            life.left = 0
            for _ in range(2):  # what moved late is told by a later reading
                ledger.follow()
            assert kept(ledger) == truth(server)
        source.close()


class _Life:
    """Lets a number of things happen before commands of the source."""

    def __init__(self, server: ImapServer, chance: Random, *, is_counted: bool) -> None:
        self.server, self.chance, self.is_counted = server, chance, is_counted
        self.left = 0
        self.number = 100
        server.before = self._happen

    def _happen(self, name: str, arguments: list[str]) -> None:
        if not self.left or self.chance.random() < 0.5:
            return
        self.left -= 1
        with self.server.lock:
            boxes = self.server.boxes
            folder = self.chance.choice([name for name in boxes if name != "Late" or self.chance.random() < 0.5])
            mails = boxes[folder].mails
            kind = self.chance.randrange(6) if mails else 0
            if kind <= 1:
                self.number += 1
                boxes[folder].add(str(self.number))
                return
            one = self.chance.choice(mails).one
            if kind == 2:
                boxes[folder].remove(one)
            elif kind == 3 and self.is_counted:
                boxes[folder].flag(one, *self.chance.choice([(), ("\\Seen",), ("\\Flagged", "\\Seen")]))
            else:
                others = [other for other in boxes if all(mail.one != one for mail in boxes[other].mails)]
                if others and sum(mail.one == one for mail in mails) == 1:
                    target = self.chance.choice(others)
                    self.server.move(one, folder, target) if kind < 5 else boxes[target].add(one)


# Refusals and lost connections


@pytest.mark.parametrize(
    ("answer", "kind", "reach"),
    [
        ("NO [AUTHENTICATIONFAILED] no", NeedsAuthorization, None),
        ("NO LOGIN failed", NeedsAuthorization, None),
        ("NO [ALERT] Too many simultaneous connections. (Failure)", Throttled, Reach.CALLS),
        ("NO [LIMIT] slow down", Throttled, Reach.MAILBOX),
        ("NO [ALERT] Account exceeded command or bandwidth limits. (Failure)", Throttled, Reach.MAILBOX),
        ("NO [UNAVAILABLE] Temporary authentication failure", Transient, None),
        ("NO [INUSE] later", Transient, None),
        ("NO [ALERT] IMAP access is disabled for your domain.", Forbidden, None),
        ("NO [CONTACTADMIN] ask", Forbidden, None),
        ("* BYE too many connections from your address", Throttled, Reach.CALLS),
        ("* BYE going down", Transient, None),
    ],
)
def test_refused_logins_become_what_the_runner_can_act_on(
    server: ImapServer, answer: str, kind: type[FieldpostError], reach: Reach | None
) -> None:
    server.refuse("LOGIN", *([answer] * 2))
    source = source_of(server)
    with pytest.raises(kind) as caught:
        source.labels()
    assert isinstance(caught.value, kind)
    assert isinstance(caught.value, Transient) or kind not in {Transient, Throttled}
    assert getattr(caught.value, "reach", None) == reach
    assert "secret" not in str(caught.value)
    server.refusals.clear()
    assert len(source.labels()) == 1
    source.close()


@pytest.mark.parametrize(
    ("answer", "kind", "reach", "wait"),
    [
        ("NO [OVERQUOTA] enough for today", Throttled, Reach.BYTES, timedelta(hours=1)),
        ("NO Request is throttled. Suggested Backoff Time: 299961 milliseconds", Throttled, Reach.MAILBOX,
         timedelta(milliseconds=299_961)),
        ("NO [LIMIT] too many", Throttled, Reach.MAILBOX, timedelta(minutes=1)),
    ],
)  # fmt: skip
def test_a_server_that_asks_for_patience_ends_the_fetch_at_once(
    server: ImapServer, answer: str, kind: type[Throttled], reach: Reach, wait: timedelta
) -> None:
    for number in range(30):
        server.boxes["INBOX"].add(str(number))
    source = source_of(server)
    items = listing(source)[0]
    server.refuse("UID FETCH", answer)
    outcomes = source.fetch(items)
    errors = {id(each.error): each.error for each in outcomes if isinstance(each, Missed)}
    assert len(outcomes) == 30
    (error,) = errors.values()
    assert isinstance(error, kind)
    assert (error.reach, error.retry_after) == (reach, wait)
    assert len(bytes_of(source.fetch(items))) == 30
    source.close()


def test_a_lost_connection_is_replaced_once(server: ImapServer) -> None:
    source = source_of(server)
    cursor = source.profile().cursor
    assert cursor is not None
    server.refuse("LIST", None)
    assert source.changes(cursor, None).cursor == cursor
    assert server.commands["LOGIN"] == 2
    server.refuse("LIST", None, None)
    with pytest.raises(Transient, match="no answer"):
        source.changes(cursor, None)
    assert source.changes(cursor, None).cursor == cursor
    source.close()


def test_a_goodbye_and_a_server_that_is_away_pass_by_themselves(server: ImapServer) -> None:
    source = source_of(server)
    server.refuse("STATUS", "* BYE for maintenance", "* BYE for maintenance")
    with pytest.raises(Transient, match="maintenance"):
        source.labels()
    assert len(source.labels()) == 1
    source.close()
    away = source_of(server, port=1)
    with pytest.raises(Transient):
        away.labels()


def test_a_message_the_server_cannot_give_harms_no_other(server: ImapServer) -> None:
    for number in range(6):
        server.boxes["INBOX"].add(str(number), letter(number))
    source = source_of(server)
    items = listing(source)[0]

    def break_one(name: str, arguments: list[str]) -> None:
        is_asked = name == "UID FETCH" and "BODY" in arguments[1]
        if is_asked and arguments[0] in {"1:6", "4"}:
            server.refuse("UID FETCH", "NO [SERVERBUG] cannot be read")

    server.before = break_one
    outcomes = source.fetch(items)
    assert [type(each.error) if isinstance(each, Missed) else None for each in outcomes] == [
        None, None, Transient, None, None, None,
    ]  # fmt: skip
    source.close()


def test_a_connection_lost_over_one_message_harms_no_other(server: ImapServer) -> None:
    for number in range(6):
        server.boxes["INBOX"].add(str(number), letter(number))
    source = source_of(server)
    items = listing(source)[0]

    def break_one(name: str, arguments: list[str]) -> None:
        if name == "UID FETCH" and "BODY" in arguments[1] and arguments[0] in {"1:6", "4"}:
            server.refuse("UID FETCH", None)

    server.before = break_one
    outcomes = source.fetch(items)
    assert [each.provider_id.rpartition("/")[2] for each in outcomes if isinstance(each, Missed)] == ["4"]
    source.close()


def test_more_bytes_than_the_server_said_are_not_read(server: ImapServer) -> None:
    server.boxes["INBOX"].add("1", letter(1, "x" * 5_000))
    server.told_size = 10
    source = source_of(server, max_message_bytes=1_000)
    (outcome,) = source.fetch(listing(source)[0])
    assert isinstance(outcome, Missed)
    assert type(outcome.error) is Permanent
    source.close()


def test_a_folder_that_goes_while_it_is_listed_is_skipped(server: ImapServer) -> None:
    server.boxes["Work"] = Box()
    server.boxes["Work"].add("1")
    source = source_of(server)

    def go(name: str, arguments: list[str]) -> None:
        if name == "EXAMINE" and arguments[0] == "Work":
            server.boxes.pop("Work", None)

    server.before = go
    assert source.list_page(source.list_page(None, limit=5).next_cursor, limit=5).items == []
    source.close()


def test_a_server_that_names_no_folder_deletes_nothing(server: ImapServer) -> None:
    server.boxes["INBOX"].add("1")
    ledger = Ledger.begin(source_of(server))
    boxes, server.boxes = server.boxes, {}
    with pytest.raises(Transient, match="no folder"):
        ledger.follow()
    server.boxes = boxes
    ledger.follow()
    assert len(ledger.labels) == 1
    ledger.source.close()


def test_a_folder_larger_than_an_answer_is_told_in_pieces(server: ImapServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imap_folders, "MOST_ADDED", 4)
    ledger = Ledger.begin(source_of(server))
    for number in range(10):
        server.boxes["INBOX"].add(str(number))
    assert [len(page.added) for page in ledger.follow()] == [4, 4, 2]
    assert [len(page.added) for page in ledger.follow()] == [0]
    ledger.source.close()


def test_a_server_that_describes_none_of_many_new_messages_is_asked_again_later_and_not_without_end(
    server: ImapServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imap_folders, "MOST_ADDED", 4)
    ledger = Ledger.begin(source_of(server))
    for number in range(10):
        server.boxes["INBOX"].add(str(number))
    server.hidden = set(range(1, 11))
    server.commands.clear()
    with pytest.raises(Transient, match="described none"):
        ledger.follow()
    assert server.commands["UID FETCH"] == 1
    server.hidden = {1, 2}
    assert [len(page.added) for page in ledger.follow()] == [2, 2, 2, 2]
    server.hidden = set()
    assert [len(page.added) for page in ledger.follow()] == [2]
    ledger.source.close()


# Names that are not encoded as IMAP wants them


def test_a_folder_whose_name_is_not_encoded_hides_no_other_and_is_read_like_any(server: ImapServer) -> None:
    strange = ["R&D", "Tom&Leo", "Prüfung", 'say "&"', "&", "B&AOQ"]
    usual = ["INBOX", "R&-D", "Pr&APw-fung", "2024"]
    server.boxes = {name: Box() for name in [*usual, *strange]}
    for number, name in enumerate(server.boxes):
        server.boxes[name].add("1", letter(number))
    ledger = Ledger.begin(source_of(server))
    assert len(ledger.labels) == len(server.boxes)
    for place in ("INBOX/7/1", "R%26D/7/1", "Pr%C3%BCfung/7/1", "2024/7/1"):  # as ever
        assert place in ledger.labels
    items = [item for page in listing(ledger.source) for item in page]
    assert sorted(bytes_of(ledger.source.fetch(items))) == sorted(letter(number) for number in range(10))
    assert all(item.provider_id.isascii() for item in items)
    server.boxes["R&D"].add("2")
    server.boxes["Tom&Leo"].remove("1")
    (added, deleted) = [(page.added, page.deleted) for page in ledger.follow() if page.added or page.deleted]
    assert [item.labels for item in added[0]] == [("R&D", "UNREAD")]
    assert len(deleted[1]) == 1
    assert len(ledger.labels) == len(server.boxes)
    assert {"R&D", "Tom&Leo", "Prüfung"} <= {label.name for label in ledger.source.labels()}
    ledger.source.close()


def test_a_folder_whose_name_is_not_encoded_may_be_wanted_as_it_is_shown(server: ImapServer) -> None:
    server.boxes |= {name: Box() for name in ("R&D", "B&-W", "Prüfung", "other")}
    source = source_of(server, folders=["R&D", "B&W", "Prüfung", "nowhere"])
    assert [label.name for label in source.labels()] == ["B&W", "Prüfung", "R&D"]
    source.close()


# Silence


@pytest.fixture
def silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patience of a moment only, less for a login than afterwards."""
    monkeypatch.setattr(imap_connections, "LOGIN_SECONDS", 0.2)
    monkeypatch.setattr(imap_connections, "ANSWER_SECONDS", 0.4)


def test_the_patience_with_a_server_is_ten_seconds_for_a_login_and_thirty_afterwards() -> None:
    assert (imap_connections.LOGIN_SECONDS, imap_connections.ANSWER_SECONDS) == (10, 30)


def test_a_server_that_accepts_and_keeps_silent_is_tried_once(silence: None) -> None:
    with socket.create_server((HOST, 0)) as listener:
        source = ImapSource(
            ADDRESS, {"host": HOST, "port": listener.getsockname()[1], "security": "none"}, load(PASSWORD)
        )
        with pytest.raises(Silent, match="in time"):
            source.labels()
        listener.setblocking(False)
        listener.accept()[0].close()
        with pytest.raises(BlockingIOError):
            listener.accept()
    source.close()


@pytest.mark.parametrize("command", ["LOGIN", "LIST", "UID FETCH"])
def test_a_command_without_an_answer_is_sent_once_and_the_connection_given_up(
    server: ImapServer, silence: None, command: str
) -> None:
    server.boxes["INBOX"].add("1", letter(1))
    source = source_of(server)
    if command != "LOGIN":
        source.labels()
    asked: list[str] = []
    speak = threading.Event()

    def keep_silent(name: str, arguments: list[str]) -> None:
        if name == command and not speak.is_set():
            asked.append(name)
            speak.wait(60)

    server.before = keep_silent
    with pytest.raises(Silent):
        source.list_page(None, limit=5)
    assert asked == [command]
    speak.set()
    assert len(source.list_page(None, limit=5).items) == 1
    source.close()


def test_after_the_login_a_server_may_take_longer(server: ImapServer, monkeypatch: pytest.MonkeyPatch) -> None:
    timeouts: list[float | None] = []

    def note(client: ImapClient) -> None:
        timeouts.append(client.socket().gettimeout())
        end(client)

    monkeypatch.setattr(imap_connections, "end", note)
    where = imap_connections.ImapServer(HOST, server.port, "none", ADDRESS)
    connections = imap_connections.ImapConnections(where, load(PASSWORD))
    server.refuse("LOGIN", "NO later")
    with pytest.raises(NeedsAuthorization):
        connections.open()
    note(connections.open())
    assert timeouts == [imap_connections.LOGIN_SECONDS, imap_connections.ANSWER_SECONDS]


def test_unchanged_folders_cost_one_command_each() -> None:
    with imap_server("CONDSTORE") as server:
        server.boxes |= {f"f{number}": Box() for number in range(20)}
        ledger = Ledger.begin(source_of(server))
        server.commands.clear()
        ledger.follow()
        assert dict(server.commands) == {"LIST": 1, "STATUS": 21, "CLOSE": 1}
        ledger.source.close()


def test_a_folder_that_goes_while_changes_are_read_takes_its_messages_with_it(stable: ImapServer) -> None:
    stable.boxes["Work"].add("101")
    stable.boxes["Work"].add("102")
    stable.boxes["INBOX"].add("102")
    ledger = Ledger.begin(source_of(stable))

    def go(name: str, arguments: list[str]) -> None:
        if name == "STATUS" and arguments[0] == "Work":
            stable.boxes.pop("Work", None)

    stable.before = go
    ledger.follow()
    ledger.follow()
    assert kept(ledger) == truth(stable) == {"102": {"INBOX", "UNREAD"}}
    ledger.source.close()


def test_a_folder_that_may_not_be_opened_is_left_out(server: ImapServer) -> None:
    server.boxes["Work"] = Box()
    server.boxes["INBOX"].add("1")

    def forbid(name: str, arguments: list[str]) -> None:
        if name in {"STATUS", "EXAMINE"} and arguments[0] == "Work":
            server.refuse(name, "NO [NOPERM] Permission denied")

    server.before = forbid
    ledger = Ledger.begin(source_of(server))
    server.boxes["INBOX"].add("2")
    ledger.follow()
    assert len(ledger.labels) == 2
    assert [label.name for label in ledger.source.labels()] == ["INBOX"]
    ledger.source.close()
