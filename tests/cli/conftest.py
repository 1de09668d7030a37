"""The command line under test: run in this process with its settings in the environment, or as a process."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog
from sqlalchemy import text

from ops_api.cli.main import run
from pipeline.runtime.db import Database
from pipeline.runtime.settings import Settings, environment


@dataclass(frozen=True)
class Result:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The JSON value on the last line of stdout."""
        return json.loads(self.out.splitlines()[-1])


Command = Callable[..., Result]


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No variable and no .env but those a test sets; logging as it was before."""
    for name in [name for name in environment() if name.startswith("FIELDPOST_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    handlers = logging.root.handlers[:]
    yield
    logging.root.handlers[:] = handlers
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def fieldpost(capfd: pytest.CaptureFixture[str]) -> Command:
    """Run one command line in this process."""

    def command(*arguments: object) -> Result:
        capfd.readouterr()
        code = run([str(argument) for argument in arguments])
        said = capfd.readouterr()
        return Result(code, said.out, said.err)

    return command


def trail(db: Database) -> list[Any]:
    """Return what the audit trail holds, the oldest first: action, target and who did it."""
    with db.begin() as connection:
        statement = text("SELECT action, target_kind, target_id, actor_id FROM audit_events ORDER BY org_id, number")
        return list(connection.execute(statement).all())


@pytest.fixture
def served(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Name the test's database, broker, blob store and data folder in the environment."""
    assert settings.database_url
    assert settings.redis_url
    assert settings.blob_url
    assert settings.secret_key
    monkeypatch.setenv("FIELDPOST_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("FIELDPOST_REDIS_URL", settings.redis_url)
    monkeypatch.setenv("FIELDPOST_BLOB_URL", settings.blob_url)
    monkeypatch.setenv("FIELDPOST_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("FIELDPOST_SECRET_KEY", settings.secret_key.get_secret_value())
    return settings
