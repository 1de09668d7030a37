"""The values of handing a mail over to its provider: what is given, how it ended, and whether it is found again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pipeline.core.moments import LONG_AGO, Moment


class HandOver(StrEnum):
    """How handing a mail to its provider ended; only `DOUBTFUL` leaves open whether it left."""

    ACCEPTED = "accepted"
    LATER = "later"  #: nothing left, and it may pass: refused for now, not reached, no budget
    REFUSED = "refused"  #: nothing left, and the same mail will be refused again
    DOUBTFUL = "doubtful"  #: the answer was lost after the mail may have been taken


@dataclass(frozen=True, slots=True)
class Handed:
    """What became of handing over; `provider_id` is the sent copy's where the provider told it, `said` its words."""

    how: HandOver
    said: str = ""
    provider_id: str | None = None


class Finding(StrEnum):
    """Whether a mail is among what its mailbox sent."""

    THERE = "there"
    NOT_THERE = "not_there"  #: the provider keeps what it takes, and does not have it
    UNSURE = "unsure"  #: not seen, which proves nothing


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A mail to hand over: its bytes, who sends it to whom, and by what a copy of it is known."""

    raw: bytes
    message_id: str
    proof: str
    from_address: str
    recipients: tuple[str, ...]
    #: When it was first marked as handed over.
    since: datetime
    #: A sender that has not begun to transmit by then must not begin, for another may.
    begin_by: Moment = LONG_AGO
