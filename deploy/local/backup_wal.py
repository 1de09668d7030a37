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
from pathlib import Path

from sqlalchemy import Connection, text

from deploy.local.backup_folder import BackupFolder
from deploy.local.binaries import PostgresBinaries
from deploy.local.processes import Launch, Spawner
from deploy.local.roles import Keeper, Role

_SLOT = "fieldpost_"
#: A slot that is gone, or that the server let go of, has lost log.
_IS_WHOLE = text("""
    SELECT EXISTS (SELECT FROM pg_replication_slots
                    WHERE slot_name = :slot AND wal_status IN ('reserved', 'extended', 'unreserved'))
""")
_OPEN = text("SELECT pg_create_physical_replication_slot(:slot, true)")
_DROP_LOST = text("""
    SELECT count(pg_drop_replication_slot(slot_name)) FROM pg_replication_slots
     WHERE slot_name LIKE 'fieldpost\\_%' AND NOT active AND wal_status = 'lost'
""")
_SEGMENT_NAME, _SEGMENT_BYTES = 24, 16 * 1024 * 1024
_PARTIAL = ".partial"


def current_chain(connection: Connection, folder: BackupFolder) -> str | None:
    """Return the stretch of log that goes on unbroken in `folder`; None when there is none, or it has a hole."""
    name = folder.chain()
    if name is None or not connection.execute(_IS_WHOLE, {"slot": _SLOT + name}).scalar_one():
        return None
    return name


def open_chain(connection: Connection, folder: BackupFolder) -> str:
    """Begin a new stretch of log, kept by the server from now on, and drop slots that it let go of; return its name."""
    connection.execute(_DROP_LOST)
    name = secrets.token_hex(4)
    connection.execute(_OPEN, {"slot": _SLOT + name})
    folder.begin_chain(name)
    return name


def receiver(binaries: PostgresBinaries, dsn: str, folder: BackupFolder, chain: str, log: Path) -> Launch:
    """Return the program that receives a stretch of log, each change put on the disk as it comes."""
    argv = [os.fspath(binaries.folder / "pg_receivewal"), "--dbname", dsn, "--no-password", "--no-loop"]
    argv += ["--directory", os.fspath(folder.wal / chain), "--slot", _SLOT + chain, "--synchronous"]
    argv += ["--status-interval", "1"]
    return Launch(tuple(argv), {"LC_ALL": "C.UTF-8", "PGAPPNAME": "fieldpost backup"}, log, signal.SIGTERM)


def kept(launch: Launch, spawner: Spawner) -> Keeper:
    """Return a keeper of the receiver, which starts it again when it ends: the server restarts, the disk was full."""
    return Keeper(Role("wal-receiver", launch, spawner))


def bring_log(chain: Path, pgdata: Path) -> int:
    """Put a received stretch of log into a copied database, to be replayed; return how many files were taken.

    A copy has the log of its own time. Of a segment that both have, the one that goes further is taken: both are the
    same log, and what was not written yet is zeros.
    """
    taken = 0
    for source in sorted(chain.iterdir()):
        name = source.name.removesuffix(_PARTIAL)
        if not _is_log(name):
            continue
        target = pgdata / "pg_wal" / name
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
