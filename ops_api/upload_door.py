"""Where uploaded files are judged and kept: opened apart, stored, and noted for an organization."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from uuid import UUID

import anyio
import anyio.to_thread
from sqlalchemy import Connection

from ops_api.answers import Refusal
from ops_api.raws import Raws
from ops_api.upload_bodies import Received, refusal
from pipeline.core.uploads import LIMITS, Limits, Refused
from pipeline.ports import UploadReader
from pipeline.runtime import uploads
from pipeline.runtime.errors import BeingErased, FieldpostError, ReaderBusy
from pipeline.runtime.logs import get_logger
from pipeline.runtime.uploads import Kept

#: Files that are judged at once: one is opened while another is read or stored. Each may be held twice.
CHECKS = 2
#: How long a file waits until others are opened; well inside the request's deadline.
_TURN = timedelta(seconds=8)
_LATER = {"Retry-After": "10"}


class UploadDoor:
    """Takes files in; safe to call from many threads."""

    def __init__(self, raws: Raws, reader: UploadReader, limits: Limits = LIMITS) -> None:
        self._raws, self._reader, self._limits = raws, reader, limits
        self._turns: anyio.CapacityLimiter | None = None

    def keep(
        self,
        received: Received,
        org_id: UUID,
        begin: AbstractContextManager[Connection],
        *,
        only_pictures: bool = False,
    ) -> Kept:
        """Return the file as it is kept; `begin` opens the transaction in which that is noted.

        Refuses what is not taken (413, 415, 422), and with 503 what cannot be judged or stored now.
        """
        try:
            checked = uploads.check(
                self._reader,
                received.read(),
                received.declared,
                limits=self._limits,
                turn=_TURN,
                only_pictures=only_pictures,
            )
            if isinstance(checked, Refused):
                raise refusal(checked)
            kept = uploads.keep(self._raws.store(), checked)
            with begin as connection:
                uploads.note(connection, org_id, kept)
        except (BeingErased, ReaderBusy) as error:
            raise Refusal(503, "other files come first; send it again in a moment", headers=_LATER) from error
        except FieldpostError as error:
            get_logger().error("upload.not_kept", error=str(error))
            raise Refusal(503, "files cannot be taken now; the server's log has more", headers=_LATER) from error
        return kept

    async def in_turn(self, work: Callable[[], Kept]) -> Kept:
        """Run what calls `keep` in one of few threads; whoever waits for its turn holds none."""
        if self._turns is None:
            self._turns = anyio.CapacityLimiter(CHECKS)
        return await anyio.to_thread.run_sync(work, limiter=self._turns)

    def close(self) -> None:
        """End the process that opens files."""
        self._reader.close()
