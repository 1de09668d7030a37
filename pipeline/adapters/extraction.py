"""Text out of attachments: plain and HTML here, PDF in a child process that a hostile file may take down."""

from __future__ import annotations

import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta

from models.enums import ExtractionState
from pipeline.adapters import children
from pipeline.adapters.extraction_child import ANSWER_LIMIT, DONE, LENGTH, READY
from pipeline.core.extraction import Extracted, Form, form_of, is_too_large, kept, read_text
from pipeline.runtime.errors import Transient
from pipeline.runtime.settings import harmless_environment

#: The child's own limit is CPU time; one that waits for ever is ended by the clock.
_PATIENCE = timedelta(seconds=20)
#: After so many documents a child makes room for a new one: what libraries leave in memory does not add up.
_DOCUMENTS_PER_CHILD = 200

_STARTS_WITHIN = timedelta(seconds=60)

# -P: a file in the folder where the worker runs is no module.
COMMAND = (sys.executable, "-P", "-m", "pipeline.adapters.extraction_child")


class _Child:
    """One living process that reads documents. Raises `Transient` when it cannot begin."""

    def __init__(self, command: Sequence[str]) -> None:
        self.documents = 0
        try:
            # In a session of its own: a signal that stops the worker must not look like a file that kills its reader.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=harmless_environment(),
                start_new_session=True,
            )
        except OSError as error:
            raise Transient(f"no process to read documents in could be started: {error}") from error
        self.end = weakref.finalize(self, children.end, self._process)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout
        with self._no_longer_than(_STARTS_WITHIN):
            is_ready = self._output.read(len(READY)) == READY
        if not is_ready:
            self.end()
            raise Transient("the process to read documents in ended before it could begin")

    def read(self, content: bytes, patience: timedelta) -> bytes | None:
        """Return its answer; None when it died, had to be ended, or said what cannot be an answer."""
        self.documents += 1
        with self._no_longer_than(patience), suppress(OSError):
            self._input.write(LENGTH.pack(len(content)))
            self._input.write(content)
            self._input.flush()
            head = self._output.read(LENGTH.size)
            length = LENGTH.unpack(head)[0] if len(head) == LENGTH.size else 0
            answer = self._output.read(length) if length <= ANSWER_LIMIT else b""
            return answer if answer and len(answer) == length else None
        return None

    @contextmanager
    def _no_longer_than(self, patience: timedelta) -> Iterator[None]:
        watch = threading.Timer(patience.total_seconds(), self._process.kill)
        watch.daemon = True
        watch.start()
        try:
            yield
        finally:
            watch.cancel()


class DocumentTexts:
    """The TextExtractor port; safe to call from many threads, which read PDF files one after the other."""

    def __init__(self, patience: timedelta = _PATIENCE, command: Sequence[str] = COMMAND) -> None:
        self._patience, self._command = patience, command
        self._guard = threading.Lock()
        self._child: _Child | None = None

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
        answer = self._ask(content)
        if answer is None or answer[:1] != DONE:
            return Extracted(ExtractionState.FAILED)
        return kept(answer[1:].decode("utf-8", "replace"))

    def close(self) -> None:
        """End the child; the next PDF file starts another one."""
        with self._guard:
            self._let_go()

    def _ask(self, content: bytes) -> bytes | None:
        """Return the answer of a process; a death is only believed to be the document's doing of one that was new.

        One that read others before may have been killed while it waited, or have no memory left for their sake.
        """
        with self._guard:
            if self._child is not None and self._child.documents >= _DOCUMENTS_PER_CHILD:
                self._let_go()
            is_new = self._child is None
            answer = self._answer(content)
            return self._answer(content) if answer is None and not is_new else answer

    def _answer(self, content: bytes) -> bytes | None:
        self._child = self._child or _Child(self._command)
        answer = self._child.read(content, self._patience)
        if answer is None:
            self._let_go()
        return answer

    def _let_go(self) -> None:
        if self._child is not None:
            self._child.end()
            self._child = None
