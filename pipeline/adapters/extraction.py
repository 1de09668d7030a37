"""Text out of attachments: plain and HTML here, PDF in a child process that a hostile file may take down."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import timedelta

from models.enums import ExtractionState
from pipeline.adapters.children import Program, Readers
from pipeline.adapters.extraction_child import ANSWER_LIMIT, DONE
from pipeline.core.extraction import Extracted, Form, form_of, is_too_large, kept, read_text

_PATIENCE = timedelta(seconds=20)
_DOCUMENTS_PER_CHILD = 200

# -P: a file in the folder where the worker runs is no module.
COMMAND = (sys.executable, "-P", "-m", "pipeline.adapters.extraction_child")


class DocumentTexts:
    """The TextExtractor port; safe to call from many threads, which read PDF files one after the other."""

    def __init__(self, patience: timedelta = _PATIENCE, command: Sequence[str] = COMMAND) -> None:
        self._readers = Readers(Program(command, "documents", patience, ANSWER_LIMIT, _DOCUMENTS_PER_CHILD))

    def extract(self, content_type: str, content: bytes) -> Extracted:
        """Return the text of an attachment, or why there is none. Never raises for a content.

        Raises `Transient` when no process can be started to read it in.
        """
        form = form_of(content_type)
        if form is None:
            return Extracted(ExtractionState.UNSUPPORTED)
        if is_too_large(form, len(content)):
            return Extracted(ExtractionState.TOO_LARGE)
        if form is not Form.PDF:
            return read_text(form, content)
        answer = self._readers.ask(content)
        if answer is None or answer[:1] != DONE:
            return Extracted(ExtractionState.FAILED)
        return kept(answer[1:].decode("utf-8", "replace"))

    def close(self) -> None:
        """End the child; the next PDF file starts another one."""
        self._readers.close()
