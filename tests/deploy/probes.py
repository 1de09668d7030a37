"""Looking at running servers from outside: wait for conditions, ask the databases, start launchers."""

from __future__ import annotations

import json
import operator
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg
import redis
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from deploy.local.account import Account
from deploy.local.lock import Endpoints
from deploy.local.supervisor import Supervisor

LAUNCHER = Path(__file__).with_name("launcher.py")
AS_ROOT = os.geteuid() == 0


def quick(folder: Path, **options: Any) -> Supervisor:
    """A supervisor that spares the disk."""
    return Supervisor(folder, durable=False, **options)


def until(condition: Callable[[], bool], seconds: float = 15) -> None:
    """Return when `condition` holds; fails after `seconds`."""
    Retrying(retry=retry_if_result(operator.not_), stop=stop_after_delay(seconds), wait=wait_fixed(0.02))(condition)


def sql(endpoints: Endpoints, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """Run one statement in a connection of its own."""
    with closing(psycopg.connect(endpoints.database_url.replace("+psycopg", ""))) as connection, connection:
        cursor = connection.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


@contextmanager
def valkey(endpoints: Endpoints) -> Iterator[redis.Redis]:
    """A client of the Valkey server."""
    client = redis.Redis.from_url(endpoints.redis_url)
    try:
        yield client
    finally:
        client.close()


def gone(pids: Sequence[int]) -> bool:
    """Whether all processes ended; a zombie counts as ended."""
    return not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids)


@dataclass
class Launched:
    """A launcher in a process of its own: what it said when it was ready."""

    process: subprocess.Popen[str]
    pids: dict[str, int]
    endpoints: Endpoints


@contextmanager
def launched(
    folder: Path,
    *,
    python: Sequence[str] = (sys.executable,),
    script: Path = LAUNCHER,
    account: Account | None = None,
    env: Mapping[str, str] | None = None,
) -> Iterator[Launched]:
    """Start a launcher, wait for its ready line, and see to it that nothing is left of it."""
    process = subprocess.Popen(
        [*python, str(script), str(folder)],
        stdout=subprocess.PIPE, text=True, env=env, cwd="/",
        user=account.uid if account else None, group=account.gid if account else None,
        extra_groups=() if account else None,
    )  # fmt: skip
    pids: list[int] = []
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, "the launcher ended before it was ready"
        said = json.loads(line)
        pids.extend(said["pids"].values())
        yield Launched(process, said["pids"], Endpoints(said["database_url"], said["redis_url"]))
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()
        until(lambda: gone(pids))
