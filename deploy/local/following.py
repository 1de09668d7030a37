"""Following a running installation: its log and its new blobs reach the backup folder within a second or two."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import structlog
from sqlalchemy.exc import DBAPIError

from deploy.local.backup import Origin, copy_blobs, take
from deploy.local.backup_folder import BackupFolder
from deploy.local.backup_wal import current_chain, kept, open_chain, receiver
from deploy.local.blob_copies import BlobCopies
from deploy.local.processes import Spawner
from deploy.local.roles import Keeper
from pipeline.runtime.errors import UserError

#: Between two passes; a change is in the backup so long after its commit at the latest, but for the log, which flows.
PACE = timedelta(seconds=1)

log = structlog.get_logger()


class Follower:
    """Receives the log without a break and copies new blobs; call `step` again and again, then `close`.

    Trouble never ends it: it is logged, and tried again. Fieldpost itself is never held up.
    """

    def __init__(self, origin: Origin, folder: BackupFolder, logs: Path, keep: int) -> None:
        """Prepare; nothing is begun before `step`."""
        self._origin, self._folder, self._keep = origin, folder, keep
        self._log = logs / "backup.log"
        self._spawner = Spawner()
        self._keeper: Keeper | None = None
        #: The stretch of log that a copy is known to stand at the beginning of.
        self._covered: str | None = None
        blobs = origin.blob_folder
        self._copies = BlobCopies(blobs, folder.blobs) if blobs is not None else None

    def step(self) -> None:
        """See to the log, then to the blobs; a stretch of log that broke off is begun anew, with a copy."""
        try:
            self._see_to_log()
            copy_blobs(self._origin, self._folder, self._copies)
        except (UserError, DBAPIError) as error:
            said = str(error.orig).strip() if isinstance(error, DBAPIError) else str(error)
            log.warning("backup.held_up", error=said)

    def close(self) -> None:
        """Stop receiving; the server keeps what comes meanwhile, up to its limit."""
        self._stop_receiving()
        self._spawner.close()

    def _see_to_log(self) -> None:
        with self._origin.db.begin() as connection:
            chain = current_chain(connection, self._folder)
        if chain is None:
            chain = self._begin_anew()
        if self._keeper is None:
            launch = receiver(self._origin.binaries, self._origin.dsn, self._folder, chain, self._log)
            self._keeper = kept(launch, self._spawner)
            self._keeper.start()
        self._keeper.check()
        if self._covered != chain:
            self._cover(chain)

    def _begin_anew(self) -> str:
        """Let the server keep its log from now on."""
        self._stop_receiving()
        self._folder.create()
        with self._origin.db.begin() as connection:
            chain = open_chain(connection, self._folder)
        log.info("backup.began", chain=chain)
        return chain

    def _cover(self, chain: str) -> None:
        """See to it that there is a copy that this stretch of log goes on from."""
        if not any(copy.chain == chain for copy in self._folder.copies()):
            log.info("backup.copied", copy=take(self._origin, self._folder, self._keep).name)
        self._covered = chain

    def _stop_receiving(self) -> None:
        if self._keeper is not None:
            self._keeper.let_go()
            self._keeper.service.stop()
            self._keeper = None
