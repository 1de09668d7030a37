"""What the bodies of contract 000's commands are made of: text, money and numbers, each with its bounds."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from models.enums import DispatchPriority

#: Control characters but for tabs and line ends; PostgreSQL keeps no NUL.
_PLAIN = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"
_ON_ONE_LINE = r"^[^\x00-\x1f\x7f]*$"
#: No work costs more, and sums of many stay within 64 bits.
MOST_CENTS = 10**12


def _line(most: int) -> StringConstraints:
    return StringConstraints(strip_whitespace=True, min_length=1, max_length=most, pattern=_ON_ONE_LINE)


def upper(said: Any) -> Any:
    """Let words of a list come in any case of letters (contract 000)."""
    return said.strip().upper() if isinstance(said, str) else said


def in_words(said: Any) -> Any:
    """Let days and times come as ISO 8601 alone: a number would be taken for seconds since 1970."""
    if not isinstance(said, str | date):
        raise ValueError("write it as text, like 2026-03-02T09:00:00Z")  # noqa: TRY004 - pydantic hears of this one
    return said


def _floor(said: Any) -> Any:
    """Cut off what is behind the point, as contract 000 does; what is no finite number is left to be refused."""
    is_finite = isinstance(said, float) and abs(said) < float("inf")
    return int(said // 1) if is_finite else said


#: One line that says what it is about.
Line = Annotated[str, _line(500)]
Name = Annotated[str, _line(200)]
#: Why something is done; kept in the ticket's history and the audit trail.
Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2_000, pattern=_PLAIN)]
Words = Annotated[str, StringConstraints(max_length=20_000, pattern=_PLAIN)]
#: What kind of trouble it is, in upper case; any text, since organizations have templates of their own.
IncidentType = Annotated[
    str,
    BeforeValidator(upper),
    StringConstraints(strip_whitespace=True, to_upper=True, min_length=1, max_length=100, pattern=_ON_ONE_LINE),
]
#: In any case of letters (contract 000).
Priority = Annotated[DispatchPriority, BeforeValidator(upper)]
#: Whole, in the currency's smallest unit; no text, no fraction, no truth value.
Cents = Annotated[int, Field(strict=True, ge=0, le=MOST_CENTS)]
#: The same, but what is behind a point is cut off.
FlooredCents = Annotated[int, BeforeValidator(_floor), Field(strict=True, ge=0, le=MOST_CENTS)]
#: 0 to 100; what is behind a point is cut off.
Percent = Annotated[int, BeforeValidator(_floor), Field(strict=True, ge=0, le=100)]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
Flag = Annotated[bool, Field(strict=True)]
#: An id or an exact address of a piece of evidence.
EvidenceRef = Annotated[str, _line(2_000)]
#: With a zone: a time without one is another moment in every place.
Moment = Annotated[AwareDatetime, BeforeValidator(in_words)]


class GivenReason(BaseModel):
    """Why."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason
