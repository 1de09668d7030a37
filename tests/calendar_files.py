"""Reading iCalendar objects in tests."""

from __future__ import annotations

from typing import Any

from icalendar import Calendar


def event_of(raw: str | bytes) -> Any:
    """Return the one event of a calendar object; its properties by name."""
    (found,) = Calendar.from_ical(raw).walk("VEVENT")
    return found
