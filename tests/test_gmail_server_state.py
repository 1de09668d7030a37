"""Mailboxes of the Gmail server: threads, searches, ids, and control over HTTP."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest

from tests.gmail_server import GmailServer, Mailbox, QuotaProfile, search
from tests.gmail_server.errors import ApiError
from tests.gmail_server.mail_text import base_subject, headers_of, snippet_of
from tests.gmail_server.mbox import messages_in
from tests.gmail_server.samples import mail

BOX = "support@example.org"


@pytest.fixture
def server() -> GmailServer:
    return GmailServer()


@pytest.fixture
def box(server: GmailServer) -> Mailbox:
    return server.mailbox(BOX)


@pytest.fixture
def control() -> Iterator[Control]:
    with GmailServer() as running:
        connection = http.client.HTTPConnection(running.url.removeprefix("http://"), timeout=10)
        yield Control(running, connection)
        connection.close()


class Control:
    """A client of `/_control/`."""

    def __init__(self, server: GmailServer, connection: http.client.HTTPConnection) -> None:
        self.server = server
        self.connection = connection

    def __call__(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        sent = body if isinstance(body, bytes) else None if body is None else json.dumps(body)
        self.connection.request(method, f"/_control/{path}", sent)
        response = self.connection.getresponse()
        return response.status, json.loads(response.read())


def found(box: Mailbox, text: str) -> list[str]:
    """Ids that a search gives, newest first."""
    return [message.id for message in search.page(box, search.query_of(box, text, [], False), None, 500)[0]]


def thread(box: Mailbox, message_id: str) -> object:
    return box.state()[message_id]["thread_id"]


def test_ids_grow_with_arrival_and_history_ids_leave_gaps(box: Mailbox) -> None:
    cursors, ids = [box.history_id], []
    for _ in range(50):
        ids.append(box.add(mail()))
        cursors.append(box.history_id)
    steps = [after - before for before, after in pairwise(cursors)]
    assert ids == sorted(ids)
    assert min(steps) >= 1
    assert len(set(steps)) > 1
    assert all(len(message_id) == 16 and int(message_id, 16) for message_id in ids)


def test_the_same_seed_gives_the_same_ids() -> None:
    twins = [GmailServer(seed=3).mailbox(BOX) for _ in range(2)]
    other = GmailServer(seed=4).mailbox(BOX)
    assert twins[0].add(mail()) == twins[1].add(mail()) != other.add(mail())


def test_replies_with_the_same_subject_share_a_thread(box: Mailbox) -> None:
    first = box.add(mail(message_id="<1@x>"))
    reply = box.add(mail("RE: AW: Pump 7  leaks", message_id="<2@x>", in_reply_to="<1@x>"))
    later = box.add(mail("Re: Pump 7 leaks", message_id="<3@x>", references="<1@x> <gone@x>"))
    renamed = box.add(mail("Other matter", message_id="<4@x>", in_reply_to="<1@x>"))
    unrelated = box.add(mail(message_id="<5@x>"))
    assert thread(box, reply) == thread(box, later) == thread(box, first) == first
    assert thread(box, renamed) == renamed
    assert thread(box, unrelated) == unrelated


def test_an_answer_that_arrives_before_its_question_meets_it(box: Mailbox) -> None:
    answer = box.add(mail("Re: Pump 7 leaks", message_id="<2@x>", in_reply_to="<1@x>"))
    question = box.add(mail(message_id="<1@x>"))
    assert thread(box, question) == answer


def test_a_message_can_change_its_thread_silently(box: Mailbox) -> None:
    message_id, cursor = box.add(mail()), box.history_id
    box.rethread(message_id, "00000000000000aa")
    assert thread(box, message_id) == "00000000000000aa"
    assert box.history_id == cursor


def test_searches_by_date_mean_midnight_in_pacific_time_and_seconds_are_exact(box: Mailbox) -> None:
    early = box.add(mail(), at=datetime(2026, 1, 5, 7, 59, 59, tzinfo=UTC))
    late = box.add(mail(), at=datetime(2026, 1, 5, 8, 0, 0, tzinfo=UTC))
    assert found(box, "after:2026/01/05") == [late]
    assert found(box, "before:2026/1/5") == [early]
    assert found(box, "after:1767600000") == [late]
    assert found(box, "after:1767599999 before:1767600000") == [early]


def test_searches_by_words_labels_and_message_id(box: Mailbox) -> None:
    pump = box.add(mail(message_id="<p@x>"))
    lamp = box.add(mail("Lamp is dark", message_id="<l@x>", body="No light.\n"), labels=("INBOX", "Lamps"))
    spam = box.add(mail("Win", body="Money\n"), labels=("SPAM",))
    assert found(box, "rfc822msgid:<l@x>") == found(box, "rfc822msgid:l@x") == [lamp]
    assert found(box, 'subject:"pump 7"') == found(box, "-label:lamps") == found(box, "is:unread") == [pump]
    assert found(box, "in:inbox") == [lamp, pump]
    assert found(box, "in:spam") == [spam]
    assert found(box, "in:anywhere") == [spam, lamp, pump]
    assert found(box, "from:ann light") == [lamp]
    with pytest.raises(ApiError, match="Invalid date"):
        found(box, "after:yesterday")


def test_a_change_that_changes_nothing_makes_no_history(box: Mailbox) -> None:
    message_id, cursor = box.add(mail()), box.history_id
    box.modify(message_id, add=("INBOX",), remove=("STARRED",))
    assert box.history_id == cursor
    assert box.history.after(cursor, box.history_id, frozenset(), None) == []


def test_costs_follow_the_profile(server: GmailServer) -> None:
    costs = {}
    for profile in QuotaProfile:
        server.quota.profile = profile
        costs[profile] = (server.world.quota.cost("messages.get"), server.quota.user_minute())
    assert costs == {QuotaProfile.BEFORE_2026_05: (5, 15_000), QuotaProfile.SINCE_2026_05: (20, 6_000)}


def test_time_runs_at_its_speed_and_never_backwards(server: GmailServer) -> None:
    before = server.clock.now()
    server.clock.advance(3600)
    server.clock.set_speed(50)
    assert server.clock.now() >= before + 3600
    assert server.clock.real(100) == 2
    with pytest.raises(ValueError, match="forward"):
        server.clock.advance(-1)
    with pytest.raises(ValueError, match="above 0"):
        server.clock.set_speed(0)


@pytest.mark.parametrize(
    ("subject", "base"),
    [("Re: Fwd: A  b", "a b"), ("AW: WG: x", "x"), ("Re[2]: x", "x"), ("Regarding: x", "regarding: x"), ("", "")],
)
def test_subjects_lose_their_reply_prefixes(subject: str, base: str) -> None:
    assert base_subject(subject) == base


def test_broken_mail_is_read_as_far_as_it_goes() -> None:
    assert headers_of(b"Subject: a\r\n\tb\r\nno header\r\nX:\xff\n\nbody: no") == [("Subject", "a b"), ("X", "\ufffd")]
    assert headers_of(b"") == []
    assert snippet_of(b"Subject: x") == ""
    assert snippet_of(b"Content-Type: text/html\n\n<style>p</style><p>Hi &amp; bye") == "Hi &amp; bye"
    assert snippet_of(b"Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\nSGVsbG8=\n") == "Hello"


def test_an_mbox_is_split_only_where_a_mail_begins() -> None:
    data = b"From a b\nSubject: 1\n\nFrom here on\n\nFrom c d\nSubject: 2\n\nx\nFrom y\n"
    # The first "From here" follows an empty line, so mbox itself cannot tell it from a separator.
    assert list(messages_in(data)) == [b"Subject: 1\n", b"", b"Subject: 2\n\nx\nFrom y\n"]
    assert list(messages_in(gzip.compress(b"From a b\nSubject: 1\n\nx\n\n"))) == [b"Subject: 1\n\nx\n"]
    assert list(messages_in(b"no mbox")) == []


def test_control_adds_changes_and_shows_mail(control: Control) -> None:
    raw = base64.b64encode(mail()).decode()
    status, answer = control("POST", f"mailboxes/{BOX}/messages", {"messages": [{"raw": raw}] * 2})
    first, second = answer["ids"]
    assert status == 200
    assert control("POST", f"mailboxes/{BOX}/messages/{first}/trash")[1]["labels"] == ["UNREAD", "TRASH"]
    assert control("POST", f"mailboxes/{BOX}/messages/{first}/untrash")[0] == 200
    assert control("POST", f"mailboxes/{BOX}/messages/{first}/modify", {"add": ["STARRED"]})[0] == 200
    assert control("POST", f"mailboxes/{BOX}/messages/{first}/rethread", {"thread_id": second})[0] == 200
    assert control("POST", f"mailboxes/{BOX}/messages/{second}/delete") == (200, {})
    box = control.server.mailbox(BOX)
    assert control("GET", f"mailboxes/{BOX}/state") == (200, box.state())
    assert box.state()[first]["labels"] == ["INBOX", "STARRED", "UNREAD"]
    assert control("GET", f"mailboxes/{BOX}/ids") == (200, {"ids": [first]})
    assert control("POST", f"mailboxes/{BOX}/expire_history")[1]["history_floor"] == box.history_id
    assert control("GET", "mailboxes")[1]["mailboxes"][0]["messages"] == 1


def test_control_takes_an_mbox(control: Control) -> None:
    data = gzip.compress(b"".join(b"From a b\n" + mail() + b"\n" for _ in range(5)))
    status, answer = control("POST", f"mailboxes/{BOX}/mbox?labels=INBOX&labels=Old", data)
    state = control.server.mailbox(BOX).state()
    assert (status, len(answer["ids"])) == (200, 5)
    assert all(row["labels"] == ["INBOX", "Old"] for row in state.values())


def test_control_sets_faults_quota_clock_and_settings(control: Control) -> None:
    number = control("POST", "faults", {"kind": "error_500", "times": 3, "method": "messages.get"})[1]["number"]
    listed = control("GET", "faults")[1]["faults"]
    assert [(fault["number"], fault["kind"], fault["hits"]) for fault in listed] == [(number, "error_500", 0)]
    assert control("DELETE", f"faults/{number}") == (200, {})
    assert control("GET", "faults") == (200, {"faults": []})
    assert control("POST", "quota", {"enforce": True, "profile": "before_2026_05"})[1]["enforce"] is True
    assert control.server.quota.profile is QuotaProfile.BEFORE_2026_05
    assert control("POST", "clock", {"speed": 10, "advance": 60})[1]["speed"] == 10
    assert control("POST", "settings", {"padded_base64": False, "token_lifetime": 60})[1]["token_lifetime"] == 60
    assert control("DELETE", "stats") == (200, {})
    assert control("GET", "stats")[1]["calls"] == {}


def test_control_hands_out_credentials(control: Control) -> None:
    status, content = control("GET", f"credentials/authorized_user?address={BOX}")
    assert (status, content["type"], content["token_uri"]) == (200, "authorized_user", control.server.token_uri)
    assert control("GET", "credentials/service_account")[1]["private_key"].startswith("-----BEGIN PRIVATE KEY-----")
    assert control("POST", "oauth/token", {"address": BOX})[1]["access_token"].startswith("ya29.")
    assert control("POST", "oauth/revoke", {"address": BOX}) == (200, {})


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "nothing", None, 404),
        ("GET", "mailboxes/unknown@example.org/state", None, 404),
        ("POST", "faults", {"kind": "nonsense"}, 400),
        ("POST", "faults", {"kind": "reset", "nonsense": 1}, 400),
        ("POST", "faults", b"[", 400),
        ("POST", "quota", {"nonsense": 1}, 400),
        ("POST", "clock", {"speed": -1}, 400),
        ("POST", f"mailboxes/{BOX}/messages", {"messages": [{"raw": "eA=="}, {}]}, 400),
        ("POST", f"mailboxes/{BOX}/messages/0000000000000001/trash", None, 404),
    ],
)
def test_control_refuses_what_it_does_not_understand(
    control: Control, method: str, path: str, body: object, status: int
) -> None:
    got, answer = control(method, path, body)
    assert (got, answer["error"]["code"]) == (status, status)
    assert control.server.mailbox(BOX).ids() == []
