"""The UploadReader port: uploaded files are opened in a child process that they may take down."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import timedelta

from pydantic import TypeAdapter, ValidationError

from pipeline.adapters.children import Program, Readers
from pipeline.adapters.upload_child import ANSWER_LIMIT, BREAK, Told
from pipeline.core.uploads import PDF, Picture, Refused, damaged_pdf, unreadable_picture

_PATIENCE = timedelta(seconds=20)
_FILES_PER_CHILD = 100
_TOLD = TypeAdapter(Told)

# -P: a file in the folder where the process runs is no module.
COMMAND = (sys.executable, "-P", "-m", "pipeline.adapters.upload_child")


class ConfinedReader:
    """Safe to call from many threads, of which one at a time has its file opened."""

    def __init__(self, patience: timedelta = _PATIENCE, command: Sequence[str] = COMMAND) -> None:
        self._readers = Readers(Program(command, "uploaded files", patience, ANSWER_LIMIT, _FILES_PER_CHILD))

    def picture(self, content_type: str, content: bytes, *, turn: timedelta | None = None) -> Picture | Refused:
        """Return the picture made anew from its pixels, or why there is none. Never raises for a content.

        Raises `Transient` when no process can be started, `ReaderBusy` when its `turn` does not come in time.
        """
        told, rest = self._ask(content_type, content, turn)
        if told is None or (told.refused is None and not 0 < told.size < len(rest)):
            return unreadable_picture()
        return told.refused or Picture(
            told.content_type,
            told.width,
            told.height,
            rest[: told.size],
            rest[told.size :],
            told.taken_at,
            told.position,
        )

    def pdf(self, content: bytes, *, turn: timedelta | None = None) -> Refused | None:
        """Return why a PDF cannot be opened; None when it can. Raises as `picture`."""
        told, _ = self._ask(PDF, content, turn)
        return damaged_pdf() if told is None else told.refused

    def close(self) -> None:
        """End the child; the next file starts another one."""
        self._readers.close()

    def _ask(self, content_type: str, content: bytes, turn: timedelta | None) -> tuple[Told | None, bytes]:
        answer = self._readers.ask(content_type.encode("ascii") + BREAK, content, turn=turn)
        said, _, rest = (answer or b"").partition(BREAK)
        try:
            return _TOLD.validate_json(said), rest
        except ValidationError:
            return None, b""
