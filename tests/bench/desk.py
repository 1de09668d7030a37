"""`python -m tests.bench.desk`: list, search and detail of the ticket desk over HTTP, at a million tickets.

Every request is a different one of its kind, by an agent, behind row-level security; client and server share a process.
Beside the time on the clock stands the CPU time of client, server and database together: what it takes where nobody
else wants the cores, however busy the machine is.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from sqlalchemy import create_engine, text

from deploy.local.supervisor import Supervisor
from models import schema
from ops_api.limits import Limits
from pipeline.runtime.db import Database
from pipeline.runtime.logs import set_up_logs
from tests.bench.desk_data import ABSENT, COMMON, COMMON_TAG, RARE, RARE_TAG, Made, make, make_work
from tests.bench.plans import explained, scans
from tests.ops_api.serving import Api, Person, serving, settings_for

UNLIMITED = Limits(read_per_minute=10**9, search_per_minute=10**9, stray_per_minute=10**9)
_WORDS = ("charger", "connection to", "display stays dark", "card is not taken", "question about my bill")


@dataclass(frozen=True, slots=True)
class Taken:
    """What one kind of request took, in milliseconds, how many tickets a page had, and what its plans read."""

    name: str
    p50: float
    p95: float
    cpu_p50: float
    cpu_p95: float
    tickets: float
    scans: Sequence[str]


def sample(db: Database, made: Made, count: int) -> list[Any]:
    """Return tickets of all ages, the same in every run."""
    statement = text("""
        SELECT t.id, t.code, t.requester_email, t.assignee_user_id, t.queue_id, t.mailbox_id, t.account_id, t.tags,
               t.created_at, t.last_activity_at, substring(t.subject from 'AUS_[0-9]+') AS asset,
               EXISTS (SELECT FROM ticket_messages l WHERE l.ticket_id = t.id) AS has_mail
          FROM tickets t WHERE t.org_id = :org ORDER BY md5(t.code) LIMIT :count
    """)
    with db.begin() as connection:
        return list(connection.execute(statement, {"org": made.org_id, "count": count}))


def kinds(made: Made, tickets: Sequence[Any]) -> dict[str, list[tuple[str, Mapping[str, Any]]]]:
    """Return the requests of each kind."""
    owned = [one for one in tickets if one.assignee_user_id]
    queued = [one for one in tickets if one.queue_id]
    topics = [tag for one in tickets for tag in one.tags if tag.startswith("topic-")]
    assets = [one.asset for one in tickets if one.asset]

    def lists(asked: Sequence[Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
        return [("/tickets", one) for one in asked]

    def work(asked: Sequence[Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
        return [("/dispatch/queue", one) for one in asked]

    statuses = ("new", "open", "pending", "resolved", "closed", "spam")
    found = {
        "all": lists([{}]),
        "status": lists([{"status": one} for one in statuses]),
        "open or new or pending": lists([{"status": statuses[:3]}]),
        "person": lists([{"assignee_user_id": one.assignee_user_id} for one in owned]),
        "person, open": lists([{"assignee_user_id": one.assignee_user_id, "status": "open"} for one in owned]),
        "person, closed": lists([{"assignee_user_id": one.assignee_user_id, "status": "closed"} for one in owned]),
        "queue": lists([{"assignee_queue_id": one.queue_id} for one in queued]),
        "queue, pending": lists([{"assignee_queue_id": one.queue_id, "status": "pending"} for one in queued]),
        "unassigned, open": lists([{"unassigned": "true", "status": "open"}]),
        "tag common": lists([{"tag": COMMON_TAG}]),
        "tag, 1 in 1,000": lists([{"tag": one} for one in topics]),
        "tag rare, absent": lists([{"tag": RARE_TAG}, {"tag": "nobody-has-it"}]),
        "mailbox": lists([{"mailbox_id": one.mailbox_id} for one in tickets]),
        "priority": lists([{"priority": one} for one in ("low", "high", "urgent")]),
        "account": lists([{"account_id": one.account_id} for one in tickets]),
        "sla": lists([{"sla": one} for one in ("breach", "warning", "healthy", "paused")]),
        "until (any age)": lists([{"until": one.last_activity_at.isoformat()} for one in tickets]),
        "created before (any age)": lists([{"created_before": one.created_at.isoformat()} for one in tickets]),
        "q common": lists([{"q": one} for one in (COMMON, *_WORDS)]),
        "q common, pending": lists([{"q": one, "status": "pending"} for one in (COMMON, *_WORDS)]),
        "q asset (some 70)": lists([{"q": one} for one in assets]),
        "q address": lists([{"q": one.requester_email} for one in tickets]),
        "q code": lists([{"q": one.code} for one in tickets]),
        "q rare, absent": lists([{"q": one} for one in (RARE, ABSENT, "100%", "phone number")]),
        "q absent, of common words": lists([{"q": one} for one in ("charger at invoice", "bill for charger")]),
        "queue of work": work([{}]),
        "queue of work, by standing": work([{"sla_status": one} for one in ("breach", "warning", "healthy")]),
        "queue of work, by state": work([{"state": one} for one in ("NEW", "SCHEDULED", "IN_PROGRESS")]),
        "queue of work, none such": work([{"incident_type": "NOBODY_HAS_IT"}, {"state": "ON_HOLD"}]),
        "queue of work, account": work([{"account_id": one.account_id} for one in tickets]),
        "detail": [(f"/tickets/{one.id}", {}) for one in tickets if one.has_mail],
        "detail by code": [(f"/tickets/{one.code}", {}) for one in tickets],
        "detail, 2,000 messages": [(f"/tickets/{made.ticket_id}", {})],
    }
    return {name: asked for name, asked in found.items() if asked}


class Cpu:
    """The CPU time of this process and of the database's, in milliseconds; Linux tells the latter."""

    def __init__(self, postmaster: int) -> None:
        self._postmaster = postmaster
        self._backends: list[Path] = []

    def look(self) -> None:
        """Find the database's processes; those that begin later are not counted."""
        children = Path(f"/proc/{self._postmaster}/task/{self._postmaster}/children").read_text(encoding="ascii")
        self._backends = [Path(f"/proc/{pid}/schedstat") for pid in children.split()]

    def spent(self) -> float:
        """Return what was spent so far."""
        told = (path.read_text(encoding="ascii").split()[0] for path in self._backends if path.exists())
        return time.process_time() * 1000 + sum(map(int, told)) / 1_000_000


def take(
    api: Api, person: Person, cpu: Cpu, name: str, asked: Sequence[tuple[str, Mapping[str, Any]]], *, rounds: int
) -> Taken:
    """Ask `rounds` requests of a kind one after the other, after three that nobody counts."""
    took, burnt, tickets = [], [], []
    for number in range(-3, rounds):
        path, params = asked[number % len(asked)]
        if number == 0:
            cpu.look()
        began, cpu_began = time.perf_counter(), cpu.spent()
        answer = person.get(path, params=dict(params))
        spent, cpu_spent = (time.perf_counter() - began) * 1000, cpu.spent() - cpu_began
        if answer.status_code != 200:
            raise SystemExit(f"{name}: {answer.status_code} {answer.text[:300]}")
        if number >= 0:
            took.append(spent)
            burnt.append(cpu_spent)
            tickets.append(_length(answer.json()))
    with explained(api.db.engine) as plans:
        for path, params in asked[:4]:
            person.get(path, params=dict(params))
    times = (statistics.median(took), _quantile(took), statistics.median(burnt), _quantile(burnt))
    return Taken(name, *times, statistics.mean(tickets), _of_many(api.db, scans(plans)))


def _length(said: Mapping[str, Any]) -> int:
    return len(said.get("items", said.get("workOrders", "1")))


def _of_many(db: Database, found: Sequence[str]) -> list[str]:
    """Leave out small tables that are read through, as everybody should read those."""
    statement = text("SELECT relname FROM pg_class WHERE relkind = 'r' AND reltuples < 2000")
    with db.begin() as connection:
        small = {f"Seq Scan on {name}" for name in connection.execute(statement).scalars()}
    return [one for one in found if one not in small]


def _quantile(took: Sequence[float]) -> float:
    return sorted(took)[min(len(took) - 1, int(len(took) * 0.95))]


def measure(console: Console, supervisor: Supervisor, tickets: int, rounds: int) -> list[Taken]:
    """Make the tickets, serve them, and measure every kind of request."""
    url = supervisor.endpoints.database_url
    engine = create_engine(url)
    with engine.begin() as connection:
        schema.migrate(connection)
    began = time.perf_counter()
    with engine.begin() as connection:
        made = make(connection, tickets, mails=tickets // 20)
        make_work(connection)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
        size = connection.execute(text("SELECT pg_size_pretty(pg_database_size(current_database()))")).scalar_one()
    engine.dispose()
    console.print(f"[dim]{tickets:,} tickets made in {time.perf_counter() - began:.0f} s, {size}[/]")
    with serving(settings_for(url), limits=UNLIMITED) as api:
        person = api.person(made.org_id, "agent")
        asked = kinds(made, sample(api.db, made, 400))
        random.Random(1).shuffle(order := list(asked))
        cpu = Cpu(supervisor.pids()["postgres"])
        taken = {name: take(api, person, cpu, name, asked[name], rounds=rounds) for name in order}
    return [taken[name] for name in asked]


def show(console: Console, taken: Sequence[Taken]) -> None:
    """Print the figures."""
    table = Table("request", "p50 ms", "p95 ms", "CPU p50", "CPU p95", "tickets", "reads", box=None)
    for one in taken:
        figures = (*(f"{took:.1f}" for took in (one.p50, one.p95, one.cpu_p50, one.cpu_p95)), f"{one.tickets:.0f}")
        table.add_row(one.name, *figures, ", ".join(one.scans))
    console.print(table)
    through = sorted({scan for one in taken for scan in one.scans if scan.startswith("Seq Scan")})
    console.print(f"read through of 2,000 rows or more: {', '.join(through) or 'nothing'}")
    console.print(f"load at the end {os.getloadavg()[0]:.1f}")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.desk", description="What the ticket desk takes.")
    parser.add_argument("--tickets", type=int, default=1_000_000, help="how many (%(default)s); 1.5 GB for a million")
    parser.add_argument("--rounds", type=int, default=60, help="requests of each kind (%(default)s)")
    parser.add_argument("--folder", type=Path, help="where the database stands meanwhile; a temporary one unless given")
    options = parser.parse_args()
    set_up_logs("console", "error", "bench")
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    folder = Path(tempfile.mkdtemp(prefix="fieldpost-bench-", dir=options.folder)).resolve()
    console.print(f"[dim]load at the beginning {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores[/]")
    try:
        with Supervisor(folder, durable=False) as supervisor:
            show(console, measure(console, supervisor, options.tickets, options.rounds))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
