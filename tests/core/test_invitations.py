"""Invitations: the text as RFC 5545 has it, read back, and to the byte; and who gets one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.core.field_work import Window
from pipeline.core.invitations import MOST_A_DAY, Addressee, Meeting, Method, body, subject, when, why_not
from pipeline.core.text import one_line
from pipeline.runtime.invitations import write
from tests.calendar_files import event_of

_START = datetime(2026, 3, 29, 8, 30, tzinfo=UTC)
MEETING = Meeting(
    visit_id=UUID("0195b6a0-0000-7000-8000-000000000001"),
    sequence=2,
    method=Method.REQUEST,
    window=Window(_START, _START + timedelta(hours=2)),
    at=datetime(2026, 3, 20, 7, 5, 9, 123, tzinfo=UTC),
    code="tkt-abcdefgh",
    company="Acme, Türen; Söhne & Co",
    location="1 Main Street, Back\\Door; North, Springfield IL 62701, behind the very old mill on the left",
    organizer="help@acme.example",
    attendee="ann@customer.example",
)
#: Written by hand after RFC 5545; each line ends in CRLF.
_GOLDEN = r"""BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//Fieldpost//Visits//EN
METHOD:REQUEST
BEGIN:VEVENT
SUMMARY:Visit by Acme\, Türen\; Söhne & Co (tkt-abcdefgh)
DTSTART:20260329T083000Z
DTEND:20260329T103000Z
DTSTAMP:20260320T070509Z
UID:visit-0195b6a0-0000-7000-8000-000000000001@fieldpost
SEQUENCE:2
ATTENDEE;PARTSTAT=NEEDS-ACTION;ROLE=REQ-PARTICIPANT;RSVP=FALSE:mailto:ann@
 customer.example
LOCATION:1 Main Street\, Back\\Door\; North\, Springfield IL 62701\, behin
 d the very old mill on the left
ORGANIZER;CN="Acme, Türen; Söhne & Co":mailto:help@acme.example
STATUS:CONFIRMED
TRANSP:OPAQUE
END:VEVENT
END:VCALENDAR
"""


def test_an_invitation_is_to_the_byte_what_stands_here() -> None:
    assert write(MEETING).encode() == _GOLDEN.replace("\n", "\r\n").encode()


def test_a_control_character_in_a_name_breaks_no_line() -> None:
    event = event_of(write(replace(MEETING, company="Acme\x0b\x00Ltd\r\nX:1", location="1 Main\x85Street")))
    assert str(event["ORGANIZER"].params["CN"]) == "Acme Ltd X:1"
    assert str(event["LOCATION"]) == "1 Main Street"


def test_a_cancellation_names_the_same_visit_and_says_so() -> None:
    text = write(replace(MEETING, method=Method.CANCEL, sequence=3))
    assert "METHOD:CANCEL\r\n" in text
    assert "STATUS:CANCELLED\r\n" in text
    assert "SEQUENCE:3\r\n" in text
    assert f"UID:{MEETING.uid}\r\n" in text


def test_a_file_for_everybody_is_published_and_names_nobody() -> None:
    text = write(replace(MEETING, organizer=None, attendee=None))
    assert "METHOD:PUBLISH" in text
    assert "mailto:" not in text


_text = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=120)


@settings(max_examples=50, deadline=None)
@example(company=" Acme\u2028 Ltd ", location="\u2003", hours=1, sequence=0)
@given(company=_text, location=_text, hours=st.integers(1, 24), sequence=st.integers(0, 1000))
def test_whatever_names_hold_is_read_back_as_one_line_and_ends_no_other(
    company: str, location: str, hours: int, sequence: int
) -> None:
    window = Window(_START, _START + timedelta(hours=hours))
    meeting = replace(MEETING, company=company, location=location or None, window=window, sequence=sequence)
    raw = write(meeting).encode()
    assert all(len(line) <= 75 for line in raw.split(b"\r\n"))
    assert b"\n" not in raw.replace(b"\r\n", b"")
    event = event_of(raw)
    assert str(event["SUMMARY"]) == f"Visit by {one_line(company)} (tkt-abcdefgh)"
    assert str(event.get("LOCATION", "")) == one_line(location)
    assert (event["DTSTART"].dt, event["DTEND"].dt) == (window.starts_at, window.ends_at)
    assert (int(event["SEQUENCE"]), str(event["UID"])) == (sequence, meeting.uid)
    assert event.errors == []


@pytest.mark.parametrize(
    ("timezone", "said"),
    [
        ("Europe/Berlin", "Sunday, 29 March 2026, 10:30 to 12:30 (CEST, Europe/Berlin)"),
        ("America/New_York", "Sunday, 29 March 2026, 04:30 to 06:30 (EDT, America/New_York)"),
        ("Asia/Kathmandu", "Sunday, 29 March 2026, 14:15 to 16:15 (Asia/Kathmandu)"),
        ("Pacific/Kiritimati", "Sunday, 29 March 2026, 22:30 to Monday, 30 March 2026, 00:30 (Pacific/Kiritimati)"),
        ("Nowhere/None", "Sunday, 29 March 2026, 08:30 to 10:30 (UTC)"),
    ],
)
def test_times_are_told_by_the_clocks_of_the_place_with_the_zone_named(timezone: str, said: str) -> None:
    assert when(MEETING.window, timezone) == said
    assert said in body(MEETING, timezone, is_first=True)


def test_the_words_say_whether_it_is_new_moved_or_off() -> None:
    off = replace(MEETING, method=Method.CANCEL)
    subjects = [subject(MEETING, is_first=True), subject(MEETING, is_first=False), subject(off, is_first=False)]
    assert [one.split(" (")[0] for one in subjects] == [
        "Your visit is booked",
        "Your visit is moved",
        "Your visit is cancelled",
    ]
    assert "has a new time" in body(MEETING, "UTC", is_first=False)
    assert "is cancelled" in body(off, "UTC", is_first=False)


@pytest.mark.parametrize(
    ("addressee", "said"),
    [
        (Addressee(None), "names no address"),
        (Addressee("a@b.example", is_ours=True), "one of ours"),
        (Addressee("a@b.example", is_machine=True), "a machine"),
        (Addressee("a@b.example", has_bounced=True), "came back"),
        (Addressee("a@b.example", had=MOST_A_DAY), "within a day"),
        (Addressee("a@b.example"), None),
    ],
)
def test_nobody_is_written_to_who_must_not_be(addressee: Addressee, said: str | None) -> None:
    found = why_not(addressee, is_wanted=True)
    assert (found is None) == (said is None)
    assert said is None or said in str(found)
    assert why_not(addressee, is_wanted=False) == "invitations are switched off"
