"""Writes an invitation as an iCalendar object (RFC 5545) by the library that knows it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from icalendar import Calendar, Event, vCalAddress

from pipeline.core.invitations import Meeting, Method
from pipeline.core.text import one_line

_PRODUCT = "-//Fieldpost//Visits//EN"


def write(meeting: Meeting) -> str:
    """Return the object's text: folded at 75 octets, escaped, its lines ended by CRLF; times in UTC.

    The same meeting always gives the same text. Without an organizer and an attendee it is published (RFC 5546, 3.2.1).
    """
    # A control character breaks the line that it stands in, and a reader drops the whole of it.
    named = replace(meeting, company=one_line(meeting.company), location=one_line(meeting.location or "") or None)
    calendar = Calendar()
    calendar.add("prodid", _PRODUCT)
    calendar.add("version", "2.0")
    calendar.add("method", meeting.method.value if meeting.organizer else "PUBLISH")
    calendar.add_component(_event(named))
    return str(calendar.to_ical(), "utf-8")


def _event(meeting: Meeting) -> Event:
    event = Event()
    event.add("uid", meeting.uid)
    event.add("sequence", meeting.sequence)
    event.add("dtstamp", _whole(meeting.at))
    event.add("dtstart", _whole(meeting.window.starts_at))
    event.add("dtend", _whole(meeting.window.ends_at))
    event.add("summary", meeting.summary)
    event.add("status", "CANCELLED" if meeting.method is Method.CANCEL else "CONFIRMED")
    event.add("transp", "OPAQUE")
    if meeting.location:
        event.add("location", meeting.location)
    if meeting.organizer:
        event.add("organizer", _mailbox(meeting.organizer, {"CN": meeting.company}))
    if meeting.attendee:
        more = {"ROLE": "REQ-PARTICIPANT", "PARTSTAT": "NEEDS-ACTION", "RSVP": "FALSE"}
        event.add("attendee", _mailbox(meeting.attendee, more), encode=False)
    return event


def _mailbox(address: str, parameters: dict[str, str]) -> vCalAddress:
    found = vCalAddress(f"mailto:{address}")
    for name, value in parameters.items():
        found.params[name] = value
    return found


def _whole(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(microsecond=0)
