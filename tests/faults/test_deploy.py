"""A new version comes while the old one works: its migration gives way to whoever uses a table, and nobody notices."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest
from sqlalchemy import create_engine, text

from deploy.demo.specs import Mail
from models import schema
from ops_api.cli.address import reserve
from ops_api.sessions import CSRF_HEADER
from pipeline.commands import migrating
from pipeline.runtime.db import Database
from tests.faults.machines import Machine, short_folder
from tests.flow.imports import Import, mailbox_letters
from tests.worker_process import WorkerProcesses, until

pytestmark = pytest.mark.fault("F-15")

_CHECKOUT = Path(__file__).resolve().parents[2]
#: What people look at meanwhile; one of them reads the table that the migration changes.
_PATHS = ("/mailboxes", "/ops/jobs/dlq", "/healthz")
_LOCKED = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"


def newest_migration() -> tuple[str, str]:
    """Return the file of the newest migration, and the revision before it."""
    newest = schema.newest()
    assert newest is not None
    (path,) = (_CHECKOUT / "models" / "migrations" / "versions").glob(f"{newest}_*.py")
    return path.relative_to(_CHECKOUT).as_posix(), f"{int(newest) - 1:04d}"


def previous_version(folder: Path) -> str:
    """Unpack the last version before the newest migration, and return its revision; skips without a history."""
    path, revision = newest_migration()
    git = ("git", "-C", str(_CHECKOUT))
    asked = [*git, "log", "--diff-filter=A", "--format=%H", "--", path]
    found = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.split()
    if not found:
        pytest.skip("the history that holds the version before is not here")
    archive = subprocess.run([*git, "archive", f"{found[-1]}^"], capture_output=True, check=False)
    if archive.returncode:
        pytest.skip("the history that holds the version before is cut off")
    folder.mkdir()
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    return revision


class Visitors:
    """People who use the API all the time, through a balancer that tries the other instance when one is not there."""

    def __init__(self, ports: list[int], organization: str) -> None:
        self._organization = organization
        self.ports, self.failures, self.answered, self.longest = ports, list[str](), 0, 0.0
        self._client = httpx.Client(timeout=30, trust_env=False)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._visit)

    def __enter__(self) -> Visitors:
        base = f"http://127.0.0.1:{self.ports[0]}"
        headers = {CSRF_HEADER: self._client.get(f"{base}/auth/csrf").json()["csrf_token"]}
        login = {"email": "ann@example.org", "organization_name": self._organization}
        self._client.post(f"{base}/auth/dev/login", json=login, headers=headers).raise_for_status()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._client.close()

    def _visit(self) -> None:
        while not self._over.wait(0.05):
            path = _PATHS[self.answered % len(_PATHS)]
            began = time.monotonic()
            status = self._status(path)
            self.longest = max(self.longest, time.monotonic() - began)
            self.answered += 1
            if status != 200:
                self.failures.append(f"{path}: {status}")

    def _status(self, path: str) -> int | str:
        said: int | str = "nobody there"
        turn = self.answered % len(self.ports)
        for port in (*self.ports[turn:], *self.ports[:turn]):
            try:
                return self._client.get(f"http://127.0.0.1:{port}{path}").status_code
            except httpx.TransportError as error:
                said = type(error).__name__
        return said


class Version:
    """The processes of one version: a worker and an API."""

    def __init__(self, machine: Machine, folder: Path, code: Path) -> None:
        folder.mkdir()
        self.port = reserve("127.0.0.1", 0)
        self.processes = WorkerProcesses(machine.settings, folder)
        self.processes._environment |= {"PYTHONPATH": str(code), "ALLOW_DEV_LOGIN": "true"}
        self.worker = self.processes.start()
        self.api = self.processes.start("ops_api.cli", "api", "--port", str(self.port))

    def is_ready(self) -> bool:
        """Say whether its API answers and its worker works."""
        assert self.api.poll() is None, self.processes.words()
        try:
            httpx.get(f"http://127.0.0.1:{self.port}/readyz", trust_env=False).raise_for_status()
        except httpx.HTTPError:
            return False
        return self.processes.has_said(self.worker, "worker.started")

    def stop(self) -> None:
        """Stop both as a deploy does: SIGTERM, and time to finish."""
        self.processes.terminate(self.worker, 30)
        self.api.terminate()
        self.api.wait(30)

    def close(self) -> None:
        """Kill what is left; its last words are shown when the test failed."""
        self.processes.close()
        print(self.processes.words())


@contextmanager
def held(machine: Machine) -> Iterator[None]:
    """Read the table that is to be changed in a transaction that stays open during the block."""
    assert machine.settings.database_url is not None
    engine = create_engine(machine.settings.database_url)
    with engine.begin() as connection:
        connection.execute(text("SELECT count(*) FROM dead_letters"))
        yield
    engine.dispose()


def migrate_beside(machine: Machine, told: list[str]) -> threading.Thread:
    """Begin to migrate as `fieldpost migrate` does."""
    assert machine.settings.database_url is not None
    url = machine.settings.database_url

    def run() -> None:
        with closing(Database(url, "migrate")) as db:
            told.append(str(migrating.bring_up(db, told.append)))

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def deploy(folder: Path, size: int) -> tuple[Visitors, float]:
    """Import mail with the version before, migrate and change over meanwhile; return the visitors, and the seconds."""
    revision = previous_version(folder / "old-code")
    machine = Machine(folder / "box", revision)
    versions: list[Version] = []
    try:
        mail = Import(machine.db, machine.settings, folder, size)
        versions.append(old := Version(machine, folder / "old", folder / "old-code"))
        until(old.is_ready, "the old version")
        first, *rest = mail.portions(4)
        mail.deliver(first)
        with Visitors([old.port], mail.scenario.organization) as visitors:
            until(mail.routed, "the first mails to come through")
            began = time.monotonic()
            migrate_under_load(machine, mail, rest[:2])
            versions.append(new := Version(machine, folder / "new", _CHECKOUT))
            change_over(old, new, visitors)
            seconds = time.monotonic() - began
        mail.deliver(rest[-1])
        mail.finish()
        assert mail.violations() == []
        # The company gets a few empty mails; nothing else may be buried.
        assert set(mailbox_letters(machine.db)) <= {("parse", "permanent")}
    finally:
        for version in versions:
            version.close()
        machine.close()
    return visitors, seconds


def migrate_under_load(machine: Machine, mail: Import, portions: Sequence[Sequence[Mail]]) -> None:
    """Migrate behind a transaction that uses the table, with mail coming before and after."""
    told: list[str] = []
    with held(machine):
        migration = migrate_beside(machine, told)
        until(lambda: machine.count(_LOCKED), "the migration to wait for its table")
        mail.deliver(portions[0])
        until(lambda: told, "the migration to give way")
    migration.join()
    assert "waits" in told[0]
    assert told[-1] == schema.newest()
    mail.deliver(portions[1])


def change_over(old: Version, new: Version, visitors: Visitors) -> None:
    """Let the new version work beside the old one, then stop the old one."""
    until(new.is_ready, "the new version")
    visitors.ports = [old.port, new.port]
    answered = visitors.answered
    until(lambda: visitors.answered > answered + 5, "both versions to be used side by side")
    visitors.ports = [new.port]
    old.stop()


def test_a_migration_waits_for_its_table_without_holding_up_anybody() -> None:
    """Readers come again and again while it waits; behind one that queued they would give up."""
    _, revision = newest_migration()
    told: list[str] = []
    with short_folder() as folder, closing(machine := Machine(folder / "box", revision)):
        with held(machine):
            migration = migrate_beside(machine, told)
            until(lambda: machine.count(_LOCKED), "the migration to wait for its table")
            for _ in range(20):
                read_patiently(machine)
            until(lambda: told, "the migration to give way")
        migration.join()
    assert "waits" in told[0]
    assert told[-1] == schema.newest()


def read_patiently(machine: Machine) -> None:
    """Read the table that is to be changed; fails when that takes longer than a request may."""
    with machine.db.begin() as connection:
        connection.execute(text("SET LOCAL lock_timeout = '5s'"))
        connection.execute(text("SELECT count(*) FROM dead_letters"))


@pytest.mark.soak
def test_a_new_version_and_its_migration_during_a_backfill_fail_no_request_and_lose_no_mail() -> None:
    with short_folder() as folder:
        visitors, seconds = deploy(folder, size=1_200)
    assert visitors.failures == []
    assert visitors.answered > 20
    print(f"{visitors.answered} requests, longest {visitors.longest:.2f} s, changed over within {seconds:.1f} s")
