"""Which mail a machine wrote, and what may follow from it."""

from __future__ import annotations

from email.parser import BytesHeaderParser
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models.enums import MachineKind
from pipeline.core import loops
from pipeline.core.machines import VERDICTS, asks_for_no_answer, calendar_method, classify
from pipeline.core.markers import MARKERS

BOUNDED = settings(max_examples=50, deadline=None)
OWN = ("example.org",)
LOOP_HEADER = loops.LOOP_HEADER.lower()
ALICE = "alice@customer.example"


def kind(
    headers: dict[str, str | list[str]], sender: str | None = ALICE, subject: str = "Door", **more: Any
) -> MachineKind | None:
    """The kind of a mail with these headers."""
    listed = {name: [value] if isinstance(value, str) else value for name, value in headers.items()}
    marker = classify(listed, sender, subject, OWN, **more)
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
    ("headers", "opens", "reopens"),
    [
        ({"auto-submitted": "auto-replied"}, False, False),
        ({"return-path": "<>"}, False, False),
        ({LOOP_HEADER: "example.org"}, False, False),
        ({"list-id": "<w.example>"}, True, True),
        ({"precedence": "bulk"}, True, False),
        ({"auto-submitted": "auto-generated"}, True, True),
    ],
)
def test_only_lists_bulk_and_alarms_may_open_tickets_and_nothing_is_answered(headers, opens, reopens):
    marker = classify({name: [value] for name, value in headers.items()}, ALICE, "", OWN)
    assert marker is not None
    verdict = marker.verdict
    assert (verdict.may_open_ticket, verdict.may_reopen, verdict.may_be_answered) == (opens, reopens, False)


def test_every_kind_has_its_verdict_and_only_people_are_answered():
    assert set(VERDICTS) == {None, *MachineKind}
    assert [kind for kind, verdict in VERDICTS.items() if verdict.may_be_answered] == [None]


RULE_NOTE = (
    "X-MS-Exchange-Generated-Message-Source: Mailbox Rules Agent\nAuto-Submitted: auto-generated\n"
    "X-MS-Exchange-Inbox-Rules-Loop: bob@corp.example\nX-Auto-Response-Suppress: All\nSubject: Bob is away\n"
)
#: One sample per marker that the table above does not show: the header lines of a mail, and what it is.
SAMPLES = [
    ("Delivered-To: a@example.org\n" * 4, LOOP),
    ("X-MS-Exchange-Inbox-Rules-Loop: a@example.org\n" * 2, LOOP),
    ("".join(f"X-MS-Exchange-Inbox-Rules-Loop: {one}@x.example\n" for one in "abcd"), LOOP),
    (f"{loops.LOOP_HEADER}: help@other.example; t=tkt-1; n=4; s=00\n", LOOP),
    ("X-MS-Exchange-Message-Is-Ndr:\n", BOUNCE),
    ("From: MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e@corp.example\n", BOUNCE),
    ("X-FreeScout-Mail-Type: auto.reply\n", REPLY),
    (RULE_NOTE, REPLY),
    ("Auto-Submitted: auto-generated\nReferences: <1@x.example> <2@example.org>\n", REPLY),
    ("X-Auto-Reply: yes\n", REPLY),
    ("X-Autoreply-From: bob@x.example\n", REPLY),
    ("X-Mail-Autoreply: bob@x.example\n", REPLY),
    ("X-Autoresponder: 1\n", REPLY),
    ("X-Autogenerated: Reply\n", REPLY),
    ("X-FC-MachineGenerated: true\n", REPLY),
    ("X-POST-MessageClass: 9; Autoresponder\n", REPLY),
    ("Delivered-To: Autoresponder\n", REPLY),
    ("X-Precedence: auto_reply\n", REPLY),
    ("Preference: auto_reply\n", REPLY),
    ("Auto-Submitted: auto-replied\nPrecedence: bulk\nX-Autoreply: yes\n", REPLY),
    ("X-Mailer: Zendesk Mailer\nAuto-Submitted: auto-generated\nIn-Reply-To: <1@example.org>\n", NOTE),
    ("Message-ID: <ABC_1_sprut@zendesk.com>\nIn-Reply-To: <1@example.org>\n", NOTE),
    ("Message-ID: <1.2@acme.freshdesk.com>\n", NOTE),
    ("X-Mailer: osTicket Mailer\n", NOTE),
    ("X-JIRA-FingerPrint: 0123456789abcdef\nPrecedence: bulk\nAuto-Submitted: auto-generated\n", NOTE),
    ("X-ServiceNow-Generated: true\nPrecedence: bulk\n", NOTE),
    ("X-FreeScout-Mail-Type: customer.message\n", NOTE),
    ("X-Frappe-Site: desk.example\n", NOTE),
    ("X-OTRS-Loop: support@x.example\n", NOTE),
    ("X-Powered-By: OTRS - Open Ticket Request System\n", NOTE),
    ("X-Powered-By: Zammad - Helpdesk/Support\n", NOTE),
    ("X-RT-Loop-Prevention: rt.example\n", NOTE),
    ("RT-Ticket: rt.example #17\n", NOTE),
    ("X-Redmine-Host: redmine.example\n", NOTE),
    ("X-GitHub-Reason: mention\nList-ID: <r.o.github.com>\n", NOTE),
    ("X-GitLab-Project: pipeline\n", NOTE),
    ("Mailing-List: list help@x.example; contact help-owner@x.example\n", LIST),
    ("X-Mailing-List: linux-kernel@x.example\n", LIST),
    ("X-BeenThere: dev@x.example\n", LIST),
    ("X-Google-Group-Id: 12345\n", LIST),
    ("List-Post: <mailto:dev@x.example>\n", LIST),
    ("List-Unsubscribe: <https://news.example/u>\n", BULK),
    ("Feedback-ID: 1:2:3:sender\n", BULK),
    ("X-CSA-Complaints: csa@x.example\n", BULK),
    ("X-Campaign: spring\n", BULK),
    ("X-CampaignID: 7\n", BULK),
    ("X-Campaign-Id: 7\n", BULK),
    ("X-MC-User: 0123\n", BULK),
    ("X-MSFBL: abc\n", BULK),
    ('Content-Type: multipart/report; report-type="feedback-report"\n', NOTE),
    ("X-Loop: alarm@x.example\n", NOTE),
    ("From: no-reply@shop.example\n", NOTE),
    ("From: DoNotReply@shop.example\n", NOTE),
    ("From: noreply+abc@shop.example\n", NOTE),
]  # fmt: skip


def kind_of(lines: str) -> MachineKind | None:
    """The kind of a mail with these header lines."""
    message = BytesHeaderParser().parsebytes(lines.encode())
    headers: dict[str, list[str]] = {}
    for name, value in message.items():
        headers.setdefault(name.lower(), []).append(value)
    return kind(dict(headers), message.get("From", ALICE), message.get("Subject", "Door"))


@pytest.mark.parametrize(("lines", "expected"), SAMPLES, ids=[lines.splitlines()[0][:50] for lines, _ in SAMPLES])
def test_each_marker_is_found_in_its_sample(lines: str, expected: MachineKind):
    assert kind_of(lines) is expected


@pytest.mark.parametrize(
    "lines",
    [
        "X-Auto-Response-Suppress: DR, RN, NRN, OOF, AutoReply\n",  # people's Outlook
        "Subject: Re: Out of office next week, please move the visit\nIn-Reply-To: <1@example.org>\n",
        "Subject: Automatic reply does not work on our doors\n",
        "Subject: out of office\n",  # no header of a machine
        # A sales person's tool puts these on every mail, an answer to us included.
        "List-Unsubscribe: <https://crm.example/u>\nFeedback-ID: 1:2:crm\nIn-Reply-To: <1@example.org>\n",
        # A mailbox that passes mail on by a rule, once.
        "X-MS-Exchange-Inbox-Rules-Loop: office@corp.example\nSubject: FW: pump broken\n",
        "X-MS-Exchange-Generated-Message-Source: Mailbox Rules Agent\n",
        "Delivered-To: a@example.org\nDelivered-To: group@example.org\nDelivered-To: a@example.org\n",
        "X-FreeScout-Mail-Type:\n",
        "X-Autogenerated: Forward\n",  # a person's mail that a rule passed on
        "From: replyno@shop.example\n",
        "From: noreplyhere.smith@shop.example\n",
        "Message-ID: <1@notzendesk.com>\n",
        "X-Mailer: Microsoft Outlook 16.0\n",
        "References: <2@example.org>\n",
    ],
)
def test_mail_of_people_that_looks_similar_is_not_caught(lines: str):
    assert kind_of(lines) is None


def test_what_a_rule_of_outlook_forwards_is_news_and_no_reply():
    lines = (
        "Auto-Submitted: auto-generated\nX-MS-Exchange-Generated-Message-Source: Mailbox Rules Agent\n"
        "In-Reply-To: <1@x.example>\nSubject: WG: pump broken\n"
    )
    assert kind_of(lines) is NOTE


def test_every_marker_of_the_table_has_a_sample_of_its_own():
    sampled = {line.partition(":")[0].lower() for lines, _ in SAMPLES for line in lines.splitlines()}
    tested_above = {
        "received", "content-type", "x-failed-recipients", "auto-submitted", "x-autoreply", "x-autorespond",
        "precedence", "return-path", "list-id", "(from)", "(calendar)",
    }  # fmt: skip
    assert {row.header for row in MARKERS} - sampled - tested_above == set()


@pytest.mark.parametrize(
    ("content", "method", "expected"),
    [
        (b"BEGIN:VCALENDAR\r\nMETHOD:REPLY\r\n", "reply", NOTE),
        (b"BEGIN:VCALENDAR\nmethod;x=1: Reply\n", "reply", NOTE),
        (b"BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\n", "request", None),
        (b"BEGIN:VCALENDAR\r\nX-METHOD:REPLY\r\n", "", None),
        (b"", "", None),
    ],
)
def test_an_answer_to_an_invitation_is_a_notification_and_an_invitation_is_a_persons(
    content: bytes, method: str, expected: MachineKind | None
):
    assert calendar_method([b"nothing", content]) == method
    assert kind({}, calendar_method=calendar_method([content])) is expected


def test_a_loop_header_that_names_us_and_that_we_did_not_sign_proves_no_loop():
    forged = {LOOP_HEADER: "help@example.org; t=tkt-1; n=1; s=00"}
    assert kind(forged, signed=lambda _: False) is NOTE
    assert kind(forged, signed=lambda _: True) is LOOP
    assert kind({LOOP_HEADER: "help@other.example; n=1"}, signed=lambda _: True) is NOTE


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
@example({"delivered-to": [], "received": []}, "", "")
@given(st.dictionaries(names, st.lists(st.text(max_size=50), max_size=3)), st.text(max_size=50), st.text(max_size=50))
def test_any_headers_are_classified_without_an_error(headers, sender, subject):
    marker = classify(headers, sender, subject, OWN)
    assert marker is None or marker.kind in MachineKind


def test_hostile_values_are_cut():
    headers = {"auto-submitted": ["(" * 500_000], "content-type": [";report-type" * 100_000]}
    marker = classify(headers, "x" * 500_000, "re:" * 500_000, OWN)
    assert marker is None or len(marker.value) <= 1_000
