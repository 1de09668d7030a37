"""Bearer tokens of other issuers: which are proved, and the attacks that are refused."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
import structlog

from models.enums import ActorKind
from pipeline.adapters.guarded_http import Guard
from pipeline.adapters.jwt_verifier import JwtVerifier, Misconfigured
from pipeline.core.jwt_rules import BadClaims, BadToken
from pipeline.core.public_addresses import every_private
from tests import jwt_attacks
from tests.jwt_attacks import ACCOUNT, OTHER_ISSUER, Forge, settings_of
from tests.oidc_server.keys import Key, key
from tests.oidc_server.server import Provider, providing
from tests.ops_api.serving import FakeClock


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with providing() as running:
        running.keys = [key("RS256"), key("ES256", "ec-1"), key("EdDSA", "ed-1")]
        yield running


@pytest.fixture(scope="module")
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="module")
def verifier(provider: Provider, clock: FakeClock) -> Iterator[JwtVerifier]:
    found = JwtVerifier(settings_of(provider), Guard(every_private()), clock)
    yield found
    found.close()


@pytest.fixture
def forge(clock: FakeClock) -> Forge:
    return Forge(clock.now())


@pytest.mark.parametrize("attack", jwt_attacks.TOKENS)
def test_a_token_that_proves_nothing_is_refused(attack: str, verifier: JwtVerifier, forge: Forge) -> None:
    with pytest.raises(BadToken):
        verifier.verify(jwt_attacks.TOKENS[attack](forge))


@pytest.mark.parametrize("attack", jwt_attacks.CLAIMS)
def test_a_token_that_does_not_say_what_it_must_is_refused(attack: str, verifier: JwtVerifier, forge: Forge) -> None:
    with pytest.raises(BadClaims):
        verifier.verify(jwt_attacks.CLAIMS[attack](forge))


def test_there_are_more_than_forty_attacks() -> None:
    print(f"{len(jwt_attacks.TOKENS)} tokens and {len(jwt_attacks.CLAIMS)} claims")
    assert len(jwt_attacks.TOKENS) + len(jwt_attacks.CLAIMS) >= 40


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_good_token_of_each_algorithm_is_proved(algorithm: str, verifier: JwtVerifier, forge: Forge) -> None:
    named: dict[str, tuple[Key, str]] = {
        "RS256": (key("RS256"), OTHER_ISSUER),
        "ES256": (key("ES256", "ec-1"), f"{OTHER_ISSUER}/ec"),
        "EdDSA": (key("EdDSA", "ed-1"), f"{OTHER_ISSUER}/ec"),
    }
    by, issuer = named[algorithm]
    proven = verifier.verify(forge.signed({"typ": "at+jwt"}, by=by, iss=issuer, aud=["x", jwt_attacks.AUDIENCE]))
    assert (proven.issuer, proven.organization, proven.said.subject) == (issuer, "ours", "agent-7")


def test_the_raw_forge_makes_good_tokens_so_that_its_attacks_fail_for_their_reason(
    verifier: JwtVerifier, forge: Forge
) -> None:
    assert verifier.verify(forge.raw({"alg": "RS256", "typ": "JWT", "kid": "key-1"})).said.role == "dispatcher"


def test_a_token_of_contract_000_is_proved_and_read(verifier: JwtVerifier, forge: Forge) -> None:
    said = verifier.verify(forge.shared()).said
    assert (said.subject, said.role, said.kind) == ("agent-7", "dispatcher", ActorKind.AGENT)
    assert (said.places.account_ids, said.places.site_ids) == (frozenset({ACCOUNT}), None)
    assert said.expires_at == (forge.now + timedelta(seconds=60))


@pytest.mark.parametrize(
    ("changes", "accounts"),
    [
        ({"account_ids": "*"}, None),
        ({"account_ids": ["*"]}, None),
        ({"account_ids": []}, frozenset()),
        ({"account_ids": ""}, frozenset()),
        ({"account_ids": f" {ACCOUNT} , {ACCOUNT}"}, frozenset({ACCOUNT})),
        ({"account_ids": None, "account_id": str(ACCOUNT)}, frozenset({ACCOUNT})),
        ({"account_ids": None, "scope": {"account_ids": [str(ACCOUNT)]}}, frozenset({ACCOUNT})),
        ({"account_ids": None, "scope": {"account_id": str(ACCOUNT)}}, frozenset({ACCOUNT})),
    ],
)
def test_accounts_may_be_named_in_every_way_of_contract_000(
    changes: dict[str, object], accounts: frozenset[object] | None, verifier: JwtVerifier, forge: Forge
) -> None:
    assert verifier.verify(forge.shared(**changes)).said.places.account_ids == accounts


def test_thirty_seconds_between_two_clocks_are_forgiven_to_an_issuer(verifier: JwtVerifier, forge: Forge) -> None:
    token = forge.signed(exp=forge.at(-29), nbf=forge.at(29), iat=forge.at(29))
    assert verifier.verify(token).said.subject == "agent-7"


def test_an_issuer_may_be_let_off_what_it_does_not_write(provider: Provider, clock: FakeClock, forge: Forge) -> None:
    lenient = settings_of(provider).jwt_issuers[0].model_copy(update={"may_lack": ("nbf", "typ")})
    token = forge.raw({"alg": "RS256", "kid": "key-1"}, forge.claims(nbf=None))
    verifier = JwtVerifier(settings_of(provider, jwt_issuers=(lenient,)), Guard(every_private()), clock)
    assert verifier.verify(token).said.subject == "agent-7"
    verifier.close()


def test_a_short_secret_is_the_operators_fault(provider: Provider, clock: FakeClock, forge: Forge) -> None:
    verifier = JwtVerifier(settings_of(provider, dispatch_auth_jwt_secret="x" * 31), Guard(), clock)
    with pytest.raises(Misconfigured):
        verifier.verify(forge.shared())
    verifier.close()


def test_without_a_secret_nobody_signs_by_one(provider: Provider, clock: FakeClock, forge: Forge) -> None:
    verifier = JwtVerifier(settings_of(provider, dispatch_auth_jwt_secret=None), Guard(), clock)
    with pytest.raises(BadToken):
        verifier.verify(forge.shared())
    verifier.close()


def test_no_attack_makes_anything_be_fetched_but_the_pinned_keys(
    provider: Provider, clock: FakeClock, forge: Forge
) -> None:
    asked: list[str] = []

    def resolve(host: str, port: int) -> list[tuple[object, ...]]:
        asked.append(host)
        return [(2, 1, 6, "", ("127.0.0.1", port))]

    verifier = JwtVerifier(settings_of(provider), Guard(every_private(), resolve=resolve), clock)
    with structlog.testing.capture_logs():
        for make in (*jwt_attacks.TOKENS.values(), *jwt_attacks.CLAIMS.values()):
            with pytest.raises((BadToken, BadClaims)):
                verifier.verify(make(forge))
    verifier.close()
    assert set(asked) == {"127.0.0.1"}
    # Two issuers with their own copies; unknown key ids make neither be asked a second time within 30 s.
    assert len(asked) == 2
