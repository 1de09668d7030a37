"""Who may work at a time in one process: many batches together, or one suspect with the process for itself."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Turnstile:
    """Lets many in together or one alone; whoever waits to be alone goes before those who come later.

    A job that may have killed its process runs alone in it, so that a death accuses nobody else.
    """

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._inside = 0
        self._is_alone = False
        self._waiting = 0

    @contextmanager
    def together(self) -> Iterator[None]:
        """Work beside others; waits while somebody is alone or waits to be."""
        with self._change:
            self._change.wait_for(lambda: not self._is_alone and not self._waiting)
            self._inside += 1
        try:
            yield
        finally:
            with self._change:
                self._inside -= 1
                self._change.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Work while nobody else does."""
        with self._change:
            self._waiting += 1
            try:
                self._change.wait_for(lambda: not self._is_alone and not self._inside)
            finally:
                self._waiting -= 1
            self._is_alone = True
        try:
            yield
        finally:
            with self._change:
                self._is_alone = False
                self._change.notify_all()
