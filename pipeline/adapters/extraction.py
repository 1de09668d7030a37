"""Text out of attachments: plain and HTML here, PDF in a child process that a hostile file may take down."""

from __future__ import annotations

import subprocess
import sys
import threading
import weakref
from contextlib import suppress
from datetime import timedelta

from models.enums import ExtractionState
from pipeline.adapters.extraction_child import DONE, LENGTH
from pipeline.core.extraction import Extracted, Form, form_of, is_too_large, kept, read_text
from pipeline.runtime.settings import environment

#: The child's own limit is CPU time; one that waits for ever is ended by the clock.
_PATIENCE = timedelta(seconds=20)
#: After so many documents a child makes room for a new one: what libraries leave in memory does not add up.
_DOCUMENTS_PER_CHILD = 200

_COMMAND = (sys.executable, "-m", "pipeline.adapters.extraction_child")


class _Child:
    """One living process that reads documents."""

    def __init__(self) -> None:
        self.documents = 0
        # It reads strangers' files: it is told no secret.
        told = {name: value for name, value in environment().items() if not name.startswith("FIELDPOST_")}
        # In a session of its own: a signal that stops the worker must not look like a file that kills its reader.
        self._process = subprocess.Popen(
            _COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=told,
            start_new_session=True,
        )
        self.end = weakref.finalize(self, _end, self._process)

    def read(self, content: bytes, patience: timedelta) -> bytes | None:
        """Return its answer; None when it died of the document, or had to be ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.documents += 1
        watch = threading.Timer(patience.total_seconds(), self._process.kill)
        watch.start()
        try:
            self._process.stdin.write(LENGTH.pack(len(content)) + content)
            self._process.stdin.flush()
            head = self._process.stdout.read(LENGTH.size)
            return self._process.stdout.read(LENGTH.unpack(head)[0]) if len(head) == LENGTH.size else None
        except OSError:
            return None
        finally:
            watch.cancel()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()
    process.wait()


class DocumentTexts:
    """The TextExtractor port; safe to call from many threads, which read PDF files one after the other."""

    def __init__(self, patience: timedelta = _PATIENCE) -> None:
        self._patience = patience
        self._guard = threading.Lock()
        self._child: _Child | None = None

    def extract(self, content_type: str, content: bytes) -> Extracted:
        """Return the text of an attachment, or why there is none. Never raises for a content."""
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
        with self._guard:
            if self._child is not None and self._child.documents >= _DOCUMENTS_PER_CHILD:
                self._let_go()
            self._child = self._child or _Child()
            answer = self._child.read(content, self._patience)
            if answer is None:
                self._let_go()
            return answer

    def _let_go(self) -> None:
        if self._child is not None:
            self._child.end()
            self._child = None
