"""The mail relay over a real SMTP server: what leaves, how each refusal is told, and which addresses are none."""

from __future__ import annotations

import email
from email.policy import default
from uuid import UUID

import pytest

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.mail_relay import MailRelay
from pipeline.core.handing_over import HandOver
from pipeline.core.notices import Words
from pipeline.ports import Notice
from pipeline.runtime.errors import UserError
from pipeline.runtime.notices import _sealed
from pipeline.runtime.secrets import Secrets
from pipeline.runtime.settings import Settings
from tests.smtp_server import HOST, PASSWORD, USER, Post, smtp_server

_SECRETS = Secrets("a long secret key that only tests know")
_ID = UUID(int=7)


def relay(url: str | None, sender: str | None = "Desk <desk@example.org>") -> MailRelay:
    settings = Settings(_env_file=None, mail_relay_url=url, mail_from=sender)  # type: ignore[call-arg]
    return MailRelay(settings, _SECRETS, SystemClock())


def to(post: Post, password: str = PASSWORD) -> MailRelay:
    return relay(f"smtp://{USER.replace('@', '%40')}:{password}@{HOST}:{post.port}")


def notice(words: Words, recipient: str = "ann@example.org") -> Notice:
    return Notice(_ID, recipient, _sealed(_SECRETS, _ID, words))


_RESET = notice(Words("Set a new password… now", "Здравствуйте, the code is tok\n.\n"))


def test_a_notice_leaves_as_a_mail_of_a_machine_and_the_same_again() -> None:
    with smtp_server() as post:
        assert [to(post).send(_RESET).how for _ in range(2)] == [HandOver.ACCEPTED] * 2
    first, second = (email.message_from_bytes(one.raw, policy=default) for one in post.accepted)
    assert (post.accepted[0].sender, post.accepted[0].recipients) == ("desk@example.org", ("ann@example.org",))
    assert (first["From"], first["To"], first["Subject"]) == (
        "Desk <desk@example.org>", "ann@example.org", "Set a new password… now",
    )  # fmt: skip
    assert first["Auto-Submitted"] == "auto-generated"
    assert first["Message-ID"] == second["Message-ID"] == f"<notice.{_ID}@example.org>"
    assert "Здравствуйте, the code is tok\n.\n" in first.get_content().replace("\r\n", "\n")


def test_each_refusal_is_told_for_what_it_is() -> None:
    def said(step: str, *answers: str) -> HandOver:
        post.answers = {step: list(answers)}
        return to(post).send(_RESET).how

    with smtp_server() as post:
        assert said("MAIL", "451 busy") is HandOver.LATER
        assert said("MAIL", "550 no") is HandOver.REFUSED
        assert said("RCPT", "550 no such user") is HandOver.REFUSED
        assert said("RCPT", "450 greylisted") is HandOver.LATER
        assert said("DATA", "554 spam") is HandOver.REFUSED
        post.answers, post.drops = {}, ["answer"]
        assert to(post).send(_RESET).how is HandOver.DOUBTFUL
        wrong = to(post, "wrong-canary").send(_RESET)
        assert wrong.how is HandOver.LATER
        assert "wrong-canary" not in wrong.said
        gone = to(post)
    assert gone.send(_RESET).how is HandOver.LATER


def test_without_an_address_there_is_no_relay() -> None:
    assert not relay(None).is_ready
    assert relay("smtps://relay.example.org").is_ready


@pytest.mark.parametrize(
    "url",
    ["relay.example.org", "http://relay.example.org", "smtp://", "smtp://h:port", "smtp://h/path", "smtp://h?tls=no"],
)
def test_what_is_no_relay_is_told_without_its_password(url: str) -> None:
    with pytest.raises(UserError, match="write FIELDPOST_MAIL_RELAY_URL as"):
        relay(url)
    with pytest.raises(UserError) as told:
        relay("ftp://user:canary@h")
    assert "canary" not in str(told.value)


@pytest.mark.parametrize("sender", [None, "", "Desk", "Desk <desk>"])
def test_a_relay_needs_somebody_to_write_from(sender: str | None) -> None:
    with pytest.raises(UserError, match="FIELDPOST_MAIL_FROM"):
        relay("smtps://relay.example.org", sender)


def test_a_subject_cannot_bring_a_header_of_its_own() -> None:
    with smtp_server() as post, pytest.raises(ValueError, match=r"(?i)linefeed|header"):
        to(post).send(notice(Words("x\r\nBcc: eve@example.org", "x")))
    assert post.accepted == []
