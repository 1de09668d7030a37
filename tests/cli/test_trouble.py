"""What a command says when the database goes away under it."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.exc import OperationalError, ProgrammingError

from ops_api.cli import session
from pipeline.runtime.errors import UserError

_Usage = namedtuple("_Usage", "total used free")


def _lost() -> OperationalError:
    return OperationalError("SELECT 1", {}, psycopg.OperationalError("server closed the connection\nmore"))


def test_a_full_disk_is_named_as_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: _Usage(100, 90, 10_000_000))
    said = r"only 10 MB are free for .*: make room .* nothing is lost"
    with pytest.raises(UserError, match=said), session._trouble_in_words(tmp_path):
        raise _lost()


def test_with_room_on_the_disk_the_command_is_to_be_run_again(tmp_path: Path) -> None:
    said = r"server closed the connection\); nothing is lost: run the command again"
    with pytest.raises(UserError, match=said), session._trouble_in_words(tmp_path):
        raise _lost()


def test_a_defect_stays_a_defect(tmp_path: Path) -> None:
    with pytest.raises(ProgrammingError), session._trouble_in_words(tmp_path):
        raise ProgrammingError("SELECT x", {}, psycopg.errors.UndefinedColumn("no such column"))
