"""The whole description, asked by three roles: no failure of ours, and no answer that it does not promise."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from ops_api import password_door
from ops_api.app import make_app
from pipeline.adapters.blobs import open_blob_store
from pipeline.runtime.secrets import Secrets
from tests.ops_api.fuzzing import UNLIMITED, Client, Fuzz, operations, seeded
from tests.ops_api.password_world import CHEAP_PASSWORDS
from tests.ops_api.serving import settings_for

_ROLES = ("admin", "agent", "viewer")
#: The operations are dealt out to so many tests, so that they can run side by side.
_PARTS = 8
_CASES, _MANY_CASES = 6_000, 100_000


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let passwords cost next to nothing, and the answers that always take as long take no time."""
    monkeypatch.setattr(password_door, "Passwords", lambda: CHEAP_PASSWORDS)
    monkeypatch.setattr(password_door, "ASK_TAKES", timedelta(0))


@cache
def _operations() -> list[Any]:
    """Read the description once for all parts: it is the same whatever the database."""
    return operations(make_app(settings_for("postgresql://nowhere.example/none")).openapi())


def _fuzz(database_url: str, folder: Path, roles: Sequence[str | None], part: int, cases: int) -> None:
    number = secrets.randbelow(2**32)
    settings = settings_for(database_url, blob_url=f"file://{folder}/blobs")
    app = make_app(settings, limits=UNLIMITED)
    there = seeded(app.state.services.db, Secrets.of(settings), open_blob_store(settings.blob_url or ""))
    with Client(app) as client:
        tally = Fuzz(client, _operations(), there, roles).run(part, _PARTS, cases, number)
    print(f"seed {number}, part {part}: {tally.asked} cases, {dict(sorted(tally.statuses.items()))}")
    told = "\n\n".join(f"{key}\n{said}" for key, said in tally.problems.items())
    assert not tally.problems, f"seed {number}, part {part}:\n{told}"


@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", range(_PARTS))
def test_every_answer_is_as_described(database_url: str, tmp_path: Path, part: int) -> None:
    _fuzz(database_url, tmp_path, _ROLES, part, _CASES // _PARTS)


@pytest.mark.soak
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("part", range(_PARTS))
def test_every_answer_is_as_described_for_long(database_url: str, tmp_path: Path, part: int) -> None:
    _fuzz(database_url, tmp_path, [*_ROLES, None], part, _MANY_CASES // _PARTS)
