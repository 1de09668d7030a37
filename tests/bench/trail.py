"""`python -m tests.bench.trail`: what a command and its audit row cost, and what reading and proving the trail do."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from uuid import UUID

from sqlalchemy import create_engine, text

from deploy.local.supervisor import Supervisor
from models import row_security, schema
from models.queries import audit_trail
from models.queries.audit_trail import Filter
from pipeline.commands import desk
from pipeline.commands.desk_arguments import NewNote, TicketUpdate
from pipeline.runtime import audit_checking, auditing
from pipeline.runtime.auditing import Entry
from pipeline.runtime.db import Database
from pipeline.runtime.secrets import Secrets
from tests import factories
from tests.commands.desks import Desk
from tests.conftest import memory

_KEYS = Secrets("a secret key that only tests know")
_BATCH = 10_000


def spread(action: Callable[[], object], times: int) -> str:
    """Return how long an action takes, as p50 and p95."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        action()
        taken.append((time.perf_counter() - began) * 1000)
    taken.sort()
    return f"p50 {taken[times // 2]:7.2f} ms   p95 {taken[int(times * 0.95)]:7.2f} ms"


def rate(action: Callable[[], object], things: int) -> str:
    """Return how many things an action does a second."""
    began = time.perf_counter()
    action()
    return f"{things / (time.perf_counter() - began):,.0f} a second"


def measure(db: Database, size: int) -> None:
    """Print every figure."""
    ours, numbers = Desk.of(db), count()

    def update() -> None:
        status = TicketUpdate(status="open" if next(numbers) % 2 else "pending")
        ours.run(desk.UPDATE, status, key=ours.key(str(next(numbers))))

    def append(_: object = None) -> None:
        with db.begin() as connection:
            auditing.append(connection, Entry(ours.org_id, "ticket.note", "ann", details={"status": "new"}))

    print("ticket.update with its key ", spread(update, 300))
    print("ticket.note                ", spread(lambda: ours.run(desk.ADD_NOTE, NewNote(body_markdown="x")), 300))
    print("a row alone                ", spread(append, 500))
    with ThreadPoolExecutor(8) as pool:
        print("eight writers of one chain ", rate(lambda: list(pool.map(append, range(2000))), 2000))
    org_id = fill(db, size)
    with db.begin() as connection:
        print("proving                    ", rate(lambda: audit_checking.check(connection, _KEYS, org_id), size))
    read(db, org_id)


def fill(db: Database, size: int) -> UUID:
    """Return an organization with a long trail."""
    with db.begin() as connection:
        org_id = factories.organization(connection)
    for first in range(0, size, _BATCH):
        entries = [
            Entry(org_id, f"a.{n % 50}", f"p{n % 200}", target_id=f"t{n % 5000}", details={"n": n})
            for n in range(first, first + _BATCH)
        ]
        with db.begin() as connection:
            auditing.append_all(connection, org_id, entries)
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))
    return org_id


def read(db: Database, org_id: UUID) -> None:
    """Print what pages cost behind the barrier."""
    for wanted in (Filter(), Filter(actor="p7"), Filter(actor="nobody"), Filter(action="a."), Filter(target="t77")):

        def page(wanted: Filter = wanted) -> None:
            with db.begin() as connection:
                row_security.bind(connection, org_id)
                audit_trail.find(connection, org_id, wanted)

        said = wanted.actor or wanted.action or wanted.target or "everything"
        print(f"a page of {said:16} ", spread(page, 20))


def main() -> None:
    """Measure on a database of its own."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=300_000, help="rows of the long trail")
    size = options.parse_args().rows
    with (
        tempfile.TemporaryDirectory(prefix="fp-", dir=memory()) as folder,
        Supervisor(Path(folder) / "data", durable=False) as servers,
    ):
        engine = create_engine(servers.endpoints.database_url)
        with engine.begin() as connection:
            schema.migrate(connection)
        engine.dispose()
        db = Database(servers.endpoints.database_url, "bench", pool_size=12)
        measure(db, size)
        db.close()


if __name__ == "__main__":
    main()
