"""Following a running installation: its log and its new blobs reach the backup folder within a second or two."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from time import monotonic

import structlog
from sqlalchemy.exc import DBAPIError

from deploy.local.backup import Origin, copy_blobs, take
from deploy.local.backup_folder import BackupFolder
from deploy.local.backup_wal import current_chain, drop_slots, kept, open_chain, receiver
from deploy.local.blob_copies import BlobCopies
from deploy.local.processes import Spawner
from deploy.local.roles import Keeper
from pipeline.runtime.errors import UserError

#: Between two passes; a change is in the backup so long after its commit at the latest, but for the log, which flows.
PACE = timedelta(seconds=1)
#: A copy that failed, mostly for want of room, is tried again after so long, then after twice as long, up to the other:
#: each begins with a checkpoint and reads the whole database.
FIRST_REST, LONGEST_REST = timedelta(seconds=30), timedelta(hours=1)

log = structlog.get_logger()


class Follower:
    """Receives the log without a break and copies new blobs; call `step` again and again, then `close`.

    Trouble never ends it: it is logged, and tried again. Fieldpost itself is never held up.
    """

    def __init__(
        self, origin: Origin, folder: BackupFolder, logs: Path, keep: int, *, seconds: Callable[[], float] = monotonic
    ) -> None:
        """Prepare; nothing is begun before `step`. `seconds` go on by themselves, from anywhere."""
        self._origin, self._folder, self._keep = origin, folder, keep
        self._log = logs / "backup.log"
        self._spawner = Spawner()
        self._keeper: Keeper | None = None
        self._restarts = 0
        #: Which folder is followed into; one that is not this one is a mount point without its disk.
        self._identity: str | None = None
        #: The stretch of log that is received, and those whose slots nobody needs any more.
        self._received: str | None = None
        self._left: set[str] = set()
        #: The stretch of log that a copy is known to stand at the beginning of.
        self._covered: str | None = None
        self._rest = _Rest(seconds)
        blobs = origin.blob_folder
        self._copies = BlobCopies(blobs, folder.blobs) if blobs is not None else None

    def step(self) -> None:
        """See to the log, then to the blobs, whatever became of the log.

        A stretch of log that broke off is begun anew, with a copy.
        """
        if self._does(self._know_folder):
            self._does(self._see_to_log)
            self._does(self._see_to_blobs)

    def close(self) -> None:
        """Stop receiving; the server keeps what comes meanwhile, up to its limit."""
        self._stop_receiving()
        self._spawner.close()

    def _does(self, part: Callable[[], None]) -> bool:
        try:
            part()
        except (UserError, DBAPIError) as error:
            said = str(error.orig).strip() if isinstance(error, DBAPIError) else str(error)
            log.warning("backup.held_up", error=said)
            return False
        return True

    def _know_folder(self) -> None:
        """Raise UserError when the folder is not the one that was followed into so far."""
        if self._identity is None:
            self._folder.create()
            self._identity = self._folder.identity()
        elif self._folder.identity() != self._identity:
            raise UserError(f"{self._folder.path} is not the folder that was followed into so far: is its disk there?")

    def _see_to_blobs(self) -> None:
        copy_blobs(self._origin, self._folder, self._copies)

    def _see_to_log(self) -> None:
        with self._origin.db.begin() as connection:
            chain = current_chain(connection, self._folder)
            self._left -= drop_slots(connection, self._left - {chain}) if self._left else set()
        if self._received not in {None, chain}:
            self._stop_receiving()
        if chain is None:
            chain = self._begin_anew()
        self._receive(chain)
        if self._covered != chain:
            self._cover(chain)

    def _begin_anew(self) -> str:
        """Let the server keep its log from now on."""
        self._folder.create()
        with self._origin.db.begin() as connection:
            chain = open_chain(connection, self._folder)
        log.info("backup.began", chain=chain)
        return chain

    def _receive(self, chain: str) -> None:
        """Have the log received, and say so when that ends again and again: its own words stand in `backup.log`."""
        if self._keeper is None:
            launch = receiver(self._origin.binaries, self._origin.dsn, self._folder, chain, self._log)
            self._keeper, self._received, self._restarts = kept(launch, self._spawner), chain, 0
            self._left.discard(chain)
            self._keeper.start()
        self._keeper.check()
        if self._keeper.restarts > max(self._restarts, 1):
            log.warning(
                "backup.held_up", error=f"the log's receiver ended {self._keeper.restarts} times: see {self._log}"
            )
        self._restarts = self._keeper.restarts

    def _cover(self, chain: str) -> None:
        """See to it that there is a copy that this stretch of log goes on from; what failed is not repeated at once."""
        if not any(copy.chain == chain for copy in self._folder.copies()):
            if not self._rest.is_over():
                return
            with self._rest:
                log.info("backup.copied", copy=take(self._origin, self._folder, self._keep).name)
        self._covered = chain

    def _stop_receiving(self) -> None:
        if self._keeper is not None:
            self._keeper.let_go()
            self._keeper.service.stop()
        if self._received is not None:
            self._left.add(self._received)
        self._keeper = self._received = None


class _Rest:
    """Growing pauses between copies that fail; wrap each try in it."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._length = timedelta(0)
        self._until = 0.0

    def is_over(self) -> bool:
        return not self._length or self._seconds() >= self._until

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            self._length = timedelta(0)
            return
        self._length = min(max(self._length * 2, FIRST_REST), LONGEST_REST)
        self._until = self._seconds() + self._length.total_seconds()
        log.warning("backup.rests", seconds=self._length.total_seconds())
