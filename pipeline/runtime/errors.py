"""The error tree: one class per decision the runner takes.

FieldpostError
├── UserError            bad input of a person: the text says what to do; exit code 2 or HTTP 400
├── Transient            passes by itself: retried with backoff, costs an attempt
│   ├── Throttled        the provider asks for patience: again after `retry_after`, costs no attempt
│   │   ├── OutOfBudget  no call was made: the mailbox's budget does not allow it yet
│   │   ├── KeyUnknown   no call was made: another process has the key that opens the credentials
│   │   └── BeingErased  the same bytes are being taken out of the blob store: put again when they are gone
│   └── ParserDied       the process that read a mail died or ran into its limits: that mail is tried again
├── NeedsAuthorization   a person must reconnect the mailbox: its jobs wait, no attempt is charged
├── Forbidden            the domain forbids it: its jobs wait until an administrator and a person act
├── Suspended            the provider closed the mailbox: asked again each hour, opens by itself
├── CursorExpired        the provider forgot the history cursor: bounded resync
├── PageExpired          the provider forgot the page token: the listing starts again
└── Permanent            will never work: dead letter at once
    └── Gone             the message vanished at the provider: a tombstone, no dead letter
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum


class FieldpostError(Exception):
    """Root of every error that Fieldpost raises on purpose."""


class UserError(FieldpostError):
    """Bad input of a person; the text says what to do."""


class Transient(FieldpostError):
    """Passes by itself; the runner tries again with backoff."""


class Reach(StrEnum):
    """What must rest when a provider asks for patience."""

    CALLS = "calls"  #: too many at once: fewer at a time will pass
    BYTES = "bytes"  #: the mailbox's bandwidth: listing and history may go on
    MAILBOX = "mailbox"
    PROJECT = "project"


class Throttled(Transient):
    """The provider asks for patience; nothing is charged for waiting."""

    def __init__(
        self, message: str, retry_after: timedelta = timedelta(seconds=1), reach: Reach = Reach.MAILBOX
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.reach = reach


class OutOfBudget(Throttled):
    """No call was made: our own budget does not allow it before `retry_after`."""


class KeyUnknown(Throttled):
    """No call was made, and no budget is charged: the credentials are sealed with a key that this process lacks.

    While a key is rotated this passes with a restart, and a worker that has the key may do the work meanwhile.
    """


class BeingErased(Throttled):
    """The same bytes are being taken out of the blob store, which a long transaction may hold up: put again later."""


class ParserDied(Transient):
    """The process that read a mail died, or ran out of its memory or time: that mail's trouble and nobody else's."""


class ReaderBusy(Transient):
    """The process that reads one mail after the other has others to read first; nothing is known of this mail."""


class NeedsAuthorization(FieldpostError):
    """The mailbox must be connected again by a person."""


class Forbidden(FieldpostError):
    """The mailbox must not be read until its domain allows it."""


class Suspended(FieldpostError):
    """The provider closed the mailbox for now; it is asked again from time to time."""


class CursorExpired(FieldpostError):
    """The provider no longer knows the history cursor."""


class PageExpired(FieldpostError):
    """The provider no longer knows the page token."""


class Permanent(FieldpostError):
    """Will never work, however often it is tried."""


class Gone(Permanent):
    """The message no longer exists at the provider."""
