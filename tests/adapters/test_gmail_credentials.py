"""Credentials from the files Google gives out, and what is told when they are wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from google.oauth2 import credentials as oauth2
from google.oauth2 import service_account

from pipeline.adapters.gmail_credentials import GOOGLE_TOKEN_URI, SCOPE, load
from pipeline.runtime.errors import UserError
from tests.gmail_server import GmailServer

USER = {"type": "authorized_user", "client_id": "id", "client_secret": "secret", "refresh_token": "token"}


def test_an_authorized_user_carries_its_own_token_address() -> None:
    found = load(USER | {"token_uri": "http://127.0.0.1:8000/token"})
    assert isinstance(found, oauth2.Credentials)
    assert found.token_uri == "http://127.0.0.1:8000/token"
    default = load(USER)
    assert isinstance(default, oauth2.Credentials)
    assert default.token_uri == GOOGLE_TOKEN_URI


@pytest.fixture
def key(tmp_path: Path) -> dict[str, object]:
    with GmailServer() as server:
        found: dict[str, object] = json.loads(server.service_account_file(tmp_path / "key.json").read_text())
    return found


def test_a_service_account_acts_for_the_mailbox_and_may_only_read(key: dict[str, object]) -> None:
    found = load(key, subject="support@example.org")
    assert isinstance(found, service_account.Credentials)
    assert found.scopes == [SCOPE]
    assert found._subject == "support@example.org"


def test_a_service_account_without_a_mailbox_is_told(key: dict[str, object]) -> None:
    with pytest.raises(UserError, match="say which"):
        load(key)


def test_a_service_account_with_a_damaged_key_is_told_without_showing_it(key: dict[str, object]) -> None:
    with pytest.raises(UserError, match="private_key") as told:
        load(key | {"private_key": "-----BEGIN PRIVATE KEY-----\nSECRETSECRET\n"}, subject="support@example.org")
    assert "SECRETSECRET" not in str(told.value)


@pytest.mark.parametrize("missing", ["client_id", "client_secret", "refresh_token"])
@pytest.mark.parametrize("value", [None, "", 3])
def test_a_missing_field_is_named(missing: str, value: object) -> None:
    with pytest.raises(UserError, match=f"no {missing}"):
        load({**USER, missing: value})


@pytest.mark.parametrize("uri", ["http://example.org/token", "ftp://example.org", "oauth2.googleapis.com/token", 3])
def test_a_token_is_never_sent_in_the_clear(uri: object) -> None:
    with pytest.raises(UserError, match="token_uri"):
        load({**USER, "token_uri": uri})


@pytest.mark.parametrize("kind", ["installed", "web"])
def test_an_oauth_client_is_told_how_to_become_an_authorized_user(kind: str) -> None:
    with pytest.raises(UserError, match="gcloud auth application-default login") as told:
        load({kind: {"client_id": "id"}})
    assert SCOPE in str(told.value)


@pytest.mark.parametrize("data", [{}, {"type": "external_account"}, {"type": None}])
def test_any_other_file_is_told_what_to_give(data: dict[str, object]) -> None:
    with pytest.raises(UserError, match="an authorized_user file"):
        load(data)
