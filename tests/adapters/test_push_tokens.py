"""Push tokens: only one that Google signed, for us, by our subscription's account, and that is still good, opens."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives import serialization

from pipeline.adapters.push_tokens import PushRefused, PushTokens, Reason
from tests.pubsub_server.server import PubSubServer
from tests.pubsub_server.signing import ACCOUNT, Signer

AUDIENCE = "https://mail.example/push/gmail"


@pytest.fixture(scope="module")
def google() -> Iterator[PubSubServer]:
    with PubSubServer() as server:
        yield server


@pytest.fixture(autouse=True)
def _calm(google: PubSubServer) -> None:
    google.certs_status, google.certs_asked = 200, 0


def _door(google: PubSubServer, **options: Any) -> PushTokens:
    return PushTokens(google.certs_url, AUDIENCE, ACCOUNT, **options)


def _refused(door: PushTokens, token: str) -> Reason:
    with pytest.raises(PushRefused) as caught:
        door.verify(token)
    assert not token or token not in str(caught.value)
    return caught.value.reason


def _part(value: object) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(value)).decode().rstrip("=")


def test_a_token_of_our_own_subscription_is_good(google: PubSubServer):
    _door(google).verify(google.signer.token(AUDIENCE))


def test_the_issuer_without_its_scheme_is_google_too(google: PubSubServer):
    _door(google).verify(google.signer.token(AUDIENCE, iss="accounts.google.com"))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exp": -61}, Reason.EXPIRED),
        ({"iat": 120}, Reason.FUTURE),
        ({"aud": "https://other.example"}, Reason.AUDIENCE),
        ({"aud": AUDIENCE + "/"}, Reason.AUDIENCE),
        ({"aud": [AUDIENCE, "https://other.example"]}, Reason.AUDIENCE),
        ({"email": "somebody@else.iam.gserviceaccount.com"}, Reason.ACCOUNT),
        ({"email": ACCOUNT.upper()}, Reason.ACCOUNT),
        ({"email_verified": False}, Reason.UNVERIFIED),
        ({"email_verified": "true"}, Reason.UNVERIFIED),
        ({"iss": "https://accounts.google.com.evil.example"}, Reason.ISSUER),
        ({"iss": "https://securetoken.google.com/p"}, Reason.ISSUER),
        *[({claim: None}, Reason.CLAIMS) for claim in ("exp", "iat", "email", "email_verified")],
        ({"aud": None}, Reason.CLAIMS),
        ({"iss": None}, Reason.CLAIMS),
    ],
    ids=str,
)
def test_a_wrong_claim_is_refused_by_name(google: PubSubServer, changes: dict[str, Any], reason: Reason):
    now = int(time.time())
    dated = {name: now + value if name in {"exp", "iat"} and value else value for name, value in changes.items()}
    assert _refused(_door(google), google.signer.token(AUDIENCE, **dated)) is reason


def test_clocks_may_differ_by_less_than_a_minute(google: PubSubServer):
    now = int(time.time())
    _door(google).verify(google.signer.token(AUDIENCE, exp=now - 30))
    _door(google).verify(google.signer.token(AUDIENCE, iat=now + 30))


@pytest.mark.parametrize("algorithm", ["none", "None", "HS256", "RS512", "ES256", "", 7])
def test_no_other_algorithm_is_believed_and_no_key_is_asked_for_it(google: PubSubServer, algorithm: object):
    head = {"alg": algorithm, "typ": "JWT", "kid": google.signer.kid}
    token = f"{_part(head)}.{_part(google.signer.claims(AUDIENCE))}."
    assert _refused(_door(google), token) in {Reason.ALGORITHM, Reason.MALFORMED}
    assert google.certs_asked == 0


@pytest.mark.parametrize("algorithm", ["HS256", "RS256"])
def test_a_token_signed_with_the_public_key_as_a_secret_is_refused(google: PubSubServer, algorithm: str):
    pem = google.signer.public_key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    head = {"alg": algorithm, "typ": "JWT", "kid": google.signer.kid}
    signed = f"{_part(head)}.{_part(google.signer.claims(AUDIENCE))}"
    mac = base64.urlsafe_b64encode(hmac.digest(pem, signed.encode(), hashlib.sha256)).decode().rstrip("=")
    expected = Reason.ALGORITHM if algorithm == "HS256" else Reason.SIGNATURE
    assert _refused(_door(google), f"{signed}.{mac}") is expected


def test_another_signers_token_under_a_known_key_id_is_refused(google: PubSubServer):
    stranger = Signer()
    token = stranger.token(AUDIENCE, headers={"kid": google.signer.kid})
    assert _refused(_door(google), token) is Reason.SIGNATURE


def test_claims_changed_after_signing_are_refused(google: PubSubServer):
    head, _, signature = google.signer.token(AUDIENCE).split(".")
    changed = _part(google.signer.claims(AUDIENCE, sub="another"))
    assert _refused(_door(google), f"{head}.{changed}.{signature}") is Reason.SIGNATURE


@pytest.mark.parametrize("token", ["x", "a.b.c", "..", "\ud800.b.c", "é.b.c", "a" * 8193, "e30.e30.e30", "e30.W10.e30"])
def test_what_is_no_token_is_refused(google: PubSubServer, token: str):
    assert _refused(_door(google), token) in {Reason.MALFORMED, Reason.ALGORITHM}
    assert google.certs_asked == 0


def test_a_header_nested_too_deeply_is_refused(google: PubSubServer):
    deep = base64.urlsafe_b64encode(b'{"alg":' + b"[" * 5000).decode().rstrip("=")
    assert _refused(_door(google), f"{deep}.e30.e30") is Reason.MALFORMED


@pytest.mark.parametrize(
    ("claim", "when"), [("exp", "soon"), ("exp", -1e300), ("exp", [1]), ("iat", "soon"), ("iat", 1e300), ("iat", [1])]
)
def test_a_strange_time_is_refused(google: PubSubServer, claim: str, when: object):
    refused = _refused(_door(google), google.signer.token(AUDIENCE, **{claim: when}))
    assert refused in {Reason.MALFORMED, Reason.EXPIRED, Reason.FUTURE}


def test_no_token_is_refused_as_missing(google: PubSubServer):
    assert _refused(_door(google), "") is Reason.MISSING


@pytest.mark.parametrize("kid", ["key-999", None, "../certs"])
def test_an_unknown_key_id_is_refused(google: PubSubServer, kid: str | None):
    token = google.signer.token(AUDIENCE, headers={"kid": kid or ""})
    assert _refused(_door(google), token) in {Reason.UNKNOWN_KEY, Reason.MALFORMED}


def test_strange_key_ids_do_not_make_the_keys_be_asked_for_again(google: PubSubServer):
    door = _door(google)
    for number in range(20):
        assert _refused(door, google.signer.token(AUDIENCE, headers={"kid": f"x{number}"})) is Reason.UNKNOWN_KEY
    door.verify(google.signer.token(AUDIENCE))
    assert google.certs_asked == 1


@pytest.mark.fault("F-59")
def test_a_new_key_of_google_is_found_and_one_it_took_back_is_not_believed(google: PubSubServer):
    door = _door(google, refetch_after=timedelta(0))
    before = google.signer.token(AUDIENCE)
    door.verify(before)
    google.signer.rotate()
    door.verify(google.signer.token(AUDIENCE))
    assert google.certs_asked == 2
    assert _refused(door, before) is Reason.UNKNOWN_KEY


def test_keys_are_asked_for_once_by_many_at_a_time(google: PubSubServer):
    door, token = _door(google), google.signer.token(AUDIENCE)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(door.verify, [token] * 64))
    assert google.certs_asked == 1


@pytest.mark.parametrize("status", [500, 404, 200])
def test_keys_that_cannot_be_had_are_no_fault_of_the_token_and_are_left_alone_for_a_while(
    google: PubSubServer, status: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(google.signer, "jwks", lambda: b"<html>")
    google.certs_status = status
    door, token = _door(google, rest=timedelta(hours=1)), google.signer.token(AUDIENCE)
    with pytest.raises(PushRefused) as caught:
        door.verify(token)
    assert caught.value.passes
    assert [_refused(door, token) for _ in range(5)] == [Reason.KEYS_AWAY] * 5
    assert google.certs_asked == 1


def test_known_keys_outlive_an_outage_of_their_server(google: PubSubServer):
    door = _door(google)
    door.verify(google.signer.token(AUDIENCE))
    google.certs_status = 500
    door.verify(google.signer.token(AUDIENCE))


def test_only_what_google_signed_for_another_is_forbidden_rather_than_unknown():
    proven = {reason for reason in Reason if PushRefused(reason).is_proven}
    assert proven == {Reason.AUDIENCE, Reason.ACCOUNT, Reason.UNVERIFIED}
