"""The settings: the environment and a .env file, and nothing misspelt goes unnoticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.runtime.errors import UserError
from pipeline.runtime.settings import environment, read_settings


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in environment():
        if name.upper().startswith("FIELDPOST_"):
            monkeypatch.delenv(name)


def test_without_any_variable_the_defaults_hold():
    settings = read_settings()
    assert settings.database_url is None
    assert settings.environment == "development"
    assert settings.history_interval_seconds == 30.0


def test_a_variable_is_read(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FIELDPOST_REDIS_URL", "redis://127.0.0.1:6379/3")
    assert read_settings().redis_url == "redis://127.0.0.1:6379/3"


@pytest.mark.parametrize("name", ["FIELDPOST_DATABSE_URL", "fieldpost_databse_url"])
def test_an_unknown_variable_is_an_error_that_names_the_known_ones(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(name, "postgresql://127.0.0.1/x")
    with pytest.raises(UserError, match=rf"{name}; known are .*FIELDPOST_DATABASE_URL"):
        read_settings()


@pytest.mark.parametrize("line", ["FIELDPOST_LOG_FORMAT=json", "export FIELDPOST_LOG_FORMAT=json"])
def test_a_file_named_env_is_read(line: str):
    Path(".env").write_text(f"# a comment, FIELDPOST_NOTHING=1\n{line}\n", encoding="utf-8")
    assert read_settings().log_format == "json"


@pytest.mark.parametrize("line", ["FIELDPOST_LOGFORMAT=json", "export FIELDPOST_LOGFORMAT=json"])
def test_an_unknown_variable_in_the_file_is_an_error_too(line: str):
    Path(".env").write_text(f"{line}\n", encoding="utf-8")
    with pytest.raises(UserError, match="FIELDPOST_LOGFORMAT; known are"):
        read_settings()


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch):
    Path(".env").write_text("FIELDPOST_LOG_LEVEL=debug\n", encoding="utf-8")
    monkeypatch.setenv("FIELDPOST_LOG_LEVEL", "error")
    assert read_settings().log_level == "error"


def test_a_bad_value_is_named_and_a_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FIELDPOST_HISTORY_INTERVAL_SECONDS", "hunter2")
    monkeypatch.setenv("FIELDPOST_SECRET_KEY", "hunter3")
    with pytest.raises(UserError, match="HISTORY_INTERVAL_SECONDS") as caught:
        read_settings()
    assert "hunter" not in str(caught.value)


@pytest.mark.parametrize("name", ["HISTORY_SCHEDULE", "RECONCILE_SCHEDULE"])
def test_a_cron_expression_that_is_none_is_told_with_how_to_write_one(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(f"FIELDPOST_{name}", "0 0 31 2 *")
    with pytest.raises(UserError, match=f"{name}: .*write minute, hour, day, month and weekday"):
        read_settings()


@pytest.mark.parametrize("name", ["PUSH_TOPIC", "PUBSUB_SUBSCRIPTION"])
@pytest.mark.parametrize("short", ["mail", "projects/p", "projects/p/topics/", "projects/p/other/mail"])
def test_a_pubsub_name_is_given_in_full(monkeypatch: pytest.MonkeyPatch, name: str, short: str):
    monkeypatch.setenv(f"FIELDPOST_{name}", short)
    with pytest.raises(UserError, match=name):
        read_settings()


def test_no_other_issuer_has_the_name_of_our_own(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DISPATCH_AUTH_JWT_ISSUER", "fieldpost")
    with pytest.raises(UserError, match="our own access tokens"):
        read_settings()


def test_push_is_served_only_when_a_good_token_is_known_whole(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FIELDPOST_PUSH_AUDIENCE", "https://mail.example")
    assert not read_settings().is_push_served
    monkeypatch.setenv("FIELDPOST_PUSH_SERVICE_ACCOUNT", "push@p.iam.gserviceaccount.com")
    assert read_settings().is_push_served


def test_a_contracts_own_name_is_obeyed_and_its_prefixed_twin_is_no_silent_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ALLOW_DEV_LOGIN", "true")
    assert read_settings().allow_dev_login
    monkeypatch.setenv("FIELDPOST_ALLOW_DEV_LOGIN", "true")
    with pytest.raises(UserError, match="FIELDPOST_ALLOW_DEV_LOGIN; known are"):
        read_settings()


def test_secrets_are_hidden_in_what_is_printed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FIELDPOST_SECRET_KEY", "a long secret key that only tests know")
    settings = read_settings()
    assert settings.secret_key is not None
    assert "only tests know" not in repr(settings)
    assert settings.secret_key.get_secret_value() == "a long secret key that only tests know"
