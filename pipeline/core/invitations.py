"""Invitations to a visit: what they say, and whether somebody gets one (RFC 5545, RFC 5546, RFC 6047)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from enum import StrEnum
from uuid import UUID

from pipeline.core.duty import zone
from pipeline.core.field_work import Window
from pipeline.core.loops import LOOP_HEADER, loop_header

#: Visit mails of one ticket within a day at most: whoever moves it about stops being told, and sees it on the page.
MOST_A_DAY = 20


class Method(StrEnum):
    """What an invitation wants (RFC 5546, 3.2)."""

    REQUEST = "REQUEST"
    CANCEL = "CANCEL"


@dataclass(frozen=True, slots=True)
class Meeting:
    """A visit as its customer's calendar keeps it; equal facts make equal text."""

    visit_id: UUID
    sequence: int
    method: Method
    window: Window
    #: When this was said.
    at: datetime
    code: str
    company: str
    location: str | None
    #: Who invites, None where nobody can be answered; and who is invited, None for a file that is fetched.
    organizer: str | None = None
    attendee: str | None = None

    @property
    def uid(self) -> str:
        """Its name for ever (RFC 5545, 3.8.4.7)."""
        return f"visit-{self.visit_id}@fieldpost"

    @property
    def summary(self) -> str:
        """Its title."""
        return f"Visit by {self.company} ({self.code})"


def when(window: Window, timezone: str) -> str:
    """Return a window in words, by the clocks of a place, with the zone named."""
    there = local_zone(timezone)
    start, end = window.starts_at.astimezone(there), window.ends_at.astimezone(there)
    until = f"{end:%H:%M}" if start.date() == end.date() else f"{day_name(end)}, {end:%H:%M}"
    return f"{day_name(start)}, {start:%H:%M} to {until} ({zone_name(start, timezone)})"


def zone_name(local: datetime, timezone: str) -> str:
    """Return how the zone of a local time is called then, such as `CET, Europe/Berlin`."""
    if local_zone(timezone) is UTC:
        return "UTC"
    short = local.tzname() or ""
    is_word = short.isalpha() and short != timezone
    return f"{short}, {timezone}" if is_word else timezone


def local_zone(timezone: str) -> tzinfo:
    """Return a time zone by its name; UTC for one that is not known here."""
    try:
        return zone(timezone)
    except ValueError:
        return UTC


def day_name(at: date) -> str:
    """Return a day in words, the same on every machine."""
    return f"{_WEEKDAYS[at.weekday()]}, {at.day} {_MONTHS[at.month - 1]} {at.year}"


#: Not by the machine's locale.
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


def subject(meeting: Meeting, *, is_first: bool) -> str:
    """Return the subject of the mail."""
    if meeting.method is Method.CANCEL:
        return f"Your visit is cancelled ({meeting.code})"
    return f"Your visit is {'booked' if is_first else 'moved'} ({meeting.code})"


def body(meeting: Meeting, timezone: str, *, is_first: bool) -> str:
    """Return the words of the mail, for people and for programs that know no calendars."""
    place = f"\nWhere: {meeting.location}" if meeting.location else ""
    facts = f"When: {when(meeting.window, timezone)}{place}"
    if meeting.method is Method.CANCEL:
        told = f"The visit by {meeting.company} is cancelled:"
        rest = "We will tell you when there is a new time."
    else:
        told = f"{meeting.company} will visit you:" if is_first else f"The visit by {meeting.company} has a new time:"
        rest = "The invitation in this mail puts it into your calendar."
    return f"{told}\n\n{facts}\n\n{rest}\nTo change something, simply answer this mail. Its number is {meeting.code}."


def headers(from_address: str, code: str, key: bytes) -> Mapping[str, str]:
    """Return the headers by which no machine answers (RFC 3834, 3.1.7: nothing was replied to), and our signed mark."""
    return {
        "Auto-Submitted": "auto-generated",
        "X-Auto-Response-Suppress": "All",
        LOOP_HEADER: loop_header(from_address, code, 1, key),
    }


@dataclass(frozen=True, slots=True)
class Addressee:
    """Whom an invitation would go to, with what speaks against it."""

    address: str | None
    is_ours: bool = False
    is_machine: bool = False
    has_bounced: bool = False
    #: Visit mails of the ticket within a day.
    had: int = 0


def why_not(addressee: Addressee, *, is_wanted: bool) -> str | None:
    """Return why nobody is written to, None when somebody is."""
    reasons = (
        (not is_wanted, "invitations are switched off"),
        (not addressee.address, "the ticket names no address of the customer"),
        (addressee.is_ours, "the address is one of ours"),
        (addressee.is_machine, "a machine wrote from the address"),
        (addressee.has_bounced, "mail to the address came back"),
        (addressee.had >= MOST_A_DAY, f"the ticket had {addressee.had} of them within a day"),
    )
    return next((said for holds, said in reasons if holds), None)
