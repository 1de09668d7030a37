"""The rules of a workshop as a value: points, attendance, pauses, levels; checked when read and when changed.

Contract 002; numbers from seed-behaviours, 3.4. Decision 47 tells what they left open.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import time
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.core.calendars import zone_of
from pipeline.core.canonical_json import canonical, sha256_of

_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
_MOST = 1_000_000
#: Files beside the time zones that a machine has or has not, or sets as it likes.
_NO_PLACES = frozenset({"localtime", "posixrules", "Factory"})


def _clock(said: str) -> str:
    if not _CLOCK.fullmatch(said):
        raise ValueError("write a time of day like 10:00")
    return said


def _zone(said: str) -> str:
    if said in _NO_PLACES or said.startswith(("right/", "posix/")):
        raise ValueError("write the name of a place, such as Europe/Berlin: this is another time on each machine")
    zone_of(said)
    return said


Points = Annotated[int, Field(ge=0, le=_MOST)]
Minutes = Annotated[int, Field(ge=0, le=_MOST)]
Clock = Annotated[str, AfterValidator(_clock)]
Zone = Annotated[str, Field(max_length=64), AfterValidator(_zone)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class TicketXp(_Part):
    """What a repair is worth, and how large it is called."""

    base_divisor: int = Field(default=20, ge=1, le=_MOST)
    first_pass_bonus: Points = 1
    qc_status_update_xp: Points = 1
    flag_green_max_minutes: Minutes = 30
    flag_yellow_max_minutes: Minutes = 60

    @model_validator(mode="after")
    def _in_order(self) -> TicketXp:
        if self.flag_yellow_max_minutes < self.flag_green_max_minutes:
            raise ValueError("flag_yellow_max_minutes must not be less than flag_green_max_minutes")
        return self


class Attendance(_Part):
    """What coming in time is worth, by the clocks of the workshop."""

    on_time_xp: int = Field(default=2, ge=-_MOST, le=_MOST)
    grace_xp: int = Field(default=0, ge=-_MOST, le=_MOST)
    late_xp: int = Field(default=-1, ge=-_MOST, le=_MOST)
    on_time_cutoff: Clock = "10:00"
    grace_cutoff: Clock = "10:20"

    @model_validator(mode="after")
    def _in_order(self) -> Attendance:
        if self.grace_cutoff < self.on_time_cutoff:
            raise ValueError("grace_cutoff must not be before on_time_cutoff")
        return self

    @property
    def on_time_until(self) -> time:
        """The last minute of being on time."""
        return time.fromisoformat(self.on_time_cutoff)

    @property
    def grace_until(self) -> time:
        """The last minute that costs nothing."""
        return time.fromisoformat(self.grace_cutoff)


class WorkSession(_Part):
    """How long a technician may pause on one local day, and where the workshop stands."""

    daily_pause_limit_minutes: int = Field(default=30, ge=0, le=1440)
    timezone: Zone = "UTC"

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of the workshop."""
        return zone_of(self.timezone)


class Progression(_Part):
    """Points of each level, and what a week asks for."""

    level_thresholds: tuple[Points, Points, Points, Points, Points] = (0, 200, 450, 750, 1100)
    weekly_target_xp: Points = 100
    weekly_coupon_amount: int = Field(default=100_000, ge=1, le=10_000_000_000)
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "UZS"

    @model_validator(mode="after")
    def _in_order(self) -> Progression:
        if self.level_thresholds[0] != 0:
            raise ValueError("the first level begins at 0 points")
        if list(self.level_thresholds) != sorted(self.level_thresholds):
            raise ValueError("a higher level must not ask for fewer points than a lower one")
        return self


class Rules(_Part):
    """All rules of one workshop."""

    ticket_xp: TicketXp = TicketXp()
    attendance: Attendance = Attendance()
    work_session: WorkSession = WorkSession()
    progression: Progression = Progression()

    @classmethod
    def read(cls, stored: dict[str, Any]) -> Rules:
        """Return stored rules; what an older version did not know has its default."""
        return cls.model_validate(stored, strict=False)

    @classmethod
    def change(cls, before: Rules, said: Mapping[str, Any]) -> Rules:
        """Return rules with what somebody says of them; what is left out stays.

        Raises ValueError with words that name the rule: an unknown one, and a value that it cannot have.
        """
        whole = before.stored()
        for part, values in said.items():
            is_part = part in whole and isinstance(values, Mapping)
            whole[part] = {**whole[part], **values} if is_part else values
        try:
            return cls.model_validate_json(canonical(whole))
        except ValidationError as error:
            raise ValueError(_in_words(error)) from None

    def stored(self) -> dict[str, Any]:
        """Return them as JSON has them."""
        return self.model_dump(mode="json")

    @property
    def checksum(self) -> str:
        """SHA-256, as hex, over their canonical form."""
        return sha256_of(self.stored()).hex()


def difference(before: Rules, after: Rules) -> dict[str, dict[str, Any]]:
    """Return what differs, by rule (`attendance.late_xp`): how it was before and is after."""
    old, new = _flat(before), _flat(after)
    return {name: {"before": old[name], "after": new[name]} for name in sorted(new) if old[name] != new[name]}


def _flat(rules: Rules) -> dict[str, Any]:
    return {f"{part}.{name}": value for part, values in rules.stored().items() for name, value in values.items()}


def _in_words(error: ValidationError) -> str:
    """Return the first trouble in one line; what was said is not repeated."""
    first = error.errors(include_url=False, include_input=False)[0]
    if first["type"] == "extra_forbidden":
        return f"there is no rule {'.'.join(map(str, first['loc']))[:100]!a}"
    place = ".".join(map(str, first["loc"])) or "rules"
    return f"{place}: {first['msg'].removeprefix('Value error, ')}"
