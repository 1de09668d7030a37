"""The log of a running PostgreSQL, received as it is written: what a copy of the database is brought forward with.

A replication slot makes the server keep what is not received yet, up to `max_slot_wal_keep_size`; beyond that the
server lets go of the slot and works on, and a new stretch of log begins with a new copy. So a backup disk that is
full or away never stops the server.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
from collections.abc import Iterable
from pathlib import Path

from sqlalchemy import Connection, text

from deploy.local.backup_folder import BackupFolder
from deploy.local.binaries import PostgresBinaries
from deploy.local.processes import Launch, Spawner
from deploy.local.roles import Keeper, Role
from pipeline.runtime.errors import UserError

_SLOT = "fieldpost_"
#: A slot that is gone, or that the server let go of, has lost log.
_IS_WHOLE = text("""
    SELECT EXISTS (SELECT FROM pg_replication_slots
                    WHERE slot_name = :slot AND wal_status IN ('reserved', 'extended', 'unreserved'))
""")
_OPEN = text("SELECT pg_create_physical_replication_slot(:slot, true)")
#: What nobody will go on from: slots that lost log, that of the stretch before, and those that nobody used for an hour
#: (PostgreSQL 17 tells since when): each holds up to `max_slot_wal_keep_size` of log on the server's disk.
_DROP_LEFT = text("""
    SELECT count(pg_drop_replication_slot(slot_name)) FROM pg_replication_slots s
     WHERE slot_name LIKE 'fieldpost\\_%' AND NOT active
       AND (wal_status = 'lost' OR slot_name = :former
            OR CAST(to_jsonb(s) ->> 'inactive_since' AS timestamptz) < clock_timestamp() - interval '1 hour')
""")
_DROP = text("""
    SELECT slot_name, pg_drop_replication_slot(slot_name) FROM pg_replication_slots
     WHERE slot_name = ANY(CAST(:slots AS text[])) AND NOT active
""")
_SEGMENT_NAME, _SEGMENT_BYTES = 24, 16 * 1024 * 1024
#: A segment's name is the number of its timeline, eight digits, and its place.
_PARTIAL, _TIMELINE = ".partial", 8


def current_chain(connection: Connection, folder: BackupFolder) -> str | None:
    """Return the stretch of log that goes on unbroken in `folder`; None when there is none, or it has a hole.

    A stretch whose folder is gone has a hole: what it held is nowhere else.
    """
    name = folder.chain()
    if name is None or not folder.has_log(name):
        return None
    if not connection.execute(_IS_WHOLE, {"slot": _SLOT + name}).scalar_one():
        return None
    return name


def open_chain(connection: Connection, folder: BackupFolder) -> str:
    """Begin a new stretch of log, kept by the server from now on, and drop slots that were left; return its name.

    The folder comes first: a slot is made at once, and would be left each time that a full disk refuses the folder.
    """
    connection.execute(_DROP_LEFT, {"former": f"{_SLOT}{folder.chain()}"})
    name = secrets.token_hex(4)
    folder.begin_chain(name)
    connection.execute(_OPEN, {"slot": _SLOT + name})
    return name


def drop_slots(connection: Connection, chains: Iterable[str]) -> set[str]:
    """Let the server keep no log for these stretches any more; return those whose slots were still there, and idle."""
    rows = connection.execute(_DROP, {"slots": [_SLOT + name for name in chains]}).all()
    return {str(row.slot_name).removeprefix(_SLOT) for row in rows}


def receiver(binaries: PostgresBinaries, dsn: str, folder: BackupFolder, chain: str, log: Path) -> Launch:
    """Return the program that receives a stretch of log, each change put on the disk as it comes."""
    argv = [os.fspath(binaries.folder / "pg_receivewal"), "--dbname", dsn, "--no-password", "--no-loop"]
    argv += ["--directory", os.fspath(folder.wal / chain), "--slot", _SLOT + chain, "--synchronous"]
    argv += ["--status-interval", "1"]
    return Launch(tuple(argv), {"LC_ALL": "C.UTF-8", "PGAPPNAME": "fieldpost backup"}, log, signal.SIGTERM)


def kept(launch: Launch, spawner: Spawner) -> Keeper:
    """Return a keeper of the receiver, which starts it again when it ends: the server restarts, the disk was full."""
    return Keeper(Role("wal-receiver", launch, spawner))


def log_from(chain: Path, first: str) -> list[Path]:
    """Return the received log that a copy needs whose own log begins in the segment `first`, oldest first.

    Raises UserError when its folder is gone.
    """
    if not chain.is_dir():
        raise UserError(
            f"the log that the copy goes on with is missing ({chain}): bring that folder back; or make it, empty, to "
            "restore the copy alone"
        )
    found = [path for path in sorted(chain.iterdir()) if _is_log(path.name.removesuffix(_PARTIAL))]
    return [path for path in found if ".history" in path.name or path.name[_TIMELINE:] >= first[_TIMELINE:]]


def bring_log(log: Iterable[Path], pgdata: Path) -> int:
    """Put received log into a copied database, to be replayed; return how many files were taken.

    A copy has the log of its own time. Of a segment that both have, the one that goes further is taken: both are the
    same log, and what was not written yet is zeros.
    """
    taken = 0
    for source in log:
        target = pgdata / "pg_wal" / source.name.removesuffix(_PARTIAL)
        if not target.exists() or _reach(source) > _reach(target):
            shutil.copyfile(source, target)
            taken += 1
    return taken


def segment_of(lsn: str, timeline: int) -> str:
    """Return the name of the file that holds a place in the log, as `pg_walfile_name` does."""
    high, low = (int(part, 16) for part in lsn.split("/"))
    return f"{timeline:08X}{high:08X}{low // _SEGMENT_BYTES:08X}"


def _is_log(name: str) -> bool:
    return (len(name) == _SEGMENT_NAME and name.isalnum()) or name.endswith(".history")


def _reach(path: Path) -> int:
    """Return how far a segment is written."""
    return len(path.read_bytes().rstrip(b"\0"))
