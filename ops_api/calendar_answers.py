"""What business calendars look like over HTTP: hours of work and holidays."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from ops_api.sla_answers import Name

_Row = ConfigDict(from_attributes=True)
_Asked = ConfigDict(extra="forbid")
_Day = Annotated[str, StringConstraints(pattern=r"^[0-6]$")]
_Time = Annotated[str, StringConstraints(pattern=r"^([01]\d|2[0-4]):[0-5]\d$")]
Hours = dict[_Day, list[Annotated[list[_Time], Field(min_length=2, max_length=2)]]]
_HOURS = 'Spans of work by weekday, Monday is 0: {"0": [["08:00", "12:00"], ["13:00", "17:00"]]}.'


class CalendarAnswer(BaseModel):
    """Hours of work in a time zone."""

    model_config = _Row

    id: UUID
    name: str
    timezone: str
    hours: dict[str, list[list[str]]] = Field(description=_HOURS)
    holidays: int = Field(description="How many holidays it has.")
    version: int
    created_at: datetime


class CalendarAnswers(BaseModel):
    """All calendars of the organization, by name; at most 100."""

    items: list[CalendarAnswer]


class CalendarRequest(BaseModel):
    """A new calendar."""

    model_config = _Asked

    name: Name
    timezone: Annotated[str, Field(max_length=60, description="An IANA name, such as Europe/Berlin.")]
    hours: Hours = Field(description=_HOURS)


class CalendarChange(BaseModel):
    """What to change of a calendar; what is left out stays."""

    model_config = _Asked

    name: Name | None = None
    timezone: Annotated[str | None, Field(max_length=60)] = None
    hours: Hours | None = None

    def columns(self) -> dict[str, Any]:
        """Return what is to be changed, by column."""
        return {name: value for name, value in self.model_dump(exclude_unset=True).items() if value is not None}


class HolidayAnswer(BaseModel):
    """A day on which nothing counts."""

    model_config = _Row

    day: date
    name: str


class HolidayAnswers(BaseModel):
    """The holidays of a calendar, in order; at most 2,000."""

    items: list[HolidayAnswer]


class HolidayRequest(BaseModel):
    """One day off."""

    model_config = _Asked

    day: date
    name: Annotated[str, Field(max_length=200)] = ""


class HolidaysRequest(BaseModel):
    """Days off to add; one that is there gets the name."""

    model_config = _Asked

    items: list[HolidayRequest] = Field(min_length=1, max_length=400)
