"""What bodies of contract 003 hold: reports about assets, what a person found, and who is to go."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, FailFast, Field, StringConstraints

from models.enums import SignalSource, SignalStatus, TaskResult, TriageMode
from pipeline.core.scoring import Signal

#: Reports that one call takes; more go in several calls, which come to the same cases.
MOST_SIGNALS = 10_000
#: Bytes of such a call.
MOST_BYTES = 5 * 1_048_576
#: A reason that somebody could learn from.
LEAST_REASON = 10

_EARLIEST, _LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_BREAKS = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]")
_DAY = re.compile(r"\s*\d{4}-\d{2}-\d{2}", re.ASCII)


def _one_line(said: str) -> str:
    if _BREAKS.search(said):
        raise ValueError("it holds a control character or a line end: leave that out")
    return said


def _no_controls(said: str) -> str:
    if _CONTROL.search(said):
        raise ValueError("it holds a control character: leave that out; tabs and line ends may stay")
    return said


def _as_iso(said: Any) -> Any:
    """Let a time come as ISO 8601 alone: a number would be taken for seconds since 1970."""
    if isinstance(said, date) or (isinstance(said, str) and _DAY.match(said)):
        return said
    raise ValueError("write it as text, like 2026-02-20T20:00:00Z")


def _as_utc(at: datetime) -> datetime:
    """Read a time without a zone as UTC (seed-behaviours, 4.6 no. 6)."""
    zoned = at if at.utcoffset() is not None else at.replace(tzinfo=UTC)
    if not _EARLIEST <= zoned < _LATEST:
        raise ValueError("it lies between 2000 and 2200")
    return zoned.astimezone(UTC)


def _not_too_many(said: Any) -> Any:
    if isinstance(said, list) and len(said) > MOST_SIGNALS:
        raise ValueError(f"one call takes {MOST_SIGNALS:,} reports: send the rest in further calls")
    return said


def _text_or_none(said: Any) -> Any:
    return "" if said is None else said


#: One line that names something.
Label = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), AfterValidator(_one_line)
]
#: A time; one without a zone is UTC.
At = Annotated[datetime, BeforeValidator(_as_iso), AfterValidator(_as_utc)]
Told = Annotated[
    str, BeforeValidator(_text_or_none), StringConstraints(max_length=20_000), AfterValidator(_no_controls)
]
#: Reports of mail come by mail.
Source = Literal[SignalSource.CHARGER_API, SignalSource.CITY_311, SignalSource.UGC]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SignalReport(_Body):
    """One report about one charger (contract 003, Signal)."""

    id: Label = Field(description="As who reports calls it; told again, the newest by its timestamp counts.")
    source: Source
    timestamp: At = Field(description="When it was so, by the reporter's clock; without a zone it is UTC.")
    charger_id: Label = Field(description="AUS_0123, aus-0123 and AUS 0123 are one.")
    lat: Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)] | None = None
    lon: Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)] | None = None
    status: SignalStatus
    text: Told = ""

    def signal(self) -> Signal:
        """Return it as scoring takes it."""
        return Signal(
            self.id, self.source.value, self.timestamp, self.charger_id, self.status, self.text, self.lat, self.lon
        )


class Reports(_Body):
    """What is reported."""

    #: The first that is wrong is told: who sends ten thousand makes one mistake, not ten thousand.
    signals: Annotated[list[SignalReport], FailFast(), Field(max_length=MOST_SIGNALS), BeforeValidator(_not_too_many)]


class Run(Reports):
    """What is reported, and in which mode the answer tells the cases."""

    mode: TriageMode


class Verification(_Body):
    """What a person found who looked."""

    result: TaskResult
    notes: Told = Field(default="", description="For colleagues.")


class CaseDispatch(_Body):
    """Who is to go, and until when."""

    assigned_team: Label = Field(description="The name of a team; upper and lower case do not matter.")
    due_at: At | None = Field(default=None, description="Without it, by the case's SLA from now on.")
    state: Literal["created", "in_progress", "done"] | None = Field(
        default=None, description="How far the order is, forward only; without it a new one is created, another stays."
    )
    override_reason: (
        Annotated[str, StringConstraints(strip_whitespace=True, min_length=LEAST_REASON, max_length=2_000)] | None
    ) = Field(default=None, description="Why somebody goes although a verification is open.")
