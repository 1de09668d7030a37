"""Which mail a machine wrote, and what may follow from it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.enums import MachineKind
from pipeline.core.machines import LOOP_HEADER, MARKERS, asks_for_no_answer, classify

BOUNDED = settings(max_examples=50, deadline=None)
OWN = ("example.org",)
ALICE = "alice@customer.example"


def kind(headers: dict[str, str | list[str]], sender: str | None = ALICE, subject: str = "Door") -> MachineKind | None:
    """The kind of a mail with these headers."""
    listed = {name: [value] if isinstance(value, str) else value for name, value in headers.items()}
    marker = classify(listed, sender, subject, OWN)
    return marker.kind if marker else None


LOOP, BOUNCE, REPLY = MachineKind.LOOP, MachineKind.BOUNCE, MachineKind.AUTO_REPLY
LIST, BULK, NOTE = MachineKind.MAILING_LIST, MachineKind.BULK, MachineKind.NOTIFICATION
DSN = 'multipart/report; boundary="x"; report-type=delivery-status'
MDN = 'Multipart/Report;\r\n\treport-type="disposition-notification"'


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        pytest.param({}, None, id="a person"),
        pytest.param({"auto-submitted": "no"}, None, id="auto-submitted no"),
        pytest.param({"auto-submitted": "No (by hand); x=1"}, None, id="auto-submitted no with comment"),
        pytest.param({"precedence": "normal"}, None, id="precedence normal"),
        pytest.param({"return-path": f"<{ALICE}>"}, None, id="return path"),
        pytest.param({"x-auto-response-suppress": "All"}, None, id="suppress alone"),
        pytest.param({"list-id": ""}, None, id="empty list id"),
        pytest.param({"content-type": "multipart/report; report-type=other"}, None, id="another report"),
        pytest.param({"content-type": "text/plain; report-type=delivery-status"}, None, id="no report at all"),
        pytest.param({"auto-submitted": "auto-replied"}, REPLY, id="auto-replied"),
        pytest.param({"auto-submitted": "Auto-Replied (vacation); owner-email=a@b"}, REPLY, id="with parameters"),
        pytest.param({"auto-submitted": "auto-generated"}, NOTE, id="auto-generated"),
        pytest.param({"auto-submitted": "auto-notified; owner-email=a@b"}, NOTE, id="auto-notified"),
        pytest.param({"auto-submitted": "auto-generated", "in-reply-to": "<1@x>"}, REPLY, id="generated answer"),
        pytest.param({"x-autoreply": "yes"}, REPLY, id="x-autoreply"),
        pytest.param({"x-autoreply": "no"}, None, id="x-autoreply no"),
        pytest.param({"x-autorespond": "Away"}, REPLY, id="x-autorespond"),
        pytest.param({"precedence": "auto_reply"}, REPLY, id="precedence auto_reply"),
        pytest.param({"content-type": MDN}, REPLY, id="read receipt"),
        pytest.param({"content-type": DSN}, BOUNCE, id="delivery status"),
        pytest.param({"return-path": "<>"}, BOUNCE, id="null return path"),
        pytest.param({"return-path": " < > "}, None, id="a broken return path"),
        pytest.param({"x-failed-recipients": "bob@example.net"}, BOUNCE, id="failed recipients"),
        pytest.param({"list-id": "Workers <workers.example.net>"}, LIST, id="list id"),
        pytest.param({"precedence": "List"}, LIST, id="precedence list"),
        pytest.param({"precedence": "bulk"}, BULK, id="precedence bulk"),
        pytest.param({"precedence": "junk"}, BULK, id="precedence junk"),
        pytest.param({LOOP_HEADER: "example.org; hop=1"}, LOOP, id="own loop header"),
        pytest.param({LOOP_HEADER: "support@EXAMPLE.org"}, LOOP, id="own loop header with an address"),
        pytest.param({LOOP_HEADER: ""}, LOOP, id="loop header without a domain"),
        pytest.param({LOOP_HEADER: "other.example; hop=1"}, NOTE, id="another installation"),
        pytest.param({"received": ["by x"] * 101}, LOOP, id="circling"),
        pytest.param({"received": ["by x"] * 100}, None, id="long way"),
        pytest.param({"list-id": "<w.example>", "precedence": "bulk"}, LIST, id="list before bulk"),
        pytest.param({"list-id": "<w.example>", "content-type": DSN}, BOUNCE, id="bounce before list"),
        pytest.param({"return-path": "<>", "auto-submitted": "auto-replied"}, REPLY, id="reply with null path"),
        pytest.param({"auto-submitted": ["no", "auto-replied"]}, REPLY, id="repeated header"),
    ],
)
def test_markers_are_found_in_headers(headers, expected):
    assert kind(headers) is expected


@pytest.mark.parametrize(
    "sender", ["MAILER-DAEMON@mx.example.net", "postmaster@example.net", "Mailer-Daemon", "mailerdaemon@x"]
)
def test_robot_mailboxes_send_bounces(sender):
    assert kind({}, sender) is BOUNCE


@pytest.mark.parametrize("sender", ["postmasters@example.net", "not-mailer-daemon@x", "", None])
def test_other_senders_are_no_robots(sender):
    assert kind({}, sender) is None


@pytest.mark.parametrize(
    "subject", ["Automatic reply: Door", "Out of Office: away", "AW: Auto-Reply", "Abwesenheitsnotiz", "Autoreply"]
)
def test_an_absence_note_marked_as_generated_is_a_reply(subject):
    assert kind({"auto-submitted": "auto-generated"}, subject=subject) is REPLY


def test_a_subject_alone_proves_nothing():
    assert kind({}, subject="Automatic reply of the door opener is broken") is None


def test_an_alarm_of_ones_own_domain_is_a_notification_and_no_loop():
    assert kind({"auto-submitted": "auto-generated"}, "alarms@example.org") is NOTE


def test_without_own_domains_every_loop_header_is_ours():
    marker = classify({LOOP_HEADER: ["other.example"]}, ALICE, "", ())
    assert marker is not None
    assert marker.kind is LOOP


@pytest.mark.parametrize(
    ("headers", "opens"),
    [
        ({"auto-submitted": "auto-replied"}, False),
        ({"return-path": "<>"}, False),
        ({LOOP_HEADER: "example.org"}, False),
        ({"list-id": "<w.example>"}, True),
        ({"precedence": "bulk"}, True),
        ({"auto-submitted": "auto-generated"}, True),
    ],
)
def test_only_lists_bulk_and_alarms_may_open_tickets_and_nothing_is_answered(headers, opens):
    marker = classify({name: [value] for name, value in headers.items()}, ALICE, "", OWN)
    assert marker is not None
    assert marker.may_open_ticket is opens
    assert not marker.may_be_answered


def test_a_marker_names_the_header_and_its_value():
    marker = classify({"list-id": [" Workers\r\n <w.example>"]}, ALICE, "", OWN)
    assert marker is not None
    assert (marker.header, marker.value) == ("list-id", "Workers <w.example>")


def test_every_row_of_the_table_names_its_source():
    assert all(row.source and row.header == row.header.lower() for row in MARKERS)


@pytest.mark.parametrize(
    ("value", "asks"), [("All", True), ("DR, OOF", True), ("autoreply", True), ("DR", False), ("", False)]
)
def test_suppression_only_asks_for_no_answer(value, asks):
    assert asks_for_no_answer({"x-auto-response-suppress": [value]}) is asks


names = st.sampled_from(sorted({row.header for row in MARKERS}))


@BOUNDED
@given(st.dictionaries(names, st.lists(st.text(max_size=50), max_size=3)), st.text(max_size=50), st.text(max_size=50))
def test_any_headers_are_classified_without_an_error(headers, sender, subject):
    marker = classify(headers, sender, subject, OWN)
    assert marker is None or marker.kind in MachineKind


def test_hostile_values_are_cut():
    headers = {"auto-submitted": ["(" * 500_000], "content-type": [";report-type" * 100_000]}
    marker = classify(headers, "x" * 500_000, "re:" * 500_000, OWN)
    assert marker is None or len(marker.value) <= 1_000
