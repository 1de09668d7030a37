"""The network to one worker cut without a sign, and connections of which one end is gone."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from pipeline.runtime.db import Database, is_passing
from pipeline.runtime.settings import Settings
from tests.faults.proxy import before_postgres, before_valkey
from tests.flow.imports import Import
from tests.worker_process import until, worker_processes

pytestmark = pytest.mark.faults

_FEW = 40
#: A dead peer is noticed within this many seconds (reliability, F-56).
_NOTICED_WITHIN = 15
_QUICK = ("short_lease", "quick_sweeps")


@pytest.mark.fault("F-55")
def test_a_worker_cut_off_with_jobs_in_its_hands_is_replaced_and_its_late_work_refused(
    db: Database, settings: Settings, tmp_path: Path
) -> None:
    mail = Import(db, settings, tmp_path, _FEW)
    with ExitStack() as stack:
        networks = (
            stack.enter_context(before_postgres(str(settings.database_url), tcp=True)),
            stack.enter_context(before_valkey(str(settings.redis_url), tcp=True)),
        )
        far = settings.model_copy(update={"database_url": networks[0].url, "redis_url": networks[1].url})
        (tmp_path / "far").mkdir()
        far_workers = stack.enter_context(worker_processes(far, tmp_path / "far"))
        workers = stack.enter_context(worker_processes(settings, tmp_path))

        # It is cut off with bytes that it fetched, when no transaction is open.
        slow = {"at": {"stage.fetch.work.after": {"do": "delay", "seconds": 1.0}}, "with": _QUICK}
        cut_off = far_workers.start("tests.faults.failing_worker", json.dumps(slow))
        mail.deliver(mail.mails)
        until(lambda: far_workers.has_said(cut_off, "failpoint stage.fetch.work.after"), "jobs in its hands")
        for network in networks:
            network.blackhole()
        assert mail.held_by(cut_off.pid)

        workers.start("tests.faults.failing_worker", json.dumps({"with": _QUICK}))
        mail.finish()
        assert mail.violations() == []

        for network in networks:
            network.heal()
        until(lambda: far_workers.has_said(cut_off, "fence.refused"), "its late work to be refused")
        assert cut_off.poll() is None
        mail.verify(workers)


def _tcp_option(connection: Connection, option: int) -> int:
    driver = connection.connection.driver_connection
    assert driver is not None
    with socket.socket(fileno=os.dup(driver.fileno())) as end:
        return end.getsockopt(socket.IPPROTO_TCP, option)


@pytest.mark.fault("F-56")
def test_both_ends_of_a_database_connection_look_whether_the_other_lives(settings: Settings) -> None:
    with before_postgres(str(settings.database_url), tcp=True) as network:
        database = Database(network.url, "test")
        with database.begin() as connection:
            patience = _tcp_option(connection, socket.TCP_USER_TIMEOUT) / 1000
            looks = [
                _tcp_option(connection, option)
                for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
            ]
            said = text("SELECT name, reset_val FROM pg_settings WHERE name LIKE 'tcp_%' AND source = 'client'")
            server = {row.name: int(row.reset_val) for row in connection.execute(said)}
        database.close()
    assert patience <= _NOTICED_WITHIN
    assert looks[0] + looks[1] * looks[2] <= _NOTICED_WITHIN
    assert set(server) == {
        "tcp_keepalives_count", "tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_user_timeout",
    }  # fmt: skip


@pytest.mark.soak
@pytest.mark.fault("F-56")
@pytest.mark.parametrize("is_asking", [True, False])
def test_a_database_that_is_gone_without_a_sign_is_noticed_within_fifteen_seconds(
    settings: Settings, *, is_asking: bool
) -> None:
    with before_postgres(str(settings.database_url), tcp=True) as network:
        database = Database(network.url, "test")
        with database.engine.connect() as connection:
            connection.execute(text("SELECT 1"))
            # Either the request never arrives, or it did and its answer never does.
            pulled = threading.Timer(0.5 if is_asking else 0.0, network.blackhole)
            pulled.start()
            if not is_asking:
                pulled.join()
            began = time.monotonic()
            with pytest.raises(OperationalError) as refused:
                connection.execute(text("SELECT pg_sleep(1)"))
            seconds = time.monotonic() - began
        assert is_passing(refused.value)
        print(f"noticed after {seconds:.1f} s")
        assert seconds <= _NOTICED_WITHIN
        database.close()
