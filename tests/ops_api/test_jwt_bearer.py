"""Bearer tokens of other issuers at the API: who they stand for, how far they reach, and how they are refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from deploy.local.lock import Endpoints
from models.enums import ActorKind, Reach
from models.permissions import Permission
from ops_api import jwt_bearer
from ops_api.jwt_bearer import JwtBearers
from pipeline.adapters.clock import SystemClock
from pipeline.commands.mailboxes import ensure_organization
from pipeline.core.principals import Principal
from tests import jwt_attacks
from tests.conftest import fresh_database
from tests.jwt_attacks import ACCOUNT, Forge
from tests.oidc_server.keys import key
from tests.oidc_server.server import Provider, providing
from tests.ops_api import people
from tests.ops_api.serving import Api, FakeClock, change, rows, serving, settings_for

_SAME = ("dispatch_auth_jwt_secret", "dispatch_auth_jwt_issuer", "dispatch_auth_jwt_audience", "jwt_issuers")


def _settings(url: str, provider: Provider, **more: Any) -> Any:
    said = jwt_attacks.settings_of(provider)
    return settings_for(url, **({name: getattr(said, name) for name in _SAME} | more))


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with providing() as running:
        running.keys = [key("RS256"), key("ES256", "ec-1"), key("EdDSA", "ed-1")]
        yield running


@pytest.fixture(scope="module")
def api(servers: Endpoints, provider: Provider) -> Iterator[Api]:
    with fresh_database(servers) as url, serving(_settings(url, provider)) as running:
        with running.db.begin() as connection:
            ours = ensure_organization(connection, "ours")
            ensure_organization(connection, "theirs")
            statement = text("INSERT INTO accounts (id, org_id, name) VALUES (:id, :org, 'a customer')")
            connection.execute(statement, {"id": ACCOUNT, "org": ours})
        yield running


@pytest.fixture(scope="module")
def org_id(api: Api) -> UUID:
    return UUID(str(rows(api.db, "SELECT id FROM organizations WHERE name = 'ours'")[0][0]))


@pytest.fixture
def forge() -> Forge:
    return Forge(SystemClock().now())


def _principal(api: Api, token: str, **settings: Any) -> Principal:
    """Return whom a token stands for, by the way that the guard takes."""
    said = api.app.state.services.settings.model_copy(update=settings)
    bearers = JwtBearers(said, SystemClock())
    try:
        return jwt_bearer.principal(api.db, said, bearers._prove(token))
    finally:
        bearers.close()


def _refused(api: Api, token: str, **settings: Any) -> tuple[int, str | None]:
    with pytest.raises(jwt_bearer.Refusal) as refused:
        _principal(api, token, **settings)
    return refused.value.status_code, refused.value.code


def test_a_token_of_contract_000_opens_the_api(api: Api, org_id: UUID, forge: Forge) -> None:
    answer = api.client(headers={"Authorization": f"Bearer {forge.shared(role='admin')}"}).get("/mailboxes")
    assert answer.status_code in {200, 403}, answer.text
    me = api.client(headers={"Authorization": f"bearer {forge.shared()}"}).get("/me").json()
    assert (me["organization"]["id"], me["role"], me["user"]["id"]) == (str(org_id), "dispatcher", "agent-7")


def test_a_token_with_a_published_key_opens_the_api(api: Api, org_id: UUID, forge: Forge) -> None:
    me = api.client(headers={"Authorization": f"Bearer {forge.signed()}"}).get("/me").json()
    assert (me["organization"]["id"], me["role"]) == (str(org_id), "dispatcher")


def test_a_change_needs_no_csrf_token(api: Api, org_id: UUID, forge: Forge) -> None:
    """Nobody's browser sends such a token by itself; what is refused is refused for another reason."""
    token = forge.shared(role="admin", account_ids="*", org_id=str(org_id))
    client = api.client(headers={"Authorization": f"Bearer {token}"})
    answer = client.post(f"/mailboxes/{uuid4()}/sync/history", json={})
    assert answer.status_code == 404, answer.text


@pytest.mark.parametrize(
    "attack", ["alg none", "HS256 by the public key as PEM", "kid a statement", "exp twice", "aud another"]
)
def test_an_attack_is_answered_with_401_and_no_more(attack: str, api: Api, forge: Forge) -> None:
    token = jwt_attacks.TOKENS[attack](forge)
    answer = api.client(headers={"Authorization": f"Bearer {token}"}).get("/tickets/send-identities")
    assert (answer.status_code, answer.json()["code"].upper()) == (401, "INVALID_AUTH_TOKEN")
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert token not in answer.text


def test_every_attack_is_refused_in_the_codes_of_contract_000(api: Api) -> None:
    # A clock that stands: some of them are only a second too early.
    clock, settings = FakeClock(), api.app.state.services.settings
    forge, bearers = Forge(clock.now()), JwtBearers(settings, clock)
    for name, make in jwt_attacks.TOKENS.items():
        with pytest.raises(jwt_bearer.Refusal) as refused:
            jwt_bearer.principal(api.db, settings, bearers._prove(make(forge)))
        assert (refused.value.status_code, refused.value.code) == (401, "INVALID_AUTH_TOKEN"), name
    for name, make in jwt_attacks.CLAIMS.items():
        with pytest.raises(jwt_bearer.Refusal) as refused:
            jwt_bearer.principal(api.db, settings, bearers._prove(make(forge)))
        assert (refused.value.status_code, refused.value.code) == (401, "INVALID_AUTH_CLAIMS"), name
    bearers.close()


def test_a_short_secret_is_an_error_of_ours_and_keys_that_are_away_pass(
    api: Api, provider: Provider, forge: Forge
) -> None:
    assert _refused(api, forge.shared(), dispatch_auth_jwt_secret=SecretStr("short")) == (500, "AUTH_CONFIG_ERROR")
    provider.faults["/jwks"] = "down"
    assert _refused(api, forge.signed())[0] == 503
    provider.faults.clear()


def test_a_role_is_found_by_code_and_alias_and_its_rows_decide_at_once(api: Api, org_id: UUID, forge: Forge) -> None:
    assert _principal(api, forge.shared(role="TECH")).role == "technician"
    assert _principal(api, forge.shared(role="bot")).role == "agent"
    before = _principal(api, forge.shared(role="finance"))
    assert Permission.GENERATE_INVOICE in before.permissions
    role = "SELECT id FROM roles WHERE code = 'finance' AND org_id IS NULL"
    change(api.db, f"DELETE FROM role_permissions WHERE role_id = ({role}) AND permission = 'billing.generate_invoice'")
    assert Permission.GENERATE_INVOICE not in _principal(api, forge.shared(role="finance")).permissions
    change(api.db, f"INSERT INTO role_permissions SELECT id, 'billing.generate_invoice' FROM ({role}) AS r")
    nobody = _principal(api, forge.shared(role="emperor"))
    assert (nobody.role, nobody.permissions) == ("emperor", frozenset())


def test_a_role_of_another_organization_is_no_role_here(api: Api, org_id: UUID, forge: Forge) -> None:
    theirs = "SELECT id, 'their_own', 'Theirs' FROM organizations WHERE name = 'theirs'"
    change(api.db, f"INSERT INTO roles (org_id, code, name) {theirs}")
    assert _principal(api, forge.shared(role="their_own")).permissions == frozenset()


def test_the_organization_is_the_tokens_or_its_accounts_or_the_settings(api: Api, org_id: UUID, forge: Forge) -> None:
    ((theirs,),) = rows(api.db, "SELECT id FROM organizations WHERE name = 'theirs'")
    assert _principal(api, forge.shared(org_id=str(theirs))).org_id == theirs
    assert _principal(api, forge.shared()).org_id == org_id
    nowhere = forge.shared(account_ids="*")
    assert _refused(api, nowhere) == (401, "INVALID_AUTH_CLAIMS")
    assert _principal(api, nowhere, jwt_organization="theirs").org_id == theirs
    assert _principal(api, nowhere, jwt_organization=str(org_id)).org_id == org_id
    assert _refused(api, nowhere, jwt_organization="nobody's") == (401, "INVALID_AUTH_CLAIMS")
    assert _refused(api, forge.shared(org_id=str(uuid4()))) == (401, "INVALID_AUTH_CLAIMS")


def test_an_issuer_that_is_bound_to_one_organization_opens_no_other(api: Api, org_id: UUID, forge: Forge) -> None:
    ((theirs,),) = rows(api.db, "SELECT id FROM organizations WHERE name = 'theirs'")
    assert _principal(api, forge.signed(org_id=str(org_id))).org_id == org_id
    assert _refused(api, forge.signed(org_id=str(theirs))) == (401, "INVALID_AUTH_CLAIMS")


def test_a_token_reaches_as_far_as_it_says(api: Api, forge: Forge) -> None:
    site = uuid4()
    scope = _principal(api, forge.shared(site_ids=[str(site)])).scope
    assert (scope.account_ids, scope.site_ids, scope.is_whole) == (frozenset({ACCOUNT}), frozenset({site}), False)
    assert (
        _principal(api, forge.shared(account_ids=[], org_id=None), jwt_organization="ours").scope.account_ids
        == frozenset()
    )
    assert _principal(api, forge.shared(actor_type="service")).actor_kind is ActorKind.SERVICE


def test_a_person_that_is_known_is_bounded_by_their_membership(api: Api, org_id: UUID, forge: Forge) -> None:
    other = uuid4()
    change(api.db, "INSERT INTO accounts (id, org_id, name) VALUES (:id, :org, 'another')", id=other, org=org_id)
    with api.db.begin() as connection:
        person_id = people.member(connection, org_id, "technician", "tess@example.org")
        people.narrow(connection, org_id, person_id, Reach.ACCOUNT, accounts=(other,))
    found = _principal(api, forge.shared(sub=str(person_id), role="admin", account_ids="*"), jwt_organization="ours")
    assert (found.person_id, found.email) == (person_id, "tess@example.org")
    assert Permission.WORK_ORDERS_WORK in found.permissions
    assert Permission.PEOPLE_CHANGE not in found.permissions
    assert found.scope.account_ids == frozenset({other})
    both = _principal(api, forge.shared(sub=str(person_id), account_ids=[str(ACCOUNT)]))
    assert both.scope.account_ids == frozenset()


def test_a_person_linked_to_an_issuer_needs_no_places_and_must_be_active(api: Api, org_id: UUID, forge: Forge) -> None:
    places = {"account_ids": None, "site_ids": None}
    assert _refused(api, forge.signed(sub="ann-there", **places)) == (401, "INVALID_AUTH_CLAIMS")
    with api.db.begin() as connection:
        person_id = people.member(connection, org_id, "agent", "ann@example.org")
    link = "INSERT INTO identities (issuer, subject, person_id) VALUES (:issuer, 'ann-there', :person)"
    change(api.db, link, issuer=jwt_attacks.OTHER_ISSUER, person=person_id)
    token = forge.signed(sub="ann-there", role="agent", **places)
    found = _principal(api, token)
    assert (found.person_id, found.scope.is_whole) == (person_id, True)
    # Another issuer's subject of the same name is somebody else.
    stranger = forge.signed(by=key("ES256", "ec-1"), iss=f"{jwt_attacks.OTHER_ISSUER}/ec", sub="ann-there", **places)
    assert _refused(api, stranger) == (401, "INVALID_AUTH_CLAIMS")
    change(api.db, "UPDATE memberships SET is_active = false WHERE person_id = :id", id=person_id)
    assert _refused(api, token) == (401, "INVALID_AUTH_TOKEN")
    change(api.db, "UPDATE memberships SET is_active = true WHERE person_id = :id", id=person_id)
    change(api.db, "UPDATE people SET is_active = false WHERE id = :id", id=person_id)
    assert _refused(api, token) == (401, "INVALID_AUTH_TOKEN")
    assert _refused(api, forge.shared(sub=str(person_id))) == (401, "INVALID_AUTH_TOKEN")


def test_bad_settings_of_issuers_are_refused_in_words() -> None:
    good = {
        "issuer": "https://idp.example",
        "audience": "api",
        "jwks_url": "https://idp.example/jwks",
        "algorithms": ["RS256"],
        "organization": "ours",
    }
    assert len(settings_for(None, jwt_issuers=json.dumps([good])).jwt_issuers) == 1
    plain = good | {"jwks_url": "http://127.0.0.1:8000/jwks"}
    assert len(settings_for(None, jwt_issuers=json.dumps([plain])).jwt_issuers) == 1
    for bad in (
        "RS256",
        json.dumps([good | {"algorithms": ["HS256"]}]),
        json.dumps([good | {"algorithms": ["none"]}]),
        json.dumps([good | {"algorithms": []}]),
        json.dumps([good | {"jwks_url": "http://idp.example/jwks"}]),
        json.dumps([good | {"audience": ""}]),
        json.dumps([good | {"jku": "yes"}]),
        json.dumps([good, good]),
    ):
        with pytest.raises(ValueError, match="jwt_issuers"):
            settings_for(None, jwt_issuers=bad)
    with pytest.raises(ValueError, match="https"):
        settings_for(None, environment="production", jwt_issuers=json.dumps([plain]))
