"""Sealing: what is sealed opens only with the same key, for the same purpose, for the same mailbox."""

from __future__ import annotations

import pytest

from pipeline.core import ticket_codes
from pipeline.runtime.errors import NeedsAuthorization, UserError
from pipeline.runtime.secrets import Secrets, SignedReplyTokens

KEY = "a long secret key that only tests know"
SECRETS = Secrets(KEY)


def test_what_was_sealed_opens_again():
    sealed = SECRETS.seal("credentials", "mailbox 1", b"refresh token")
    assert b"refresh token" not in sealed
    assert SECRETS.unseal("credentials", "mailbox 1", sealed) == b"refresh token"


def test_sealing_twice_gives_two_texts():
    assert SECRETS.seal("credentials", "mailbox 1", b"x") != SECRETS.seal("credentials", "mailbox 1", b"x")


@pytest.mark.parametrize(
    ("secrets", "purpose", "bound_to"),
    [
        (SECRETS, "credentials", "mailbox 2"),
        (SECRETS, "another purpose", "mailbox 1"),
        (Secrets("another long secret key of another house"), "credentials", "mailbox 1"),
    ],
)
def test_another_mailbox_purpose_or_key_opens_nothing(secrets: Secrets, purpose: str, bound_to: str):
    sealed = SECRETS.seal("credentials", "mailbox 1", b"refresh token")
    with pytest.raises(NeedsAuthorization, match="secret key"):
        secrets.unseal(purpose, bound_to, sealed)


@pytest.mark.parametrize("keep", [0, 1, 7, 12, 20, -1])
def test_damaged_content_asks_for_authorization_instead_of_failing_in_a_strange_way(keep: int):
    sealed = SECRETS.seal("credentials", "mailbox 1", b"refresh token")
    with pytest.raises(NeedsAuthorization):
        SECRETS.unseal("credentials", "mailbox 1", sealed[:keep])


def test_a_short_key_is_refused_and_a_missing_one_says_what_to_set():
    with pytest.raises(UserError, match="at least 16"):
        Secrets("short")
    with pytest.raises(UserError, match="FIELDPOST_SECRET_KEY is not set"):
        Secrets(None).key("anything")


def test_every_purpose_has_a_key_of_its_own():
    assert SECRETS.key("one") != SECRETS.key("another")
    assert len(SECRETS.key("one")) == 32


def test_a_reply_address_is_proved_by_the_same_secret_only():
    code = ticket_codes.ticket_code(b"0123456789")
    address = ticket_codes.reply_address(code, SECRETS.key("reply address"), "acme.example")
    assert SignedReplyTokens(SECRETS).verify(address) == code
    assert SignedReplyTokens(Secrets("another long secret key of another house")).verify(address) is None
    assert SignedReplyTokens(SECRETS).verify("help@acme.example") is None
