"""Where data lies, what is refused, and where sockets go when the path is long."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from deploy.local.binaries import find_postgres, find_valkey
from deploy.local.layout import DataDir, default_data_dir, socket_folder
from pipeline.runtime.errors import UserError
from tests.deploy.probes import AS_ROOT, quick, sql, valkey


def test_the_default_folder_follows_the_account_and_the_xdg_rule() -> None:
    assert default_data_dir(True, {"XDG_STATE_HOME": "/x"}) == Path("/var/lib/fieldpost")
    assert default_data_dir(False, {"XDG_STATE_HOME": "/x", "HOME": "/h"}) == Path("/x/fieldpost")
    assert default_data_dir(False, {"XDG_STATE_HOME": "relative", "HOME": "/h"}) == Path("/h/.local/state/fieldpost")
    assert default_data_dir(False, {"HOME": "/h"}) == Path("/h/.local/state/fieldpost")


def test_the_versions_are_written_beside_the_data(folder: Path) -> None:
    with quick(folder):
        written = json.loads((folder / "VERSION").read_text())
    assert written == {"layout": 1, "postgres": find_postgres().major}


@pytest.mark.parametrize(("version", "words"), [(99, "newer"), (9, "older")])
def test_data_of_another_postgresql_is_refused_untouched(folder: Path, version: int, words: str) -> None:
    pgdata = folder / "pg" / "pgdata"
    pgdata.mkdir(parents=True)
    (pgdata / "PG_VERSION").write_text(f"{version}\n")
    with pytest.raises(UserError) as refused:
        quick(folder).start()
    for part in (f"PostgreSQL {version}", words, "pg_dump"):
        assert part in str(refused.value)
    assert list(pgdata.iterdir()) == [pgdata / "PG_VERSION"]
    assert not (folder / "VERSION").exists()


def test_data_of_a_newer_layout_is_refused_before_anything_is_made(folder: Path) -> None:
    (folder / "VERSION").write_text('{"layout": 2, "postgres": 18}')
    with pytest.raises(UserError, match="newer Fieldpost"):
        quick(folder).start()
    assert {entry.name for entry in folder.iterdir()} == {"VERSION", "fieldpost.lock"}


@pytest.mark.parametrize("text", ["", "18", "{}", '{"layout": "x"}'])
def test_a_damaged_version_file_is_refused(folder: Path, text: str) -> None:
    (folder / "VERSION").write_text(text)
    with pytest.raises(UserError, match="damaged"):
        quick(folder).start()


@pytest.mark.parametrize("name", ["long" * 30, "a,b"])
def test_a_path_unfit_for_sockets_uses_a_short_private_folder(folder: Path, name: str) -> None:
    with quick(folder / name) as running:
        assert str(folder) not in running.endpoints.redis_url
        sockets = Path(running.endpoints.redis_url.removeprefix("unix://").split("?")[0]).parent
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
        assert stat.S_IMODE(sockets.parent.stat().st_mode) == (0o711 if AS_ROOT else 0o700)
        assert sql(running.endpoints, "select 1") == [(1,)]
        with valkey(running.endpoints) as client:
            assert client.ping()


def test_a_foreign_or_open_folder_is_not_used_for_sockets(folder: Path) -> None:
    data = DataDir(folder / ("long" * 30))
    mine = folder / f"fieldpost-{os.geteuid()}"
    mine.mkdir()
    mine.chmod(0o777)
    with pytest.raises(UserError, match="not a private folder"):
        socket_folder(data, folder)
    mine.rmdir()
    mine.symlink_to(folder)
    with pytest.raises(UserError, match="not a private folder"):
        socket_folder(data, folder)
    with pytest.raises(UserError, match="too long"):
        socket_folder(data, folder / ("long" * 30))


def test_a_file_in_the_place_of_the_folder_is_told(folder: Path) -> None:
    (folder / "file").write_text("")
    with pytest.raises(UserError, match="--data"):
        quick(folder / "file").start()


def test_an_explicit_program_folder_must_hold_a_server(folder: Path) -> None:
    with pytest.raises(UserError, match="bin folder"):
        find_postgres(folder)
    with pytest.raises(UserError, match="valkey-server"):
        find_valkey(folder)
    assert find_postgres(find_postgres().folder) == find_postgres()
