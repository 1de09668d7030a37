"""Start, stop, attach and roles, with the real servers."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

import psutil
import pytest

from deploy.local.attach import attach
from deploy.local.layout import DataDir
from deploy.local.processes import size, tail
from deploy.local.supervisor import Supervisor
from pipeline.runtime.errors import UserError
from tests.deploy.probes import gone, launched, quick, sql, until, valkey


def python(code: str) -> list[str]:
    """A command that runs `code`."""
    return [sys.executable, "-S", "-u", "-c", code]


def test_a_cold_start_gives_servers_and_a_warm_start_finds_their_data(folder: Path) -> None:
    with Supervisor(folder / "new") as first:
        sql(first.endpoints, "create table kept as select 7 as number")
        with valkey(first.endpoints) as client:
            client.set("kept", "seven")
        pids = list(first.pids().values())
    assert gone(pids)
    assert not list((folder / "new" / "run").iterdir())
    with Supervisor(folder / "new") as second, valkey(second.endpoints) as client:
        assert sql(second.endpoints, "select number from kept") == [(7,)]
        assert client.get("kept") == b"seven"


def test_the_database_is_utf8_checked_private_and_loses_nothing_it_confirmed(folder: Path) -> None:
    with Supervisor(folder) as running:
        settings = dict(sql(running.endpoints, "select name, setting from pg_settings"))
        assert sql(running.endpoints, "select datcollate, datlocale, current_user::text from pg_database limit 1") == [
            ("C", "C.UTF-8", "app")
        ]
    expected = {
        "server_encoding": "UTF8", "data_checksums": "on", "fsync": "on", "full_page_writes": "on", "jit": "off",
        "synchronous_commit": "on", "listen_addresses": "", "unix_socket_permissions": "0700", "TimeZone": "UTC",
        "max_wal_size": "2048", "checkpoint_timeout": "900", "autovacuum_naptime": "10", "max_connections": "200",
    }  # fmt: skip
    assert {name: settings[name] for name in expected} == expected


def test_given_settings_win_over_the_defaults(used: Path) -> None:
    with quick(used, postgres_settings={"max_connections": "33"}) as running:
        assert sql(running.endpoints, "show max_connections") == [("33",)]
        assert sql(running.endpoints, "show fsync") == [("off",)]


def test_a_second_start_is_refused_and_told_who_runs_where(used: Path) -> None:
    with quick(used) as running:
        running.announce("http://127.0.0.1:8123")
        with pytest.raises(UserError) as refused:
            quick(used).start()
        assert sql(running.endpoints, "select 1") == [(1,)]
    for part in (str(os.getpid()), "http://127.0.0.1:8123", str(used), "--data"):
        assert part in str(refused.value)


def test_another_process_attaches_only_while_both_servers_are_ready(used: Path) -> None:
    assert attach(used / "absent") is None
    with quick(used) as running:
        assert attach(used) == running.endpoints
        running.stop_valkey()
        assert attach(used) is None
        running.start_valkey()
        running.stop_postgres(immediate=True)
        assert attach(used) is None
        running.start_postgres()
        assert attach(used) == running.endpoints
    assert attach(used) is None


def test_a_lock_file_without_a_holder_attaches_nobody(used: Path) -> None:
    with quick(used):
        claimed = DataDir.at(used).lock_file.read_bytes()
    DataDir.at(used).lock_file.write_bytes(claimed)
    assert attach(used) is None


def test_a_path_with_spaces_accents_and_percent_signs_works(folder: Path) -> None:
    with quick(folder / "a b é 100%20+") as running:
        assert attach(folder / "a b é 100%20+") == running.endpoints
        with valkey(running.endpoints) as client:
            assert client.ping()
        assert sql(running.endpoints, "select 1") == [(1,)]


def test_a_given_database_is_passed_on_and_only_valkey_started(folder: Path) -> None:
    with quick(folder, database_url="postgresql+psycopg://db.example/fieldpost") as running:
        assert running.endpoints.database_url == "postgresql+psycopg://db.example/fieldpost"
        assert set(running.pids()) == {"valkey"}
        assert attach(folder) == running.endpoints
        with pytest.raises(RuntimeError):
            running.stop_postgres()


def test_a_role_gets_its_environment_an_empty_mask_a_session_and_a_log(used: Path) -> None:
    code = "import os, signal; print(os.getsid(0) == os.getpid(), signal.pthread_sigmask(0, ()), os.environ['WORD'])"
    log = used / "logs" / "worker-1.log"
    with quick(used) as running:
        running.start_role("worker-1", python(code + "; signal.pause()"), {"WORD": "given"})
        until(lambda: log.exists() and "given" in log.read_text())
        pid = running.pids()["worker-1"]
        with pytest.raises(UserError, match="already"):
            running.start_role("worker-1", python(""), {})
        running.stop_role("worker-1")
        assert gone([pid])
    assert log.read_text() == "True set() given\n"


def test_a_program_that_does_not_exist_is_told_and_leaves_no_role(folder: Path) -> None:
    with quick(folder, database_url="x", redis_url="y") as running:
        with pytest.raises(UserError, match="no-such-program"):
            running.start_role("worker", [str(folder / "no-such-program")], {})
        assert running.pids() == {}


def test_a_role_that_dies_is_started_again_at_once_and_then_with_a_pause(folder: Path) -> None:
    with quick(folder, database_url="x", redis_url="y") as running:
        running.start_role("worker", python("import signal; signal.pause()"), {})
        first = psutil.Process(running.pids()["worker"])
        first.kill()
        until(lambda: gone([first.pid]))
        running.check()
        second = psutil.Process(running.pids()["worker"])
        assert second.pid != first.pid
        second.kill()
        until(lambda: gone([second.pid]))
        running.check()
        assert running.pids()["worker"] == second.pid
        until(lambda: running.check() or running.pids()["worker"] != second.pid)


@pytest.mark.parametrize("ending", ["restart", "stop"])
def test_what_a_dead_role_left_behind_is_ended(folder: Path, ending: str) -> None:
    child = f"import subprocess; subprocess.Popen({python('import signal; signal.pause()')!r})"
    with quick(folder, database_url="x", redis_url="y") as running:
        running.start_role("worker", python(f"{child}; print('up'); import signal; signal.pause()"), {})
        until(lambda: "up" in (folder / "logs" / "worker.log").read_text())
        role = psutil.Process(running.pids()["worker"])
        left = [process.pid for process in role.children()]
        assert left
        role.kill()
        until(lambda: gone([role.pid]))
        assert not gone(left)
        if ending == "restart":
            running.check()
        else:
            running.stop_role("worker")
        until(lambda: gone(left))


def test_roles_started_by_another_thread_outlive_that_thread(folder: Path) -> None:
    with quick(folder, database_url="x", redis_url="y") as running:
        argv = python("import signal; print('up'); signal.pause()")
        starter = threading.Thread(target=running.start_role, args=("worker", argv, {}))
        starter.start()
        starter.join()
        until(lambda: "up" in (folder / "logs" / "worker.log").read_text())
        pid = running.pids()["worker"]
        assert not gone([pid])
    assert gone([pid])


def test_roles_stop_before_the_servers_they_use(used: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "def leave(*_):\n"
        "    print(os.path.exists(sys.argv[1] + '/.s.PGSQL.5432'), os.path.exists(sys.argv[1] + '/valkey.sock'))\n"
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, leave)\nprint('up')\nwhile True: signal.pause()"
    )
    log = used / "logs" / "api.log"
    with quick(used) as running:
        running.start_role("api", [*python(code), str(used / "run")], {})
        until(lambda: "up" in log.read_text())
    assert log.read_text().splitlines() == ["up", "True True"]


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_signal_ends_everything_cleanly_even_when_repeated(used: Path, stop: signal.Signals) -> None:
    log = used / "logs" / "postgres.log"
    before = size(log)
    with launched(used) as launcher:
        launcher.process.send_signal(stop)
        launcher.process.send_signal(stop)
        assert launcher.process.wait(30) == 0
        assert gone(list(launcher.pids.values()))
    assert "database system is shut down" in tail(log, before)


def test_a_failed_start_stops_what_it_started_and_frees_the_folder(folder: Path) -> None:
    with pytest.raises(UserError, match="no valkey-server program"):
        quick(folder, valkey_program=folder / "missing").start()
    with quick(folder) as running:
        assert sql(running.endpoints, "select 1") == [(1,)]
