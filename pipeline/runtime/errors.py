"""The error tree: one class per decision the runner takes.

FieldpostError
├── UserError            bad input of a person: the text says what to do; exit code 2 or HTTP 400
├── Transient            passes by itself: retried with backoff, costs an attempt
│   └── Throttled        the provider asks for patience: again after `retry_after`, costs no attempt
├── NeedsAuthorization   a person must reconnect the mailbox: its jobs wait, no attempt is charged
├── CursorExpired        the provider forgot the history cursor: bounded resync
├── PageExpired          the provider forgot the page token: the listing starts again
└── Permanent            will never work: dead letter at once
    └── Gone             the message vanished at the provider: a tombstone, no dead letter
"""

from __future__ import annotations

from datetime import timedelta


class FieldpostError(Exception):
    """Root of every error that Fieldpost raises on purpose."""


class UserError(FieldpostError):
    """Bad input of a person; the text says what to do."""


class Transient(FieldpostError):
    """Passes by itself; the runner tries again with backoff."""


class Throttled(Transient):
    """The provider asks for patience; nothing is charged for waiting."""

    def __init__(self, message: str, retry_after: timedelta = timedelta(seconds=1)) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class NeedsAuthorization(FieldpostError):
    """The mailbox must be connected again by a person."""


class CursorExpired(FieldpostError):
    """The provider no longer knows the history cursor."""


class PageExpired(FieldpostError):
    """The provider no longer knows the page token."""


class Permanent(FieldpostError):
    """Will never work, however often it is tried."""


class Gone(Permanent):
    """The message no longer exists at the provider."""
