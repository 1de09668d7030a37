"""The life of a family of refresh tokens: each is used once, and one that is used again ends them all (RFC 9700, 4.14).

        issued ── used ──► used ── again within GRACE, while its successor is new ──► the same successor
                            └──── again later, or after its successor was used ────► the family ends

A reply may be lost, and two requests may cross: then the same client asks again, soon, and holds no successor yet. Who
comes with a used token after that holds what somebody else has used.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

#: Within this a used token gives the successor it has given (reliability, section 5).
GRACE = timedelta(seconds=10)
#: A token that nobody used for so long is worth nothing.
TOKEN_LIFETIME = timedelta(days=30)
#: Nothing prolongs a family beyond this: the person signs in again.
FAMILY_LIFETIME = timedelta(days=90)


class Step(StrEnum):
    """What becomes of a token that was presented."""

    ROTATE = "rotate"  #: it is used now, and gets a successor
    REPEAT = "repeat"  #: the successor it has got is given once more
    END = "end"  #: it was stolen, or its successor was: the whole family ends
    REFUSE = "refuse"  #: its time is over, or its family's; nothing changes


@dataclass(frozen=True, slots=True)
class Token:
    """A refresh token as it stands; `is_successor_used` tells that the reply to its use has arrived."""

    expires_at: datetime
    used_at: datetime | None = None
    is_successor_used: bool = False


@dataclass(frozen=True, slots=True)
class Family:
    """A family as it stands."""

    expires_at: datetime
    ended_at: datetime | None = None


def step(token: Token, family: Family, now: datetime) -> Step:
    """Return what becomes of a presented token; all times are the database's."""
    if family.ended_at is not None or family.expires_at <= now:
        return Step.REFUSE
    if token.used_at is not None:
        is_soon = now - token.used_at <= GRACE
        return Step.REPEAT if is_soon and not token.is_successor_used else Step.END
    return Step.ROTATE if now < token.expires_at else Step.REFUSE


def token_expiry(family_expires_at: datetime, now: datetime) -> datetime:
    """Return until when a token that is issued now may be used."""
    return min(now + TOKEN_LIFETIME, family_expires_at)
