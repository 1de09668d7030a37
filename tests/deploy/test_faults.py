"""What survives: killed launchers, killed servers, stale locks, orphans, full disks."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from pathlib import Path

import psutil
import psycopg
import pytest

from deploy.local.account import choose
from deploy.local.attach import attach
from deploy.local.binaries import find_postgres
from deploy.local.layout import DataDir
from deploy.local.supervisor import Supervisor
from pipeline.runtime.errors import UserError
from tests.deploy.probes import gone, launched, quick, sql, until, valkey

pytestmark = pytest.mark.faults


def test_a_killed_launcher_takes_everything_down_and_the_next_start_finds_the_data(used: Path) -> None:
    with launched(used) as launcher:
        sql(launcher.endpoints, "create table launcher_killed as select generate_series(1, 1000) as number")
        with valkey(launcher.endpoints) as client:
            client.set("kept", "yes")
        launcher.process.kill()
        launcher.process.wait()
        assert attach(used) is None
        with quick(used) as running, valkey(running.endpoints) as client:
            assert gone(list(launcher.pids.values()))
            assert sql(running.endpoints, "select count(*), sum(number) from launcher_killed") == [(1000, 500_500)]
            assert client.get("kept") == b"yes"


def test_everything_killed_at_once_comes_back_with_its_data(used: Path) -> None:
    with launched(used) as launcher:
        sql(launcher.endpoints, "create table all_killed as select 5 as number")
        family = psutil.Process(launcher.process.pid).children(recursive=True)
        for process in (psutil.Process(launcher.process.pid), *family):
            with contextlib.suppress(psutil.NoSuchProcess):  # the death of its parent was faster
                process.kill()
        with quick(used) as running:
            assert sql(running.endpoints, "select number from all_killed") == [(5,)]


def test_stale_lock_files_of_a_reused_pid_do_not_block_the_start(used: Path) -> None:
    data = DataDir.at(used)
    with quick(used) as running:
        stale = (data.pgdata / "postmaster.pid").read_text()
        lock = (data.run / ".s.PGSQL.5432.lock").read_text()
        old = str(running.pids()["postgres"])
    alive = str(os.getpid())
    (data.pgdata / "postmaster.pid").write_text(stale.replace(old, alive, 1))
    (data.run / ".s.PGSQL.5432.lock").write_text(lock.replace(old, alive, 1))
    (data.run / ".s.PGSQL.5432").touch()
    (data.run / "valkey.sock").touch()
    with quick(used) as running:
        assert sql(running.endpoints, "select 1") == [(1,)]


def test_a_server_orphaned_by_a_dead_supervisor_is_stopped_before_the_next_one(used: Path) -> None:
    data = DataDir.at(used)
    with quick(used) as running:
        sql(running.endpoints, "create table orphaned as select 3 as number")
    account = choose(data).account
    orphan = subprocess.Popen(
        [find_postgres().postgres, "-D", data.pgdata, "-k", data.run, "-c", "listen_addresses="],
        user=account.uid if account else None, group=account.gid if account else None,
        extra_groups=() if account else None, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/",
    )  # fmt: skip
    until(lambda: (data.pgdata / "postmaster.pid").exists() and "ready" in (data.pgdata / "postmaster.pid").read_text())
    with quick(used) as running:
        assert orphan.wait(10) is not None
        assert sql(running.endpoints, "select number from orphaned") == [(3,)]


def test_a_killed_postgres_is_started_again_by_the_watch_with_its_data(used: Path) -> None:
    with Supervisor(used) as running:
        sql(running.endpoints, "create table watched as select 9 as number")
        stop = threading.Event()
        watch = threading.Thread(target=running.supervise, args=(stop,))
        watch.start()
        try:
            pid = running.pids()["postgres"]
            psutil.Process(pid).kill()
            until(lambda: running.pids().get("postgres") != pid and attach(used) is not None)
        finally:
            stop.set()
            watch.join()
        assert sql(running.endpoints, "select number from watched") == [(9,)]


def test_a_killed_backend_leaves_the_same_server_running(used: Path) -> None:
    with quick(used) as running:
        connection = psycopg.connect(running.endpoints.database_url.replace("+psycopg", ""))
        pid = running.pids()["postgres"]
        psutil.Process(connection.info.backend_pid).kill()
        connection.close()
        log = used / "logs" / "postgres.log"
        until(lambda: "reinitializing" in log.read_text() and attach(used) is not None)
        running.check()
        assert running.pids()["postgres"] == pid
        assert sql(running.endpoints, "select 1") == [(1,)]


def test_servers_stopped_on_purpose_stay_down_until_started(used: Path) -> None:
    with quick(used) as running:
        running.stop_postgres(immediate=True)
        running.kill_valkey()
        running.check()
        assert running.pids() == {}
        running.start_postgres()
        running.start_postgres()
        running.start_valkey()
        assert set(running.pids()) == {"postgres", "valkey"}
        running.kill_postgres()
        running.start_postgres()
        assert sql(running.endpoints, "select 1") == [(1,)]


def test_what_valkey_was_told_survives_its_kill(used: Path) -> None:
    with quick(used) as running:
        with valkey(running.endpoints) as client:
            for number in range(500):
                client.rpush("queue", number)
        running.kill_valkey()
        running.start_valkey()
        with valkey(running.endpoints) as client:
            assert client.lrange("queue", 0, -1) == [str(number).encode() for number in range(500)]
        psutil.Process(running.pids()["valkey"]).kill()
        until(lambda: running.check() or attach(used) is not None)
        with valkey(running.endpoints) as client:
            assert client.llen("queue") == 500


def test_a_half_made_database_of_an_interrupted_first_start_is_made_anew(folder: Path) -> None:
    half = DataDir.at(folder).pg / "pgdata.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    with quick(folder) as running:
        assert sql(running.endpoints, "select 1") == [(1,)]
    assert not half.exists()


def test_a_full_disk_is_told_with_the_servers_last_lines_and_what_to_do(folder: Path) -> None:
    programs = folder / "bin"
    programs.mkdir()
    words = 'echo "could not write to file: No space left on device"; exit 1'
    for name, text in {"postgres": 'echo "postgres (PostgreSQL) 18.6"', "initdb": words}.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    folder.chmod(0o711)
    with pytest.raises(UserError) as told:
        quick(folder / "data", postgres_bin=programs).start()
    assert "could not write to file: No space left on device" in str(told.value)
    assert "free some space" in str(told.value)


def test_a_server_that_does_not_start_is_told_with_its_last_lines(used: Path) -> None:
    with quick(used):
        pass
    with pytest.raises(UserError) as told:
        quick(used, postgres_settings={"shared_buffers": "nonsense"}).start()
    assert 'invalid value for parameter "shared_buffers"' in str(told.value)
    assert "postgres.log" in str(told.value)


def test_a_valkey_that_does_not_start_is_told_with_what_may_be_given_up(folder: Path) -> None:
    with quick(folder, database_url="x"):
        pass
    next((folder / "valkey").rglob("*.manifest")).write_text("no manifest\n")
    with pytest.raises(UserError, match="Valkey did not start") as told:
        quick(folder, database_url="x").start()
    assert "may be moved away" in str(told.value)
