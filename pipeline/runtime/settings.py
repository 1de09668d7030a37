"""The settings: the only reader of the environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from pipeline.runtime.errors import UserError

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
    environment: Literal["development", "production"] = "development"
    gmail_endpoint: str | None = None
    public_url: str | None = None
    log_format: Literal["console", "json"] = "console"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    #: Minutes are too long on call: the schedule asks each mailbox for changes this often.
    history_interval_seconds: float = Field(default=30.0, ge=0.1, le=86_400)

    #: Workers on this machine leave their counters here (PROMETHEUS_MULTIPROC_DIR), and the API adds them to its own.
    metrics_dir: Path | None = None
    #: A worker on a machine of its own serves its counters on this port.
    metrics_port: int | None = Field(default=None, ge=1, le=65_535)

    allow_dev_login: bool = Field(default=False, validation_alias="ALLOW_DEV_LOGIN")
    enable_prometheus_metrics: bool = Field(default=True, validation_alias="ENABLE_PROMETHEUS_METRICS")
    dispatch_auth_jwt_secret: SecretStr | None = Field(default=None, validation_alias="DISPATCH_AUTH_JWT_SECRET")
    dispatch_auth_jwt_issuer: str | None = Field(default=None, validation_alias="DISPATCH_AUTH_JWT_ISSUER")
    dispatch_auth_jwt_audience: str | None = Field(default=None, validation_alias="DISPATCH_AUTH_JWT_AUDIENCE")


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


def environment() -> dict[str, str]:
    """Return a copy of the process's environment, for building a child's."""
    return dict(os.environ)  # noqa: TID251 - this module is the reader
