"""Sending through Gmail: at most once per call, with the truth about what is not known, and found again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.adapters.gmail_credentials import load
from pipeline.adapters.gmail_sending import GmailSender
from pipeline.core.handing_over import Finding, HandOver, Outgoing
from pipeline.core.moments import Moment
from pipeline.runtime.errors import NeedsAuthorization, Throttled
from tests.adapters.desk import ADDRESS, Desk
from tests.adapters.sent_mail import outgoing
from tests.gmail_server import search
from tests.gmail_server.faults import FaultKind
from tests.gmail_server.samples import mail


@pytest.fixture
def sender(desk: Desk) -> Iterator[GmailSender]:
    found = opened(desk)
    yield found
    found.close()


def opened(desk: Desk, address: str = ADDRESS) -> GmailSender:
    return GmailSender(
        address, load(json.loads(desk.file.read_text())), desk.server.url, clock=desk.clock,
        on_call=lambda *call: desk.calls.append(call),
    )  # fmt: skip


def letter(desk: Desk, **options: object) -> Outgoing:
    return outgoing(desk.clock.now(), **options)  # type: ignore[arg-type]


def sent(desk: Desk) -> list[str]:
    """Return the Message-ID of every mail that left."""
    return [one.rfc_id for one in desk.mailbox.messages.values() if "SENT" in one.labels]


def test_a_mail_is_taken_whole_and_its_copy_is_named(desk: Desk, sender: GmailSender) -> None:
    given = letter(desk)
    handed = sender.send(given)
    (message_id,) = desk.mailbox.messages
    assert (handed.how, handed.provider_id) == (HandOver.ACCEPTED, message_id)
    assert desk.mailbox.get(message_id).raw == given.raw
    assert ("messages.send", "200", 100) in desk.calls


@pytest.mark.parametrize("kind", [FaultKind.LOST_REPLY, FaultKind.CUT_BODY, FaultKind.TRUNCATED_JSON])
def test_an_answer_that_is_lost_leaves_doubt_and_never_a_second_mail(
    desk: Desk, sender: GmailSender, kind: FaultKind
) -> None:
    desk.server.faults.add(kind, method="messages.send", times=1)
    given = letter(desk)
    assert sender.send(given).how is HandOver.DOUBTFUL
    assert sent(desk) == [given.message_id]
    assert sender.find(given) == (Finding.THERE, next(iter(desk.mailbox.messages)))


@pytest.mark.parametrize(
    "kind", [FaultKind.ERROR_500, FaultKind.ERROR_503, FaultKind.ERROR_504, FaultKind.RESET]
)  # fmt: skip
def test_an_error_that_does_not_say_whether_it_was_taken_leaves_doubt(
    desk: Desk, sender: GmailSender, kind: FaultKind
) -> None:
    number = desk.server.faults.add(kind, method="messages.send")
    given = letter(desk)
    assert sender.send(given).how is HandOver.DOUBTFUL
    assert desk.server.faults.hits(number) == 1
    assert sent(desk) == []
    assert sender.find(given) == (Finding.NOT_THERE, None)


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        (FaultKind.RATE_LIMIT_429, HandOver.LATER),
        (FaultKind.USER_RATE_LIMIT_403, HandOver.LATER),
        (FaultKind.CONCURRENT_429, HandOver.LATER),
        (FaultKind.FORBIDDEN_403, HandOver.LATER),
        (FaultKind.DOMAIN_POLICY_403, HandOver.LATER),
        (FaultKind.UNAUTHENTICATED_401, HandOver.LATER),
        (FaultKind.SUSPENDED_400, HandOver.LATER),
        (FaultKind.BAD_REQUEST_400, HandOver.REFUSED),
    ],
)
def test_a_refusal_leaves_no_doubt(desk: Desk, sender: GmailSender, kind: FaultKind, how: HandOver) -> None:
    desk.server.faults.add(kind, method="messages.send")
    handed = sender.send(letter(desk))
    assert (handed.how, sent(desk)) == (how, [])
    assert handed.said


def test_the_limit_of_sent_mail_is_no_doubt(desk: Desk, sender: GmailSender) -> None:
    said = "User-rate limit exceeded.  (Mail sending)"
    desk.server.faults.add(FaultKind.ANSWER, method="messages.send", code=429, reason="rateLimitExceeded", message=said)
    assert sender.send(letter(desk)).how is HandOver.LATER


def test_a_server_that_is_away_leaves_no_doubt(desk: Desk, sender: GmailSender) -> None:
    assert sender.send(letter(desk)).how is HandOver.ACCEPTED
    desk.server.stop()
    assert sender.send(letter(desk)).how is HandOver.LATER
    assert len(sent(desk)) == 1


def test_a_token_that_cannot_be_had_leaves_no_doubt(desk: Desk, sender: GmailSender) -> None:
    desk.server.tokens.revoke(ADDRESS)
    assert sender.send(letter(desk)).how is HandOver.LATER
    assert sent(desk) == []


def test_a_token_that_ran_out_is_renewed_and_the_mail_leaves_once(desk: Desk, sender: GmailSender) -> None:
    sender.send(letter(desk))
    desk.server.tokens.expire()
    assert sender.send(letter(desk)).how is HandOver.ACCEPTED
    assert len(sent(desk)) == 2


def test_a_sender_that_comes_too_late_transmits_nothing(desk: Desk, sender: GmailSender) -> None:
    handed = sender.send(letter(desk, begin_by=Moment.of(desk.clock).after(-timedelta(seconds=1))))
    assert (handed.how, sent(desk)) == (HandOver.LATER, [])
    assert desk.server.stats()["calls"].get("messages.send") is None  # type: ignore[attr-defined]


def test_credentials_of_another_account_send_nothing(desk: Desk) -> None:
    sender = opened(desk, "sales@example.org")
    handed = sender.send(letter(desk))
    assert (handed.how, "belong to support@example.org" in handed.said, sent(desk)) == (HandOver.LATER, True, [])
    with pytest.raises(NeedsAuthorization):
        sender.find(letter(desk))
    sender.close()


def test_a_mail_whose_id_was_changed_is_found_by_our_own_header(desk: Desk, sender: GmailSender) -> None:
    given = letter(desk)
    for _ in range(3):
        sender.send(letter(desk))
    changed = given.raw.replace(given.message_id.encode(), b"<CAxyz@mail.gmail.example>")
    copy = desk.mailbox.add(changed, ("SENT",))
    assert sender.find(given) == (Finding.THERE, copy)


def test_a_mail_that_no_search_knows_yet_is_found_in_the_list_of_what_was_sent(
    desk: Desk, sender: GmailSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gmail's search comes after its list."""
    given = letter(desk)
    desk.mailbox.add(mail("older"), ("SENT",), at=desk.clock.now() - timedelta(hours=2))
    copy = desk.mailbox.add(given.raw, ("SENT",))
    desk.mailbox.add(mail("newer"), ("SENT",))
    query_of = search.query_of
    monkeypatch.setattr(
        search, "query_of", lambda box, text, *which: query_of(box, "from:nobody" if text else "", *which)
    )
    assert sender.find(given) == (Finding.THERE, copy)
    assert sender.find(letter(desk)) == (Finding.NOT_THERE, None)


def test_a_forged_header_is_not_taken_for_ours(desk: Desk, sender: GmailSender) -> None:
    given = letter(desk)
    forged = given.raw.replace(given.message_id.encode(), b"<x@y.example>").replace(
        given.proof.encode(), b"x" * len(given.proof)
    )
    desk.mailbox.add(forged, ("SENT",))
    assert sender.find(given) == (Finding.NOT_THERE, None)


def test_old_sent_mail_is_not_looked_through_and_too_much_proves_nothing(desk: Desk, sender: GmailSender) -> None:
    given = letter(desk)
    for number in range(60):
        desk.mailbox.add(mail(f"old {number}"), ("SENT",), at=desk.clock.now() - timedelta(hours=2))
    assert sender.find(given) == (Finding.NOT_THERE, None)
    for number in range(51):
        desk.mailbox.add(mail(f"new {number}"), ("SENT",))
    assert sender.find(given) == (Finding.UNSURE, None)


def test_a_look_up_that_is_refused_says_so(desk: Desk, sender: GmailSender) -> None:
    desk.server.faults.add(FaultKind.RATE_LIMIT_429, method="messages.list", retry_after=60)
    with pytest.raises(Throttled):
        sender.find(letter(desk))


def test_the_addresses_that_gmail_allows_are_told(desk: Desk, sender: GmailSender) -> None:
    desk.mailbox.send_as = {"Sales@example.org": "accepted", "new@example.org": "pending"}
    assert sender.allowed() == {ADDRESS: True, "sales@example.org": True, "new@example.org": False}


def test_a_service_account_asks_for_the_right_to_send(tmp_path: Path, desk: Desk) -> None:
    key = json.loads(desk.server.service_account_file(tmp_path / "key.json").read_text())
    credentials = load(key, subject=ADDRESS, scopes=("one", "two"))
    assert list(credentials.scopes) == ["one", "two"]  # type: ignore[attr-defined]
