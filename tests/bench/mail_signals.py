"""`python -m tests.bench.mail_signals`: what triage takes of a mail, with a small registry and with a large one.

Mails that name nothing and tell nothing, that tell of trouble and name nothing (misspelt names), and that name an
asset; a full reading of the registry after a change; an import of a file of 100,000.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from sqlalchemy import text

from deploy.local.supervisor import Supervisor
from pipeline.adapters.learned_status import BuiltIn
from pipeline.core.asset_files import AssetRow
from pipeline.runtime import asset_editing, asset_registry, asset_rows
from pipeline.runtime.db import Database
from pipeline.runtime.logs import set_up_logs
from pipeline.stage import Work
from pipeline.stages import triage
from tests import factories
from tests.bench.stand import Stand

_PORTS: Any = SimpleNamespace(statuses=BuiltIn())
_BATCH = 200
_PLAIN = (
    "Hello, I have a question about my invoice of last month: it seems that the second line was counted twice. "
    "Please check it and send me a new one. We would also like to know who our contact is for the next quarter.\n\n"
) * 5
_KINDS = {
    "names and tells nothing": ("A question", _PLAIN),
    "tells of trouble, names nothing": ("Trouble", f"{_PLAIN}The brokn hydrant at the pond is dead since Monday."),
    "a misspelt name": ("Trouble", "The charger bay harbur 4711 is dead since Monday."),
    "names an asset": ("Trouble", "Tag-04711 is dead since Monday, the display is black."),
}
_MAILS = text("""
    WITH made AS (
        INSERT INTO messages (org_id, fingerprint, signature, subject, subject_norm, from_address, received_at, snippet,
                              raw_sha256, parser_version)
        SELECT :org, sha256(CAST(:kind || n AS bytea)), sha256(CAST(:kind || n AS bytea)), :subject, :subject,
               'p' || n || '@x.example', now(), '', sha256(CAST(:kind || n AS bytea)), 1
          FROM generate_series(1, :many) n RETURNING id
    ), texts AS (INSERT INTO message_contents (message_id, body_text) SELECT id, :body FROM made RETURNING message_id)
    SELECT message_id FROM texts ORDER BY 1
""")
_INDEX = text("""
    CREATE INDEX IF NOT EXISTS ix_assets_name_trigrams ON assets USING gin (lower(name) gin_trgm_ops) WHERE name <> ''
""")


def registry(db: Database, org_id: UUID, many: int) -> float:
    """Import a registry; return the seconds."""
    rows = [AssetRow(n + 2, f"TAG-{n:05}", f"Charger bay harbour {n}") for n in range(many)]
    began = time.perf_counter()
    with db.begin() as connection:
        asset_rows.alone(connection, org_id)
        asset_rows.touch(connection, org_id)
        print("  imported:", asset_editing.import_rows(connection, org_id, frozenset({"tag", "name"}), rows))
    with db.begin() as connection:
        connection.execute(text("ANALYZE assets"))
    return time.perf_counter() - began


def batch(db: Database, org_id: UUID, mailbox_id: UUID, ids: list[int]) -> tuple[float, int]:
    """Return the milliseconds per mail of a batch that is loaded, worked and saved; and the signals."""
    jobs = [factories.job(str(one), "triage", org_id, mailbox_id) for one in ids]
    began = time.perf_counter()
    with db.begin() as connection:
        items = triage.load(connection, jobs)
        results = triage.work([items[job.job_id] for job in jobs], _PORTS)
        triage.save(connection, [Work(job, items[job.job_id], one) for job, one in zip(jobs, results, strict=True)])
        signals = sum(len(one) for one in results if not isinstance(one, Exception))
    return (time.perf_counter() - began) * 1_000 / len(ids), signals


def measure(db: Database, many: int, rounds: int, *, is_indexed: bool) -> None:
    """Print what one registry's mails take."""
    with db.begin() as connection:
        org_id = factories.organization(connection)
        mailbox_id = factories.mailbox(connection, org_id, f"help{many}@x.example")
        connection.execute(_INDEX if is_indexed else text("SELECT 1"))
    print(f"{many} assets; in the database in {registry(db, org_id, many):.1f} s")
    began = time.perf_counter()
    with db.begin() as connection:
        asset_registry.known(connection, [org_id])
    print(f"  read and compiled after a change: {time.perf_counter() - began:.2f} s")
    for kind, (subject, body) in _KINDS.items():
        taken = []
        for number in range(rounds):
            values = {
                "org": org_id,
                "kind": f"{many} {kind} {number} ",
                "subject": subject,
                "body": body,
                "many": _BATCH,
            }
            with db.begin() as connection:
                ids = list(connection.execute(_MAILS, values).scalars())
            spent, signals = batch(db, org_id, mailbox_id, ids)
            taken.append(spent)
        print(
            f"  {kind}: best {min(taken):.3f} ms, median {sorted(taken)[rounds // 2]:.3f} ms a mail; {signals} signals"
        )


def main() -> int:
    """Measure on a server of its own."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.mail_signals", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help=f"batches of {_BATCH} mails (%(default)s)")
    parser.add_argument("--assets", type=int, nargs="+", default=[100, 100_000])
    parser.add_argument("--without-index", action="store_true", help="of the names' trigrams")
    options = parser.parse_args()
    set_up_logs("console", "error", "bench")
    folder, work = (Path(tempfile.mkdtemp(prefix="fieldpost-bench-")).resolve() for _ in range(2))
    try:
        with Supervisor(folder) as supervisor, Stand(supervisor, work).bed() as bed:
            for many in options.assets:
                measure(bed.db, many, options.rounds, is_indexed=not options.without_index)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(work, ignore_errors=True)
    print(f"load at the end {os.getloadavg()[0]:.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
