"""The demonstration mailbox: the same for the same seed, true to its own counts, and full of what real mail does."""

from __future__ import annotations

import json
import mailbox
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage, Message
from email.parser import BytesHeaderParser, BytesParser
from functools import cache
from pathlib import Path

import pytest

from deploy.demo.__main__ import main
from deploy.demo.places import RETIRED
from deploy.demo.scenario import LATER_SPAN, SMALLEST, SPAN, build
from deploy.demo.specs import Mail, MailKind, Scenario

START = datetime(2026, 1, 5, 6, 0, tzinfo=UTC)
SIZE = 1_800
MARKED = {MailKind.HOSTILE, MailKind.BLANK}
TRACE = {"delivered-to", "x-gm-original-to", "x-original-to"}
ADDRESS = re.compile(r"[\w.+-]+@([\w-]+(?:\.[\w-]+)*)")
IDENTIFIER = re.compile(r"<([^<>\s]+)>")


@cache
def scenario() -> Scenario:
    return build(7, SIZE, START)


def everything(of: Scenario | None = None) -> tuple[Mail, ...]:
    whole = of or scenario()
    return whole.initial + whole.later


def headers(mail: Mail) -> Message:
    return BytesHeaderParser(policy=policy.compat32).parsebytes(mail.raw)


def parsed(mail: Mail) -> EmailMessage:
    message = BytesParser(policy=policy.default).parsebytes(mail.raw)
    assert isinstance(message, EmailMessage)
    return message


@cache
def readable() -> tuple[tuple[Mail, EmailMessage], ...]:
    return tuple((mail, parsed(mail)) for mail in everything() if mail.kind not in MARKED)


def leaves() -> Iterator[tuple[Mail, Message]]:
    for mail, message in readable():
        for part in message.walk():
            if not part.is_multipart():
                yield mail, part


def identifiers(message: Message, *names: str) -> list[str]:
    return [found for name in names for value in message.get_all(name, []) for found in IDENTIFIER.findall(str(value))]


def reported(mail: Mail) -> list[str]:
    """Return the id of the mail that a bounce returns the header of."""
    if mail.kind is not MailKind.BOUNCE:
        return []
    parts = [part for part in parsed(mail).walk() if part.get_content_type() == "text/rfc822-headers"]
    return [found for part in parts for found in IDENTIFIER.findall(str(part.get_content()))]


def groups(mails: Iterable[Mail]) -> int:
    """Count connected mails by flooding a graph of ids: another way than the generator's."""
    neighbours: dict[str, set[str]] = {}
    own: set[str] = set()
    for number, mail in enumerate(mails):
        message = headers(mail)
        name = next(iter(identifiers(message, "Message-ID")), f"without-id-{number}")
        own.add(name)
        neighbours.setdefault(name, set())
        for named in [*identifiers(message, "In-Reply-To", "References"), *reported(mail)]:
            neighbours[name].add(named)
            neighbours.setdefault(named, set()).add(name)
    count, unseen = 0, set(own)
    while unseen:
        count, border = count + 1, [unseen.pop()]
        reached = set(border)
        while border:
            fresh = neighbours[border.pop()] - reached
            reached |= fresh
            border += fresh
        unseen -= reached
    return count


def test_the_same_seed_gives_identical_bytes() -> None:
    first, second = build(11, 300, START), build(11, 300, START)

    assert first == second
    assert [mail.raw for mail in everything(first)] != [mail.raw for mail in everything(build(12, 300, START))]


@pytest.mark.parametrize("size", [SMALLEST, 100, 777])
def test_a_scenario_has_exactly_the_size_asked_for_and_a_twentieth_later(size: int) -> None:
    small = build(3, size, START)

    assert (len(small.initial), len(small.later)) == (size, size // 20)
    assert small.expected.threads == groups(mail for mail in everything(small) if mail.kind is not MailKind.BLANK)


def test_a_scenario_too_small_or_without_a_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        build(1, SMALLEST - 1, START)
    with pytest.raises(ValueError, match="time zone"):
        build(1, SMALLEST, START.replace(tzinfo=None))


def test_the_counts_by_kind_are_those_of_the_mails_and_every_kind_occurs() -> None:
    assert Counter(mail.kind.value for mail in everything()) == scenario().expected.messages_by_kind
    assert set(scenario().expected.messages_by_kind) == {kind.value for kind in MailKind}


def test_the_kinds_that_its_headers_betray_are_counted_right() -> None:
    seen = Counter[str]()
    for _, message in readable():
        seen["bounce"] += message.get_content_type() == "multipart/report"
        seen["newsletter"] += "List-Id" in message
        seen["auto_reply"] += message.get("Auto-Submitted") == "auto-replied" and "Return-Path" not in message

    assert seen == {kind: scenario().expected.messages_by_kind[kind] for kind in seen}


def test_threads_equal_the_groups_that_the_headers_form() -> None:
    assert scenario().expected.threads == groups(mail for mail in everything() if mail.kind is not MailKind.BLANK)


def test_conversations_are_of_many_lengths() -> None:
    lengths = {len(identifiers(headers(mail), "References")) for mail, _ in readable()}

    assert {0, 1, 2, 3, 4, 5, 6} <= lengths
    assert max(lengths) <= 12


def test_mails_come_in_order_of_arrival_and_the_later_ones_after_the_others() -> None:
    for mails in (scenario().initial, scenario().later):
        assert [mail.at for mail in mails] == sorted(mail.at for mail in mails)

    border = START + SPAN
    assert {mail.at.tzinfo for mail in everything()} == {UTC}
    assert scenario().initial[0].at >= START
    assert scenario().initial[-1].at < border <= scenario().later[0].at
    assert scenario().later[-1].at < border + LATER_SPAN


def test_every_mail_that_is_not_marked_parses_down_to_its_last_part() -> None:
    for mail, message in readable():
        assert not message.defects
        for part in message.walk():
            assert all(str(value) is not None for value in part.values())
            assert not part.defects
            if not part.is_multipart() and "Content-Type" in part:
                assert part.get_content()
        assert max(map(len, mail.raw.split(b"\r\n"))) <= 998


def test_even_hostile_mails_survive_a_lenient_parser_and_blank_ones_hold_nothing() -> None:
    for mail in everything():
        if mail.kind is MailKind.HOSTILE:
            assert sum(1 for _ in message_from_bytes(mail.raw).walk()) >= 1
            assert b" is down" in mail.raw or b" down (" in mail.raw
        if mail.kind is MailKind.BLANK:
            assert mail.raw
            assert not mail.raw.strip()


def test_the_hostile_ones_are_as_bad_as_promised() -> None:
    raws = [mail.raw for mail in everything() if mail.kind is MailKind.HOSTILE]
    bad = [message_from_bytes(raw) for raw in raws]

    assert any(b"\x00" in raw for raw in raws)
    assert any(raw.startswith(b"\r\n") and raw.strip() for raw in raws)
    assert any(len(identifiers(message, "References")) == 2_000 for message in bad)
    assert any(len(found) > 8_000 for message in bad for found in identifiers(message, "Message-ID"))
    assert any(len(message.get_payload()) > 5_000 for message in bad if message.is_multipart())
    assert any(sum(1 for _ in message.walk()) == 302 for message in bad)
    assert any("Message-ID" not in message and "From" in message for message in bad)
    assert any(not raw.isascii() for raw in (raw.partition(b"\r\n\r\n")[0] for raw in raws))


def test_every_address_is_on_an_example_domain() -> None:
    texts = [mail.raw.decode("latin-1") for mail in everything() if mail.kind in MARKED]
    texts += [str(value) for _, message in readable() for value in message.values()]
    texts += [str(part.get_content()) for _, part in leaves() if part.get_content_maintype() == "text"]
    domains = {domain.lower() for text in texts for domain in ADDRESS.findall(text)}

    assert domains
    assert not {name for name in domains if not re.fullmatch(r"(.+\.)?example\.(org|com|net)", name)}


def test_a_duplicate_is_the_same_mail_in_the_other_mailbox() -> None:
    by_id: dict[str, list[Mail]] = {}
    for mail in everything():
        by_id.setdefault(str(headers(mail)["Message-ID"]), []).append(mail)
    only_address = 0
    for copy in (mail for mail in everything() if mail.kind is MailKind.DUPLICATE):
        [original] = [mail for mail in by_id[str(headers(copy)["Message-ID"])] if mail.kind is MailKind.TROUBLE
                      or mail.kind in {MailKind.QUESTION, MailKind.THANKS}]  # fmt: skip
        assert copy.mailbox != original.mailbox
        assert written(copy) == written(original)
        only_address += untraced(copy) == untraced(original)

    assert 0 < only_address < scenario().expected.messages_by_kind["duplicate"]


def untraced(mail: Mail) -> list[bytes]:
    return [line for line in mail.raw.split(b"\r\n") if line.partition(b":")[0].decode("latin-1").lower() not in TRACE]


def written(mail: Mail) -> bytes:
    return mail.raw[mail.raw.index(b"\r\nReceived: from") :]


def test_a_collision_has_the_message_id_of_another_mail_but_other_words() -> None:
    for mail in (mail for mail in everything() if mail.kind is MailKind.COLLISION):
        name = headers(mail)["Message-ID"]
        others = [other for other in everything() if headers(other)["Message-ID"] == name and other is not mail]

        assert others
        assert all(other.raw.partition(b"\r\n\r\n")[2] != mail.raw.partition(b"\r\n\r\n")[2] for other in others)


def test_some_replies_arrive_before_the_mail_they_answer() -> None:
    arrived = {name: mail.at for mail in everything() for name in identifiers(headers(mail), "Message-ID")}
    replies = [
        (mail.at, arrived[parent])
        for mail in everything()
        for parent in identifiers(headers(mail), "In-Reply-To")
        if parent in arrived
    ]

    early = sum(at < parent_at for at, parent_at in replies)
    assert 0 < early < len(replies) / 4


def test_later_mails_answer_earlier_ones_and_tell_of_new_trouble() -> None:
    known = {name for mail in scenario().initial for name in identifiers(headers(mail), "Message-ID")}
    answering = [m for m in scenario().later if known & set(identifiers(headers(m), "In-Reply-To", "References"))]

    assert len(answering) > len(scenario().later) / 4
    assert sum(mail.kind is MailKind.TROUBLE for mail in scenario().later) > len(scenario().later) / 10


def test_some_replies_lost_their_references() -> None:
    lost = [
        message
        for _, message in readable()
        if str(message["Subject"]).startswith(("Re:", "AW:")) and not identifiers(message, "In-Reply-To", "References")
    ]
    assert lost
    assert any("References" in message for message in lost)


def test_recipient_evidence_comes_in_every_variant() -> None:
    inbound = [message for mail, message in readable() if "SENT" not in mail.labels]
    variants = {tuple(sorted(TRACE & {name.lower() for name in message})) for message in inbound}

    assert variants == {("delivered-to",), ("delivered-to", "x-gm-original-to"), ("x-original-to",), ()}
    assert any(str(message["To"]).startswith("undisclosed-recipients") for message in inbound)
    assert any("example.org" not in str(m["To"]) and "example.org" in str(m["Cc"]) for m in inbound if m["Cc"])


def test_spam_goes_to_addresses_nobody_allowed() -> None:
    for mail, message in readable():
        if mail.kind is MailKind.SPAM:
            assert str(message["To"]) in RETIRED
    assert not set(RETIRED) & set(scenario().allowlist)


def test_bodies_use_many_charsets_transfer_encodings_and_layouts() -> None:
    charsets = {part.get_content_charset() for _, part in leaves()}
    transfers = {str(part.get("Content-Transfer-Encoding", "7bit")) for _, part in leaves()}
    types = {message.get_content_type() for _, message in readable()}

    assert {"utf-8", "windows-1252", "iso-2022-jp", "iso-8859-1", "iso-8859-2", "us-ascii"} <= charsets
    assert {"7bit", "8bit", "quoted-printable", "base64"} <= transfers
    assert {"text/plain", "text/html", "multipart/alternative", "multipart/mixed", "multipart/report"} <= types


def test_subjects_are_encoded_words_of_several_charsets_and_read_back() -> None:
    raws = [str(headers(mail)["Subject"]) for mail, _ in readable()]
    subjects = [str(message["Subject"]) for _, message in readable()]

    assert {"utf-8", "windows-1252", "iso-2022-jp"} <= {
        found.lower() for raw in raws for found in re.findall(r"=\?([\w-]+)\?", raw)
    }
    assert any("故障" in subject for subject in subjects)
    assert any("⚡" in subject for subject in subjects)
    assert not any("=?" in subject or "\N{REPLACEMENT CHARACTER}" in subject for subject in subjects)


def test_attachments_are_what_they_say() -> None:
    kinds = Counter[str]()
    for _, part in leaves():
        data = part.get_payload(decode=True)
        assert isinstance(data, bytes)
        if part.get_content_type() == "image/png":
            start = data.index(b"IDAT") + 4
            length = int.from_bytes(data[start - 8 : start - 4], "big")
            pixels = zlib.decompress(data[start : start + length])
            width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
            assert len(pixels) == height * (width * 3 + 1)
        if part.get_content_type() == "application/pdf":
            table = int(data.split()[-2])
            assert data[table : table + 4] == b"xref"
            for number, offset in enumerate(re.findall(rb"(\d{10}) 00000 n", data), 1):
                assert data[int(offset) :].startswith(b"%d 0 obj" % number)
        kinds[f"{part.get_content_disposition()} {part.get_content_type()}"] += 1

    assert kinds["attachment image/png"]
    assert kinds["inline image/png"]
    assert kinds["attachment application/pdf"]
    assert kinds["attachment text/plain"]


def test_assets_are_told_apart_and_reports_of_one_asset_come_from_several_people() -> None:
    tags = [asset.tag for asset in scenario().assets]
    reporters: dict[str, set[str]] = {}
    for mail, message in readable():
        if mail.kind is MailKind.TROUBLE:
            text = str(message["Subject"]) + "".join(
                str(part.get_content()) for part in message.walk() if part.get_content_type() == "text/plain"
            )
            for tag in set(re.findall(r"AUS_\d{4}|(?:DOOR|GATE|LIFT)-[A-Z]{2}-\d{3}", text)):
                reporters.setdefault(tag, set()).add(str(message["From"]))

    assert len(tags) == len(set(tags))
    assert set(reporters) <= set(tags)
    assert sum(len(people) >= 3 for people in reporters.values()) > 20


def test_teams_cover_every_zone_and_kind_of_asset() -> None:
    for asset in scenario().assets:
        assert any(asset.zone in team.zones and asset.kind in team.skills for team in scenario().teams)


def test_the_mean_size_is_that_of_real_mail() -> None:
    mails = [mail for mail in everything() if mail.kind is not MailKind.HOSTILE]

    assert 3_500 < sum(len(mail.raw) for mail in mails) / len(mails) < 6_500


def test_the_command_writes_a_folder_that_people_can_look_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--seed", "5", "--size", "200", "--start", START.isoformat(), "--out", str(tmp_path / "out")]
    assert main(arguments) == 0
    first = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert main(arguments) == 0

    made = build(5, 200, START)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == first
    assert f"{made.expected.threads}\n" in capsys.readouterr().out
    for address in made.mailboxes:
        box = mailbox.mbox(tmp_path / "out" / f"{address}.mbox", create=False)
        assert len(box) == sum(mail.mailbox == address for mail in everything(made))
        box.close()
    facts = json.loads(first["scenario.json"])
    assert [rule["priority"] for rule in facts["rules"]] == sorted(rule["priority"] for rule in facts["rules"])
    assert set(facts) == {field.name for field in fields(Scenario)} - {"initial", "later"}


def test_the_command_says_what_is_wrong_with_its_arguments(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(["--size", "3", "--out", str(tmp_path)])

    assert f"at least {SMALLEST} mails" in capsys.readouterr().err


def test_a_day_later_the_same_seed_tells_the_same_story() -> None:
    moved = build(7, 300, START + timedelta(days=1))

    assert moved.expected == build(7, 300, START).expected
