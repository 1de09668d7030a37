"""Signing in with an identity provider: the whole way there and back, and everything that ends it early."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit
from uuid import UUID, uuid4

import httpx
import jwt
import pytest

from deploy.local.lock import Endpoints
from ops_api.limits import Limits
from pipeline.commands.mailboxes import ensure_organization
from pipeline.core.local_paths import is_local
from pipeline.runtime.settings import Settings
from tests.conftest import fresh_database
from tests.oidc_server.keys import Key, encoded, key
from tests.oidc_server.server import CLIENT_ID, CLIENT_SECRET, Provider, providing
from tests.ops_api import people
from tests.ops_api.serving import Api, change, rows, serving, settings_for

_DISCOVERY = "/.well-known/openid-configuration"


def _settings(url: str, provider: Provider, **more: Any) -> Settings:
    oidc = {"oidc_issuer": provider.issuer, "oidc_client_id": CLIENT_ID, "oidc_client_secret": CLIENT_SECRET}
    return settings_for(url, **(oidc | {"oidc_organization": "ours"} | more))


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with providing() as running:
        yield running


@pytest.fixture(scope="module")
def database(servers: Endpoints) -> Iterator[str]:
    with fresh_database(servers) as url:
        yield url


@pytest.fixture(scope="module")
def api(database: str, provider: Provider) -> Iterator[Api]:
    with serving(_settings(database, provider), Limits(auth_per_minute=100_000)) as running:
        yield running


@pytest.fixture(scope="module")
def org_id(api: Api) -> UUID:
    with api.db.begin() as connection:
        return ensure_organization(connection, "ours")


@pytest.fixture(autouse=True)
def _calm(provider: Provider) -> Iterator[None]:
    """Let every test find a provider without faults, and with somebody new at its login."""
    address = f"{uuid4().hex}@example.org"
    provider.user = {"sub": uuid4().hex, "email": address, "email_verified": True}
    yield
    provider.faults.clear()
    provider.changes.clear()
    provider.denies, provider.signs_with, provider.keys = None, None, [key("RS256")]


def _member(api: Api, org_id: UUID, provider: Provider) -> UUID:
    """Make whoever sits at the provider's login a member of ours."""
    with api.db.begin() as connection:
        return people.member(connection, org_id, "agent", str(provider.user["email"]))


def _to_provider(browser: httpx.Client, return_to: str = "/tickets") -> str:
    answer = browser.get(f"/auth/oidc/start?return_to={quote(return_to)}")
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def _back(url: str) -> str:
    """Sign in at the provider; return the address that it sends the browser back to, without the host."""
    found = urlsplit(httpx.get(url, trust_env=False).headers["location"])
    return f"{found.path}?{found.query}"


def _sign_in(browser: httpx.Client, return_to: str = "/tickets") -> httpx.Response:
    return browser.get(_back(_to_provider(browser, return_to)))


def test_a_member_signs_in_and_goes_on_where_they_wanted_to_be(api: Api, org_id: UUID, provider: Provider) -> None:
    person_id = _member(api, org_id, provider)
    browser = api.client()
    answer = _sign_in(browser, "/tickets?status=open")
    assert (answer.status_code, answer.headers["location"]) == (303, "/tickets?status=open")
    me = browser.get("/me").json()
    assert (me["user"]["id"], me["organization"]["id"], me["role"]) == (str(person_id), str(org_id), "agent")
    done = rows(api.db, "SELECT action, actor_id FROM audit_events WHERE actor_id = :id", id=str(person_id))
    assert done == [("session.begin", str(person_id))]
    # A second login begins another session, and the browser's first one ends.
    first = me["session"]["id"]
    assert _sign_in(browser).status_code == 303
    assert rows(api.db, "SELECT ended_because FROM sessions WHERE id = :id", id=UUID(first)) == [("rotated",)]


def test_the_way_to_the_provider_carries_a_challenge_a_nonce_and_a_state(api: Api, provider: Provider) -> None:
    asked = {name: values[0] for name, values in parse_qs(urlsplit(_to_provider(api.client())).query).items()}
    assert (asked["response_type"], asked["code_challenge_method"], asked["client_id"]) == ("code", "S256", CLIENT_ID)
    assert all(len(asked[name]) >= 43 for name in ("code_challenge", "nonce", "state"))
    assert "openid" in asked["scope"].split()
    assert asked["redirect_uri"] == f"{api.base_url}/auth/oidc/callback"
    stored = rows(api.db, "SELECT sealed FROM login_states ORDER BY created_at DESC LIMIT 1")
    assert asked["nonce"].encode() not in bytes(stored[0][0])


def test_who_was_linked_once_is_known_without_an_address(api: Api, org_id: UUID, provider: Provider) -> None:
    person_id = _member(api, org_id, provider)
    assert _sign_in(api.client()).status_code == 303
    provider.user = {"sub": provider.user["sub"], "email": "new-name@example.org", "email_verified": False}
    browser = api.client()
    assert _sign_in(browser).status_code == 303
    assert browser.get("/me").json()["user"]["id"] == str(person_id)


def test_an_address_links_only_once_and_only_when_it_is_proved(api: Api, org_id: UUID, provider: Provider) -> None:
    _member(api, org_id, provider)
    provider.user["email_verified"] = False
    assert _sign_in(api.client()).json()["code"] == "nobody_here"
    provider.user["email_verified"] = "true"
    assert _sign_in(api.client()).status_code == 403
    provider.user["email_verified"] = True
    assert _sign_in(api.client()).status_code == 303
    # Somebody else at the provider has the address now.
    provider.user["sub"] = uuid4().hex
    assert _sign_in(api.client()).status_code == 403


def test_what_is_no_mail_address_makes_nobody(database: str, org_id: UUID, provider: Provider) -> None:
    """It would be found beside the telephone number of somebody else."""
    with serving(_settings(database, provider, oidc_default_role="viewer")) as api:
        provider.user |= {"email": "+4930123456", "email_verified": True}
        assert _sign_in(api.client()).json()["code"] == "nobody_here"


def test_strangers_and_those_who_left_are_told_so(api: Api, org_id: UUID, provider: Provider) -> None:
    stranger = _sign_in(api.client())
    assert (stranger.status_code, stranger.json()["code"]) == (403, "nobody_here")
    person_id = _member(api, org_id, provider)
    assert _sign_in(api.client()).status_code == 303
    change(api.db, "UPDATE memberships SET is_active = false WHERE person_id = :id", id=person_id)
    assert _sign_in(api.client()).status_code == 403
    change(api.db, "UPDATE memberships SET is_active = true WHERE person_id = :id", id=person_id)
    change(api.db, "UPDATE people SET is_active = false WHERE id = :id", id=person_id)
    assert _sign_in(api.client()).status_code == 403


def test_with_a_default_role_newcomers_are_made_members(database: str, org_id: UUID, provider: Provider) -> None:
    settings = _settings(database, provider, oidc_default_role="viewer")
    with serving(settings, Limits(auth_per_minute=100_000)) as api:
        browser = api.client()
        assert _sign_in(browser).status_code == 303
        me = browser.get("/me").json()
        assert (me["role"], me["organization"]["id"]) == ("viewer", str(org_id))
        assert me["user"]["email"] == provider.user["email"]
        # Who was revoked stays so.
        change(api.db, "UPDATE memberships SET is_active = false WHERE person_id = :id", id=UUID(me["user"]["id"]))
        assert _sign_in(api.client()).status_code == 403
        # Without a proved address nobody can be made.
        provider.user = {"sub": uuid4().hex}
        assert _sign_in(api.client()).status_code == 403


def test_a_state_is_good_once_in_its_own_browser_and_for_ten_minutes(
    api: Api, org_id: UUID, provider: Provider
) -> None:
    _member(api, org_id, provider)
    browser = api.client()
    back = _back(_to_provider(browser))
    assert api.client().get(back).status_code == 400  # another browser, which uses the state up
    assert browser.get(back).status_code == 400
    back = _back(_to_provider(browser))
    assert browser.get(back).status_code == 303
    assert browser.get(back).json()["code"] == "login_over"
    back = _back(_to_provider(browser))
    change(api.db, "UPDATE login_states SET expires_at = now() - interval '1 second'")
    assert browser.get(back).status_code == 400
    _to_provider(browser)
    assert rows(api.db, "SELECT count(*) FROM login_states WHERE expires_at < now()") == [(0,)]
    for query in ("", "?code=x", "?state=x", "?code=x&state=" + "y" * 43, "?state=%00&code=x"):
        assert browser.get("/auth/oidc/callback" + query).status_code in {400, 422}
    # Two tabs of one browser do not disturb each other.
    one, two = _back(_to_provider(browser)), _back(_to_provider(browser))
    assert (browser.get(one).status_code, browser.get(two).status_code) == (303, 303)


@pytest.mark.parametrize(
    "return_to",
    [
        "https://attacker.example/", "//attacker.example/", "///attacker.example", "/\\attacker.example", "http:/x",
        "\\\\attacker.example", "javascript:alert(1)", "attacker.example", "/\t/attacker.example", "/ok\r\nX-Evil: 1",
        "", " /ok", "/%0d\n",
        "/" + "a" * 3_000,
    ],
    ids=ascii,
)  # fmt: skip
def test_nobody_is_sent_on_to_another_host(return_to: str, api: Api) -> None:
    assert not is_local(return_to)
    answer = api.client().get("/auth/oidc/start", params={"return_to": return_to})
    assert answer.status_code in {400, 422}
    assert "location" not in answer.headers


@pytest.mark.parametrize("return_to", ["/", "/tickets", "/tickets?q=a%20b&status=open#top", "/a//b"])
def test_a_page_of_ours_may_be_gone_on_to(return_to: str) -> None:
    assert is_local(return_to)


@pytest.mark.parametrize(
    ("said", "status"), [("access_denied", 403), ("server_error", 502), ("temporarily_unavailable", 502)]
)
def test_a_provider_that_says_no_is_told_in_words(said: str, status: int, api: Api, provider: Provider) -> None:
    provider.denies = said
    answer = _sign_in(api.client())
    assert answer.status_code == status
    assert said not in answer.json()["detail"]


_FAULTS = ("down", "nonsense", "large", "gzip", "elsewhere")


def _is_502(answer: httpx.Response) -> bool:
    return (answer.status_code, answer.json().get("code")) == (502, "provider_failed")


def test_a_provider_whose_token_endpoint_fails_is_a_502(api: Api, provider: Provider) -> None:
    browser = api.client()
    for fault in _FAULTS:
        back = _back(_to_provider(browser))
        provider.faults["/token"] = fault
        assert _is_502(browser.get(back)), fault
        provider.faults.clear()


def test_a_provider_that_cannot_be_found_or_has_no_keys_is_a_502(
    database: str, org_id: UUID, provider: Provider
) -> None:
    # A process of its own: nothing is kept from before.
    with serving(_settings(database, provider), Limits(auth_per_minute=100_000)) as api:
        _member(api, org_id, provider)
        browser = api.client()
        for fault in _FAULTS:
            provider.faults[_DISCOVERY] = fault
            assert _is_502(browser.get("/auth/oidc/start")), fault
        provider.faults.clear()
        back = _back(_to_provider(browser))
        provider.faults["/jwks"] = "down"
        assert _is_502(browser.get(back))


@pytest.mark.parametrize(
    "changes",
    [
        {"nonce": "another"}, {"nonce": None}, {"iss": "https://attacker.example"}, {"aud": "another-client"},
        {"aud": [CLIENT_ID, "another"], "azp": "another"}, {"aud": [CLIENT_ID, "another"]}, {"azp": "another"},
        {"exp": 1}, {"exp": None}, {"iat": None}, {"iat": 4_102_444_800}, {"sub": None}, {"sub": "a\x00b"}, {"sub": 7},
    ],
    ids=str,
)  # fmt: skip
def test_an_id_token_that_does_not_fit_lets_nobody_in(
    changes: dict[str, object], api: Api, org_id: UUID, provider: Provider
) -> None:
    _member(api, org_id, provider)
    provider.changes = changes
    answer = _sign_in(api.client())
    assert answer.status_code == 502
    assert "set-cookie" not in answer.headers


def test_an_id_token_by_another_key_or_algorithm_lets_nobody_in(api: Api, org_id: UUID, provider: Provider) -> None:
    _member(api, org_id, provider)

    class Shared:
        """Signs with the client's secret, which OpenID Connect allows and we do not."""

        def sign(self, claims: dict[str, Any]) -> str:
            return jwt.encode(claims, CLIENT_SECRET * 3, algorithm="HS256", headers={"kid": "key-1"})

    class Unsigned:
        def sign(self, claims: dict[str, Any]) -> str:
            return f"{encoded({'alg': 'none', 'typ': 'JWT', 'kid': 'key-1'})}.{encoded(claims)}."

    for signer in (Key("key-1", "RS256", key("RS256", "attacker").private), key("ES256", "ec-9"), Shared(), Unsigned()):
        provider.signs_with = signer  # type: ignore[assignment]
        assert _sign_in(api.client()).status_code == 502


def test_a_code_that_was_used_or_is_another_logins_is_refused(api: Api, org_id: UUID, provider: Provider) -> None:
    """The code of one login within the state of another: PKCE tells them apart."""
    _member(api, org_id, provider)
    browser = api.client()
    one, two = _back(_to_provider(browser)), _back(_to_provider(browser))
    code = parse_qs(urlsplit(one).query)["code"][0]
    state = parse_qs(urlsplit(two).query)["state"][0]
    answer = browser.get("/auth/oidc/callback", params={"code": code, "state": state})
    assert (answer.status_code, answer.json()["code"]) == (400, "login_over")


def test_without_its_settings_there_is_no_such_login(database: str) -> None:
    with serving(settings_for(database)) as api:
        assert api.client().get("/auth/oidc/start").status_code == 404
        assert api.client().get("/auth/oidc/callback").status_code == 404


def test_half_of_the_settings_are_refused() -> None:
    for half in ({"oidc_issuer": "https://idp.example"}, {"oidc_default_role": "viewer"}):
        with pytest.raises(ValueError, match="FIELDPOST_OIDC"):
            settings_for(None, **half)
    whole = {"oidc_issuer": "https://idp.example", "oidc_client_id": "c", "oidc_client_secret": "s"}
    with pytest.raises(ValueError, match="FIELDPOST_PUBLIC_URL"):
        settings_for(None, environment="production", allow_dev_login=False, **whole)
