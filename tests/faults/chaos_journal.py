"""What a chaos run writes down inside the database: when jobs were settled, and what must never happen in between."""

from __future__ import annotations

import bisect
from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import Connection, text

from tests.faults.chaos_kinds import Record

#: No row here is unique: what happens twice stands here twice.
_INSTALL = """
    CREATE TABLE chaos_settled (at timestamptz NOT NULL, job_id bigint NOT NULL, stage text NOT NULL, key text);
    CREATE TABLE chaos_wrongs (at timestamptz NOT NULL DEFAULT clock_timestamp(), said text NOT NULL);
    CREATE FUNCTION chaos_settle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO chaos_settled SELECT clock_timestamp(), id, stage, key FROM gone WHERE state = 'running';
        RETURN NULL;
    END $$;
    CREATE TRIGGER chaos_settle AFTER DELETE ON jobs REFERENCING OLD TABLE AS gone
        FOR EACH STATEMENT EXECUTE FUNCTION chaos_settle();
    CREATE FUNCTION chaos_wrong() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO chaos_wrongs (said)
        VALUES (TG_ARGV[0] || ': ' || CAST(OLD AS text) || ' became ' || CAST(NEW AS text));
        RETURN NULL;
    END $$;
    CREATE TRIGGER chaos_attempt AFTER UPDATE ON jobs FOR EACH ROW WHEN (NEW.attempt < OLD.attempt)
        EXECUTE FUNCTION chaos_wrong('I9: an attempt went back');
    CREATE TRIGGER chaos_claim AFTER UPDATE ON jobs FOR EACH ROW
        WHEN (NEW.state = 'running' AND OLD.state = 'running' AND NEW.worker <> OLD.worker)
        EXECUTE FUNCTION chaos_wrong('I9: a job changed hands without coming back');
    CREATE TRIGGER chaos_cursor AFTER UPDATE ON mailboxes FOR EACH ROW
        WHEN (NEW.provider = 'gmail' AND OLD.sync_cursor ~ '^[0-9]+$' AND NEW.sync_cursor ~ '^[0-9]+$'
              AND CAST(NEW.sync_cursor AS numeric) < CAST(OLD.sync_cursor AS numeric))
        EXECUTE FUNCTION chaos_wrong('I8: a cursor went back');
    CREATE TRIGGER chaos_moved AFTER UPDATE ON occurrences FOR EACH ROW
        WHEN (OLD.state = 'routed' AND NEW.state IN ('seen', 'fetched', 'parsed', 'stitched'))
        EXECUTE FUNCTION chaos_wrong('I4: a routed occurrence went back');
    CREATE TRIGGER chaos_bytes AFTER UPDATE ON occurrences FOR EACH ROW
        WHEN (OLD.raw_sha256 IS NOT NULL AND NEW.raw_sha256 IS DISTINCT FROM OLD.raw_sha256)
        EXECUTE FUNCTION chaos_wrong('I3: bytes were exchanged');
    CREATE TRIGGER chaos_letter AFTER UPDATE ON dead_letters FOR EACH ROW
        WHEN (OLD.resolution = 'replayed' AND NEW.resolution IS DISTINCT FROM OLD.resolution)
        EXECUTE FUNCTION chaos_wrong('I13: a replayed letter was opened again');
"""


def install(connection: Connection) -> None:
    """Make the journal."""
    connection.exec_driver_sql(_INSTALL)


def broken(connection: Connection) -> list[str]:
    """Return what happened that never may."""
    return [str(said)[:400] for said in connection.execute(text("SELECT said FROM chaos_wrongs LIMIT 20")).scalars()]


def recoveries(connection: Connection, records: Sequence[Record]) -> dict[str, list[float]]:
    """Return, by kind, the seconds from each fault to the next job that was settled; only when there was work.

    For a killed worker it is the time until another held the first, and all, of what it had held, as the harness saw.
    """
    query = text("SELECT CAST(extract(epoch FROM at) AS float8) FROM chaos_settled ORDER BY at")
    settled = list(connection.execute(query).scalars())
    found: dict[str, list[float]] = defaultdict(list)
    for record in records:
        if record.kind == "kill_worker":
            for name, after in (("kill_worker", record.first_after), ("kill_worker, all", record.recovered_after)):
                if after is not None:
                    found[name].append(after)
        elif record.is_busy and (place := bisect.bisect_right(settled, record.at)) < len(settled):
            found[record.kind].append(settled[place] - record.at)
    return dict(found)
