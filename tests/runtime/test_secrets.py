"""Sealing: what is sealed opens only with the same key, for the same purpose, for the same mailbox."""

from __future__ import annotations

import os
from datetime import timedelta
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from structlog.testing import capture_logs

from pipeline.core import ticket_codes
from pipeline.runtime.errors import KeyUnknown, NeedsAuthorization, OutOfBudget, UserError
from pipeline.runtime.secrets import Secrets, SignedReplyTokens, named_key
from pipeline.runtime.settings import read_settings

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
    ],
)
def test_another_mailbox_or_purpose_opens_nothing(secrets: Secrets, purpose: str, bound_to: str):
    sealed = SECRETS.seal("credentials", "mailbox 1", b"refresh token")
    with pytest.raises(NeedsAuthorization, match="secret key"):
        secrets.unseal(purpose, bound_to, sealed)


@pytest.mark.parametrize("keep", [0, 1, 7, 12, 20, -1])
def test_damaged_content_asks_for_authorization_instead_of_failing_in_a_strange_way(keep: int):
    sealed = SECRETS.seal("credentials", "mailbox 1", b"refresh token")
    with pytest.raises(NeedsAuthorization):
        SECRETS.unseal("credentials", "mailbox 1", sealed[:keep])


OLD = "the secret key of last year and long enough"
BOTH = Secrets(KEY, [OLD])


def sealed_by_0_1_0(key: str, content: bytes) -> bytes:
    """Return what the first version wrote: a nonce and the ciphertext, bound to the mailbox alone."""
    nonce = os.urandom(12)
    return nonce + AESGCM(Secrets(key).key("credentials")).encrypt(nonce, content, b"mailbox 1")


@pytest.mark.parametrize("key", [KEY, OLD])
def test_what_an_earlier_key_sealed_opens_while_it_is_kept(key: str):
    sealed = Secrets(key).seal("credentials", "mailbox 1", b"refresh token")
    assert BOTH.unseal("credentials", "mailbox 1", sealed) == b"refresh token"
    opened = BOTH.opened("credentials", "mailbox 1", sealed)
    assert (opened.key_id, opened.is_outdated) == (Secrets(key).key_id, key == OLD)
    assert named_key(sealed) == Secrets(key).key_id


def test_an_unknown_key_is_named_with_the_setting_that_helps_and_passes_in_a_minute():
    sealed = Secrets(OLD).seal("credentials", "mailbox 1", b"refresh token")
    with pytest.raises(KeyUnknown, match=Secrets(OLD).key_id) as caught:
        SECRETS.unseal("credentials", "mailbox 1", sealed)
    assert "FIELDPOST_PREVIOUS_SECRET_KEYS" in str(caught.value)
    assert caught.value.retry_after == timedelta(minutes=1)
    assert not isinstance(caught.value, OutOfBudget)


def test_each_unknown_key_is_told_to_the_log_once_and_without_the_content():
    secrets = Secrets(KEY)
    with capture_logs() as logged:
        for key in (OLD, OLD, "a third key that nobody told us"):
            for mailbox in ("mailbox 1", "mailbox 2"):
                sealed = Secrets(key).seal("credentials", mailbox, b"refresh token")
                with pytest.raises(KeyUnknown):
                    secrets.unseal("credentials", mailbox, sealed)
    found = [(line["event"], line["log_level"], line["key"]) for line in logged]
    expected = [Secrets(OLD).key_id, Secrets("a third key that nobody told us").key_id]
    assert found == [("key.unknown", "error", key_id) for key_id in expected]
    assert all("FIELDPOST_PREVIOUS_SECRET_KEYS" in line["error"] for line in logged)
    assert "refresh token" not in str(logged)


@pytest.mark.parametrize("key", [KEY, OLD])
def test_the_form_of_0_1_0_opens_whatever_byte_it_begins_with(key: str):
    for _ in range(600):  # one in 256 begins like the newer form
        sealed = sealed_by_0_1_0(key, b"refresh token")
        opened = BOTH.opened("credentials", "mailbox 1", sealed)
        assert (opened.content, opened.is_outdated) == (b"refresh token", True)
    # One that begins like the newer form seems to name a key that nobody knows.
    with pytest.raises((NeedsAuthorization, KeyUnknown)):
        BOTH.unseal("credentials", "mailbox 2", sealed)


def test_the_named_key_is_part_of_what_is_authenticated():
    sealed = SECRETS.seal("credentials", "mailbox 1", b"refresh token")
    forged = sealed[:1] + bytes.fromhex(Secrets(OLD).key_id) + sealed[5:]
    with pytest.raises(NeedsAuthorization):
        BOTH.unseal("credentials", "mailbox 1", forged)


@pytest.mark.parametrize(
    ("bit", "kind"),
    [
        (0, NeedsAuthorization),
        (8, KeyUnknown),  # names another key
        (8 * 5, NeedsAuthorization),
        (8 * 17, NeedsAuthorization),
        (8 * 30, NeedsAuthorization),
    ],
)
def test_a_changed_bit_anywhere_opens_nothing(bit: int, kind: type[Exception]):
    sealed = bytearray(SECRETS.seal("credentials", "mailbox 1", b"refresh token"))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(kind):
        SECRETS.unseal("credentials", "mailbox 1", bytes(sealed))


def test_purpose_and_owner_cannot_be_shifted_into_each_other():
    sealed = SECRETS.seal("credentials", "mailbox 1", b"x")
    with pytest.raises(NeedsAuthorization):
        SECRETS.unseal("credential", "smailbox 1", sealed)


def test_a_key_id_tells_keys_apart_and_needs_no_previous_ones():
    assert len({SECRETS.key_id, Secrets(OLD).key_id}) == 2
    assert SECRETS.key_id == BOTH.key_id
    assert len(bytes.fromhex(SECRETS.key_id)) == 4


def test_a_short_previous_key_is_refused():
    with pytest.raises(UserError, match="FIELDPOST_PREVIOUS_SECRET_KEYS"):
        Secrets(KEY, ["short"])


@pytest.mark.parametrize(
    ("said", "keys"),
    [
        (None, ()),
        ("", ()),
        (OLD, (OLD,)),
        ("one key of many letters, another key of letters,", ("one key of many letters", "another key of letters")),
        ('["a key, with a comma", "and another"]', ("a key, with a comma", "and another")),
    ],
)
def test_previous_keys_are_given_with_commas_or_as_a_list(
    said: str | None, keys: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
):
    if said is not None:
        monkeypatch.setenv("FIELDPOST_PREVIOUS_SECRET_KEYS", said)
    assert read_settings().previous_keys == keys


def test_a_broken_list_of_previous_keys_is_told_without_the_keys(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FIELDPOST_PREVIOUS_SECRET_KEYS", '["a secret')
    with pytest.raises(UserError, match="separated by commas") as caught:
        read_settings()
    assert "a secret" not in str(caught.value)


def test_a_reply_address_that_is_out_still_proves_its_ticket_after_a_rotation():
    code = ticket_codes.ticket_code(b"0123456789")
    address = ticket_codes.reply_address(code, Secrets(OLD).key("reply address"), "help@acme.example")
    assert address is not None
    assert SignedReplyTokens(BOTH).verify(address) == code
    assert SignedReplyTokens(SECRETS).verify(address) is None


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
    address = SignedReplyTokens(SECRETS).address(code, "help@acme.example")
    assert address is not None
    assert SignedReplyTokens(SECRETS).verify(address) == code
    assert SignedReplyTokens(Secrets("another long secret key of another house")).verify(address) is None
    assert SignedReplyTokens(SECRETS).verify("help@acme.example") is None


def test_a_copy_of_our_mail_is_known_by_its_proof_over_rotations_and_nobody_elses_is():
    outbound_id = uuid4()
    proof = SignedReplyTokens(Secrets(OLD)).proof(outbound_id)
    assert SignedReplyTokens(BOTH).outbound_id(proof) == outbound_id
    assert SignedReplyTokens(SECRETS).outbound_id(proof) is None
    assert SignedReplyTokens(BOTH).outbound_id(str(outbound_id)) is None


def test_the_loop_header_has_keys_of_its_own():
    assert list(SignedReplyTokens(BOTH).loop_keys()) == BOTH.keys("loop header")
    assert BOTH.key("loop header") not in (BOTH.key("reply address"), BOTH.key("outbound message"))
