"""The keys of an issuer: kept, renewed when they rotate, and used on for a while when their address is down."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import structlog
from jwt.algorithms import RSAAlgorithm

from pipeline.adapters.guarded_http import Guard, guarded_client
from pipeline.adapters.jwks import ASKED_AGAIN_AFTER, KEPT, REST, STALE, Jwks, KeysAway
from pipeline.adapters.jwt_verifier import JwtVerifier
from pipeline.core.jwt_rules import BadToken
from pipeline.core.public_addresses import every_private
from tests.jwt_attacks import Forge, settings_of
from tests.oidc_server.keys import Key, key
from tests.oidc_server.server import Provider, providing
from tests.ops_api.serving import FakeClock

_SECOND = timedelta(seconds=1)


@pytest.fixture
def provider() -> Iterator[Provider]:
    with providing() as running:
        yield running


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def jwks(provider: Provider, clock: FakeClock) -> Iterator[Jwks]:
    with guarded_client(Guard(every_private()), seconds=2) as client, structlog.testing.capture_logs():
        yield Jwks(provider.jwks_url, client, clock)


def test_keys_are_fetched_once_for_ten_minutes(jwks: Jwks, provider: Provider, clock: FakeClock) -> None:
    assert jwks.key("key-1", "RS256") is not None
    clock.wait(KEPT - _SECOND)
    assert jwks.key("key-1", "RS256") is not None
    assert provider.asked["/jwks"] == 1
    clock.wait(_SECOND)
    assert jwks.key("key-1", "RS256") is not None
    assert provider.asked["/jwks"] == 2


def test_a_key_that_appears_is_found_when_a_token_names_it_and_one_taken_away_is_gone(
    provider: Provider, clock: FakeClock
) -> None:
    """Rotation in the middle of a run, with an overlap as issuers do it."""
    forge = Forge(clock.now())
    old, new = key("RS256"), Key("key-2", "RS256", key("RS256", "key-2").private)
    verifier = JwtVerifier(settings_of(provider), Guard(every_private()), clock)
    assert verifier.verify(forge.signed()).said.subject == "agent-7"
    provider.keys = [old, new]
    clock.wait(ASKED_AGAIN_AFTER)
    assert verifier.verify(forge.signed(by=new, exp=forge.at(9_000))).said.subject == "agent-7"
    assert verifier.verify(forge.signed(exp=forge.at(9_000))).said.subject == "agent-7"
    provider.keys = [new]
    clock.wait(KEPT)
    assert verifier.verify(forge.signed(by=new, exp=forge.at(9_000))).said.subject == "agent-7"
    with pytest.raises(BadToken):
        verifier.verify(forge.signed(exp=forge.at(9_000)))
    verifier.close()


def test_unknown_key_ids_make_the_keys_be_fetched_once_in_thirty_seconds(
    jwks: Jwks, provider: Provider, clock: FakeClock
) -> None:
    assert jwks.key("key-1", "RS256") is not None
    clock.wait(ASKED_AGAIN_AFTER)
    for number in range(50):
        assert jwks.key(f"nobody-{number}", "RS256") is None
    assert provider.asked["/jwks"] == 2
    clock.wait(ASKED_AGAIN_AFTER)
    assert jwks.key("nobody", "RS256") is None
    assert provider.asked["/jwks"] == 3


@pytest.mark.parametrize("fault", ["down", "nonsense", "large", "gzip", "elsewhere"])
def test_keys_serve_for_an_hour_more_while_their_address_fails(
    fault: str, jwks: Jwks, provider: Provider, clock: FakeClock
) -> None:
    assert jwks.key("key-1", "RS256") is not None
    provider.faults["/jwks"] = fault
    clock.wait(KEPT + STALE - _SECOND)
    assert jwks.key("key-1", "RS256") is not None
    assert jwks.key("key-1", "RS256") is not None
    assert provider.asked["/jwks"] == 2
    clock.wait(_SECOND)
    with pytest.raises(KeysAway):
        jwks.key("key-1", "RS256")
    provider.faults.clear()
    clock.wait(REST)
    assert jwks.key("key-1", "RS256") is not None


def test_an_address_that_is_down_from_the_start_is_left_alone_for_a_while(
    jwks: Jwks, provider: Provider, clock: FakeClock
) -> None:
    provider.faults["/jwks"] = "down"
    for _ in range(5):
        with pytest.raises(KeysAway):
            jwks.key("key-1", "RS256")
    assert provider.asked["/jwks"] == 1
    provider.faults.clear()
    clock.wait(REST)
    assert jwks.key("key-1", "RS256") is not None


def test_a_redirect_within_the_same_host_is_followed(jwks: Jwks, provider: Provider) -> None:
    provider.faults["/jwks"] = "here"
    assert jwks.key("key-1", "RS256") is not None


def test_twenty_who_ask_at_once_make_one_fetch(jwks: Jwks, provider: Provider) -> None:
    barrier = threading.Barrier(20)

    def ask(_: int) -> object:
        barrier.wait(10)
        return jwks.key("key-1", "RS256")

    with ThreadPoolExecutor(20) as pool:
        assert None not in list(pool.map(ask, range(20)))
    assert provider.asked["/jwks"] == 1


def test_nobody_with_keys_in_hand_waits_for_an_address_that_hangs(provider: Provider, clock: FakeClock) -> None:
    with guarded_client(Guard(every_private()), seconds=0.3) as client, structlog.testing.capture_logs():
        jwks = Jwks(provider.jwks_url, client, clock)
        assert jwks.key("key-1", "RS256") is not None
        provider.faults["/jwks"] = "hang"
        clock.wait(KEPT)
        # The one who asks has them too, once the time is over.
        assert jwks.key("key-1", "RS256") is not None
        assert provider.asked["/jwks"] == 2


@pytest.mark.parametrize(
    "change",
    [
        {"use": "enc"},
        {"key_ops": ["encrypt"]},
        {"alg": "RS512"},
        {"kty": "oct", "k": "c2VjcmV0"},
        json.loads(RSAAlgorithm.to_jwk(key("RS256").private)),
        {"n": "AQAB"},
        {"n": 7},
        {"kid": None},
    ],
    ids=",".join,
)
def test_a_published_key_that_checks_no_signature_of_ours_is_passed_over(
    change: dict[str, Any], provider: Provider, clock: FakeClock
) -> None:
    good = key("ES256", "ec-1")

    class Changed:
        def jwk(self) -> dict[str, Any]:
            return key("RS256").jwk() | change

    provider.keys = [Changed(), good]  # type: ignore[list-item]
    with guarded_client(Guard(every_private())) as client:
        jwks = Jwks(provider.jwks_url, client, clock)
        assert jwks.key("key-1", "RS256") is None
        assert jwks.key("ec-1", "ES256") is not None
        assert jwks.key("ec-1", "RS256") is None
