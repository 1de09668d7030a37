"""`python -m tests.bench.work_orders`: what leads and technicians read of work orders, over HTTP, at 200,000 of them.

As `tests.bench.desk`: every request is a different one of its kind, behind row-level security, and beside the time on
the clock stands the CPU time of client, server and database together. The ratio is that CPU beside what the shortest
signed-in request of the same process costs (`GET /me`).
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from sqlalchemy import create_engine, text

from deploy.local.supervisor import Supervisor
from models import schema
from pipeline.runtime.db import Database
from pipeline.runtime.logs import set_up_logs
from tests.bench.desk import UNLIMITED, Cpu, Taken, take
from tests.bench.work_data import ABSENT, RARE, Made, make
from tests.ops_api.serving import Api, Person, serving, settings_for

Asked = Sequence[tuple[str, Mapping[str, Any]]]
_LIST, _MINE = "/api/v1/work-orders", "/api/v1/me/work-orders"
_STATES = ("created", "assigned", "in_progress", "returned", "outsourced", "done", "cancelled", "overdue", "due_soon")
_SHORTEST = "the shortest request"


def sample(db: Database, made: Made, count: int) -> list[Any]:
    """Return orders of all ages, the same in every run."""
    statement = text("""
        SELECT w.id, w.number, w.checklist_id, w.state, w.assigned_to_id FROM work_orders w
         WHERE w.org_id = :org ORDER BY md5(CAST(w.number AS text)) LIMIT :count
    """)
    with db.begin() as connection:
        return list(connection.execute(statement, {"org": made.org_id, "count": count}))


def of_leads(made: Made, orders: Sequence[Any]) -> dict[str, Asked]:
    """Return the requests of each kind that somebody sends who reaches everything."""

    def lists(*asked: Mapping[str, Any]) -> Asked:
        return [(_LIST, one) for one in asked]

    people, zones = made.technicians[:50], made.zones
    return {
        _SHORTEST: [("/me", {})],
        "open": lists({}),
        **{state: lists({"state": state}) for state in _STATES},
        "zone": lists(*({"gameZoneId": str(one)} for one in zones)),
        "zone, done": lists(*({"gameZoneId": str(one), "state": "done"} for one in zones)),
        "zone, late": lists(*({"gameZoneId": str(one), "overdue": "true"} for one in zones)),
        "technician": lists(*({"technicianId": str(one)} for one in people)),
        "technician, done": lists(*({"technicianId": str(one), "state": "done"} for one in people)),
        "q code": lists(*({"q": f"wo_{one.number}", "state": one.state} for one in orders)),
        "q common": lists(*({"q": one} for one in ("brake", "pads", "ride 1"))),
        "q rare, absent": lists({"q": RARE}, {"q": ABSENT}),
        "q rare, done": lists({"q": RARE, "state": "done"}, {"q": ABSENT, "state": "done"}),
        "detail": [(f"{_LIST}/{one.id}", {}) for one in orders],
        "timeline": [(f"{_LIST}/{one.id}/timeline", {}) for one in orders],
        "checklist": [(f"/api/v1/checklists/{one.checklist_id}", {}) for one in orders],
    }


_TECHNICIAN: dict[str, Asked] = {
    "dashboard": [("/api/v1/me/dashboard", {})],
    "mine": [(_MINE, {})],
    **{f"mine, {one}": [(_MINE, {"state": one})] for one in ("assigned", "returned", "overdue", "done")},
}
_STORE: dict[str, Asked] = {
    "outsourced, as the store sees it": [(_LIST, {})],
    "outsourced and done, likewise": [(_LIST, {"state": "done"})],
}


def measure(console: Console, supervisor: Supervisor, options: argparse.Namespace) -> list[Taken]:
    """Make the orders, serve them, and measure every kind of request."""
    url = supervisor.endpoints.database_url
    engine, began = create_engine(url), time.perf_counter()
    with engine.begin() as connection:
        schema.migrate(connection)
        made = make(connection, technicians=200, orders=options.orders, open_orders=options.orders // 33)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
    engine.dispose()
    console.print(f"[dim]{options.orders:,} orders made in {time.perf_counter() - began:.0f} s[/]")
    with serving(settings_for(url), limits=UNLIMITED) as api:
        orders, cpu = sample(api.db, made, 200), Cpu(supervisor.pids()["postgres"])
        asked = {
            name: (person, some) for person, kinds in _everybody(api, made, orders) for name, some in kinds.items()
        }
        random.Random(1).shuffle(order := list(asked))
        taken = {name: take(api, asked[name][0], cpu, name, asked[name][1], rounds=options.rounds) for name in order}
    return [taken[name] for name in asked]


def _everybody(api: Api, made: Made, orders: Sequence[Any]) -> list[tuple[Person, Mapping[str, Asked]]]:
    return [
        (api.signed_in(made.org_id, made.lead), of_leads(made, orders)),
        (api.signed_in(made.org_id, made.technicians[7]), _TECHNICIAN),
        (api.signed_in(made.org_id, made.store), _STORE),
    ]


def show(console: Console, taken: Sequence[Taken]) -> bool:
    """Print the figures; True when nothing of 2,000 rows or more is read through."""
    least = next(one.cpu_p50 for one in taken if one.name == _SHORTEST)
    table = Table("request", "p50 ms", "p95 ms", "CPU p50", "CPU p95", "ratio", "reads", box=None)
    for one in taken:
        figures = (f"{took:.1f}" for took in (one.p50, one.p95, one.cpu_p50, one.cpu_p95))
        table.add_row(one.name, *figures, f"{one.cpu_p50 / least:.1f}", ", ".join(one.scans))
    console.print(table)
    through = sorted({scan for one in taken for scan in one.scans if scan.startswith("Seq Scan")})
    console.print(f"read through of 2,000 rows or more: {', '.join(through) or 'nothing'}")
    console.print(f"load at the end {os.getloadavg()[0]:.1f}")
    return not through


def main() -> int:
    """Measure and print; 0 when nothing large is read through."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.work_orders", description="What reading orders takes.")
    parser.add_argument("--orders", type=int, default=200_000, help="how many (%(default)s); 300 MB for 200,000")
    parser.add_argument("--rounds", type=int, default=60, help="requests of each kind (%(default)s)")
    parser.add_argument("--folder", type=Path, help="where the database stands meanwhile; a temporary one unless given")
    options = parser.parse_args()
    set_up_logs("console", "error", "bench")
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    folder = Path(tempfile.mkdtemp(prefix="fieldpost-bench-", dir=options.folder)).resolve()
    console.print(f"[dim]load at the beginning {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores[/]")
    try:
        with Supervisor(folder, durable=False) as supervisor:
            is_good = show(console, measure(console, supervisor, options))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
