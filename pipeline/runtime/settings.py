"""The settings: the only reader of the environment."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from pipeline.core import public_addresses, slots
from pipeline.runtime.errors import UserError
from pipeline.runtime.issuers import OWN_ISSUER, JwtIssuer, no_twins, read_issuers

_PREFIX = "FIELDPOST_"


class Settings(BaseSettings):
    """Variables of `FIELDPOST_*`, a `.env` file, and the contracts' own names; frozen."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        env_file=".env",
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    data_dir: Path | None = None
    database_url: str | None = None
    redis_url: str | None = None
    blob_url: str | None = None
    secret_key: SecretStr | None = None
    #: Keys that `secret_key` replaced, so that what they sealed still opens: separated by commas, or a JSON list.
    previous_secret_keys: SecretStr | None = None
    environment: Literal["development", "production"] = "development"
    gmail_endpoint: str | None = None
    public_url: str | None = None
    log_format: Literal["console", "json"] = "console"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    #: Minutes are too long on call: the schedule asks each mailbox for changes this often.
    history_interval_seconds: float = Field(default=30.0, ge=0.1, le=86_400)
    #: Cron expressions in UTC: the net below that pace, and the comparison of every mailbox with its provider.
    history_schedule: str = "*/5 * * * *"
    reconcile_schedule: str = "17 2 * * *"

    #: Resolved dead letters, with what was done to them, are forgotten after so many days; 0: never.
    dead_letters_kept_days: int = Field(default=180, ge=0, le=36_500)

    #: Who judges what mails tell of assets: the model that comes with Fieldpost ("built-in"), the rules of words alone
    #: ("rules"), or the file of a model that `fieldpost triage train` made.
    status_model: str = "built-in"

    #: How long the provider's quota minute is; tests against a provider whose clock runs faster shorten it.
    quota_minute_seconds: float = Field(default=60.0, gt=0, le=60)

    #: Workers on this machine leave their counters here (PROMETHEUS_MULTIPROC_DIR), and the API adds them to its own.
    metrics_dir: Path | None = None
    #: A worker on a machine of its own serves its counters on this port.
    metrics_port: int | None = Field(default=None, ge=1, le=65_535)

    #: The topic that Gmail announces changes on, `projects/P/topics/T`; unset: no mailbox is watched.
    push_topic: str | None = Field(default=None, pattern=r"^projects/[^/\s]+/topics/[^/\s]+$")
    #: The audience that tokens of the push subscription name; with the account below it opens `POST /push/gmail`.
    push_audience: str | None = None
    #: The service account that the push subscription signs in as.
    push_service_account: str | None = None
    #: Where Google's keys for those tokens are.
    push_keys_url: str = Field(default="https://www.googleapis.com/oauth2/v3/certs", pattern=r"^https?://")
    #: The pull subscription to listen to, `projects/P/subscriptions/S`; unset: nothing is pulled.
    pubsub_subscription: str | None = Field(default=None, pattern=r"^projects/[^/\s]+/subscriptions/[^/\s]+$")
    #: A service account's key or an authorized user's file that may pull from it.
    pubsub_credentials: Path | None = None
    #: Another Pub/Sub than Google's: an emulator, which needs no credentials.
    pubsub_endpoint: str | None = None

    #: Requests a minute of one person, by class of route; an address may ask ten times and an organization twenty times
    #: as often, but for ways in, where each address has this many tries.
    rate_auth_per_minute: int = Field(default=10, ge=1, le=1_000)
    rate_read_per_minute: int = Field(default=600, ge=1, le=100_000)
    rate_write_per_minute: int = Field(default=120, ge=1, le=100_000)
    rate_search_per_minute: int = Field(default=120, ge=1, le=100_000)
    rate_download_per_minute: int = Field(default=120, ge=1, le=100_000)
    rate_stray_per_minute: int = Field(default=120, ge=1, le=100_000)
    #: Addresses or networks of our own proxies, separated by commas: what they say of the client's address is believed.
    trusted_proxies: str | None = None
    #: Names besides the public URL's that this API answers to, separated by commas.
    allowed_hosts: str | None = None

    allow_dev_login: bool = Field(default=False, validation_alias="ALLOW_DEV_LOGIN")
    enable_prometheus_metrics: bool = Field(default=True, validation_alias="ENABLE_PROMETHEUS_METRICS")
    dispatch_auth_jwt_secret: SecretStr | None = Field(default=None, validation_alias="DISPATCH_AUTH_JWT_SECRET")
    dispatch_auth_jwt_issuer: str | None = Field(default=None, validation_alias="DISPATCH_AUTH_JWT_ISSUER")
    dispatch_auth_jwt_audience: str | None = Field(default=None, validation_alias="DISPATCH_AUTH_JWT_AUDIENCE")
    #: Object stores that evidence may lie in besides our own: URI schemes, separated by commas (contract 000).
    dispatch_object_store_schemes: str = Field(default="s3,minio", validation_alias="DISPATCH_OBJECT_STORE_SCHEMES")
    #: The organization of tokens that name none, by name or id; unset: of their accounts, or the only one there is.
    jwt_organization: str | None = None
    #: Issuers whose tokens are checked by keys that they publish: a JSON list (`pipeline.runtime.issuers`).
    jwt_issuers: Annotated[tuple[JwtIssuer, ...], NoDecode] = ()

    #: Signing in with an identity provider (OpenID Connect): all three together, or none.
    oidc_issuer: str | None = None
    oidc_client_id: str | None = None
    oidc_client_secret: SecretStr | None = None
    #: The organization that is signed in to; unset: the person's own one.
    oidc_organization: str | None = None
    #: The role of people who come for the first time; unset: only people that are known here may come.
    oidc_default_role: str | None = None

    #: The relay that mail to people themselves leaves by (invitations, new passwords), `smtp://user:password@host:587`
    #: or `smtps://`; unset: it waits, and `fieldpost people reset-link` gives out links.
    mail_relay_url: SecretStr | None = None
    #: Who that mail is from, such as `Desk <desk@example.org>`.
    mail_from: str | None = None

    #: A service account's key of the Firebase project whose apps get pushes; unset: nobody is pushed to, lists tell.
    fcm_credentials_file: Path | None = None
    #: Another service than Google's, as a proxy or a test.
    fcm_endpoint: str | None = Field(default=None, pattern=r"^https?://")

    #: `true`, `false`, or the private networks that addresses given by users may lead to; unset: true in development.
    allow_private_addresses: str | None = None

    @field_validator("history_schedule", "reconcile_schedule")
    @classmethod
    def _comes_round(cls, cron: str) -> str:
        slots.check(cron)
        return cron

    @field_validator("previous_secret_keys")
    @classmethod
    def _is_a_list_of_keys(cls, keys: SecretStr | None) -> SecretStr | None:
        _split(keys)
        return keys

    @field_validator("jwt_issuers", mode="before")
    @classmethod
    def _reads_issuers(cls, said: Any) -> Any:
        return read_issuers(said)

    @field_validator("jwt_issuers")
    @classmethod
    def _has_no_twins(cls, issuers: tuple[JwtIssuer, ...]) -> tuple[JwtIssuer, ...]:
        return no_twins(issuers)

    @field_validator("allow_private_addresses")
    @classmethod
    def _names_networks(cls, said: str | None) -> str | None:
        word = said.strip().lower() if said else None
        if word and word not in {"true", "false"}:
            public_addresses.networks(word)
        return word or None

    @model_validator(mode="after")
    def _fits_together(self) -> Settings:
        if self.oidc_default_role and not self.oidc_organization:
            raise ValueError("FIELDPOST_OIDC_DEFAULT_ROLE needs FIELDPOST_OIDC_ORGANIZATION: it is a role in it")
        if OWN_ISSUER in {self.dispatch_auth_jwt_issuer, *(one.issuer for one in self.jwt_issuers)}:
            raise ValueError(f"{OWN_ISSUER!r} is the issuer of our own access tokens: give another issuer its own name")
        given = (self.oidc_issuer, self.oidc_client_id, self.oidc_client_secret)
        if any(given) and not all(given):
            raise ValueError("set FIELDPOST_OIDC_ISSUER, _CLIENT_ID and _CLIENT_SECRET together, or none of them")
        if self.environment == "production" and self.oidc_issuer and not self.public_url:
            raise ValueError("FIELDPOST_OIDC_ISSUER needs FIELDPOST_PUBLIC_URL: the provider sends people back to it")
        if self.environment == "production" and any(issuer.is_plain for issuer in self.jwt_issuers):
            raise ValueError("in production the jwks_url of every issuer starts with https://")
        return self

    @property
    def is_oidc_served(self) -> bool:
        """True when people may sign in with an identity provider."""
        return bool(self.oidc_issuer and self.oidc_client_id and self.oidc_client_secret)

    @property
    def object_store_schemes(self) -> frozenset[str]:
        """The schemes of references that evidence may have."""
        said = self.dispatch_object_store_schemes.lower().split(",")
        return frozenset(one.strip().removesuffix("://") for one in said if one.strip())

    @property
    def previous_keys(self) -> tuple[str, ...]:
        """The keys before the current one."""
        return _split(self.previous_secret_keys)

    @property
    def is_dev_login_served(self) -> bool:
        """True when one may sign in, or send headers, without a proof: asked for, and never in production."""
        return self.allow_dev_login and self.environment != "production"

    @property
    def is_push_served(self) -> bool:
        """True when `POST /push/gmail` exists: it needs to know what a good token says."""
        return bool(self.push_audience and self.push_service_account)


def _split(keys: SecretStr | None) -> tuple[str, ...]:
    said = keys.get_secret_value().strip() if keys else ""
    if not said.startswith("["):
        return tuple(key.strip() for key in said.split(",") if key.strip())
    try:
        found = json.loads(said)
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(key, str) for key in found):
        raise ValueError("give the keys separated by commas, or as a JSON list of texts")
    return tuple(found)


def _known() -> set[str]:
    """Return the names with our prefix; a contract's own name stands without it."""
    return {_PREFIX + name.upper() for name, field in Settings.model_fields.items() if field.validation_alias is None}


def _unknown(names: list[str]) -> list[str]:
    known = _known()
    return sorted(name for name in names if name.upper().startswith(_PREFIX) and name.upper() not in known)


def _names_in_env_file() -> list[str]:
    path = Path(".env")
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return [line.split("=", 1)[0].removeprefix("export ").strip() for line in lines if "=" in line]


def read_settings() -> Settings:
    """Return this process's settings. Raises `UserError` for an unknown variable with the prefix or a bad value."""
    unknown = _unknown([*os.environ, *_names_in_env_file()])  # noqa: TID251 - this module is the reader
    if unknown:
        raise UserError(f"unknown variable {', '.join(unknown)}; known are {', '.join(sorted(_known()))}")
    try:
        return Settings()
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors())
        raise UserError(f"bad settings: {problems}") from None


#: What a process needs to find its programs, libraries, language and time zone; none of it is a secret.
_HARMLESS = frozenset(
    {"PATH", "HOME", "TMPDIR", "LANG", "LANGUAGE", "TZ", "TZDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"}
    | {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "PYTHONUTF8"}
)


def environment() -> dict[str, str]:
    """Return a copy of the process's environment, for building a child's."""
    return dict(os.environ)  # noqa: TID251 - this module is the reader


def harmless_environment() -> dict[str, str]:
    """Return the environment of a child that reads what strangers wrote: by name, so that no secret can be in it."""
    return {name: said for name, said in environment().items() if name in _HARMLESS or name.startswith("LC_")}
