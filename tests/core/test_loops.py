"""The signed loop header, and what trips the breaker: only answers to mail of our own."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.enums import MachineKind
from pipeline.core.answered import Had
from pipeline.core.loops import (
    Asked,
    Exchange,
    is_signed,
    loop_header,
    read_loop_header,
    turns,
    why_answers_back,
    why_unanswered,
)
from pipeline.core.policies import ACKNOWLEDGEMENT, OrganizationPolicy

BOUNDED = settings(max_examples=100, deadline=None)
KEY, OTHER = b"a key", b"another key"
CODE = "tkt-abcdefghij234567"
ADDRESSES = st.from_regex(r"\A[a-z0-9.+-]{1,40}@[a-z0-9-]{1,30}\.example\Z")
ROBOT = "Thank you for contacting Globex. Your request {} was received and our team will look into it soon."

MATTER = "Unit {} of the north wing smells of smoke, please send somebody today"


@BOUNDED
@given(ADDRESSES, st.integers(1, 999), st.binary(min_size=1, max_size=40))
def test_a_loop_header_is_read_back_as_it_was_written(address: str, hop: int, key: bytes):
    value = loop_header(address, CODE, hop, key)
    folded = value.replace("; ", ";\r\n\t")
    for said in (value, folded):
        mark = read_loop_header(said, [b"older key", key])
        assert (mark.address, mark.code, mark.hop, mark.is_signed) == (address, CODE, hop, True)
        assert mark.domain == address.rpartition("@")[2]


@BOUNDED
@given(st.data())
def test_a_loop_header_with_one_letter_changed_is_not_ours(data: st.DataObject):
    value = loop_header("help@acme.example", CODE, 1, KEY)
    at = data.draw(st.sampled_from([number for number, letter in enumerate(value) if letter not in "; =tns"]))
    other = data.draw(st.sampled_from("abz019").filter(lambda letter: letter != value[at]))
    assert not is_signed(value[:at] + other + value[at + 1 :], [KEY])


def test_a_loop_header_of_another_key_is_read_and_not_believed():
    value = loop_header("help@acme.example", CODE, 2, OTHER)
    assert read_loop_header(value, [KEY]).hop == 2
    assert not is_signed(value, [KEY])
    assert not is_signed(value, [])


@BOUNDED
@given(st.text(max_size=300))
def test_whatever_a_loop_header_says_it_is_read_without_an_error_and_is_not_ours(said: str):
    mark = read_loop_header(said, [KEY])
    assert not mark.is_signed
    assert mark.hop >= 0


@pytest.mark.parametrize(
    ("address", "code", "hop", "key"),
    [
        ("", CODE, 1, KEY),
        ("a b@x.example", CODE, 1, KEY),
        ("a;b@x.example", CODE, 1, KEY),
        ("a@x.example\r\nBcc: b", CODE, 1, KEY),
        ("a@x.example", "", 1, KEY),
        ("a@x.example", CODE, 0, KEY),
        ("a@x.example", CODE, 1, b""),
        ("ä@x.example", CODE, 1, KEY),
    ],
)
def test_what_a_header_cannot_hold_is_refused(address: str, code: str, hop: int, key: bytes):
    with pytest.raises(ValueError, match="loop header"):
        loop_header(address, code, hop, key)


def asked(**changes: object) -> Asked:
    known = {
        "sender": "ann@customer.example",
        "machine": None,
        "asks_for_none": False,
        "is_ours": False,
        "age": timedelta(minutes=1),
        "had": Had(4, 19, 19, 79, 499),
    }
    return Asked(**(known | changes))  # type: ignore[arg-type]


def test_a_person_is_answered():
    assert why_unanswered(asked(), per_hour=5, per_day=20, in_all=500) is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sender": None}, "no sender"),
        ({"machine": MachineKind.NOTIFICATION}, "a machine"),
        ({"machine": MachineKind.MAILING_LIST}, "a machine"),
        ({"asks_for_none": True}, "asks for no"),
        ({"is_ours": True}, "an address of ours"),
        ({"age": timedelta(days=2)}, "older than a day"),
        ({"had": Had(person_in_hour=5)}, "its sender had 5 automatic answers within the hour"),
        ({"had": Had(person_in_day=20)}, "its sender had 20 automatic answers within the day"),
        ({"had": Had(domain_in_hour=20)}, "its domain had 20 automatic answers within the hour"),
        ({"had": Had(domain_in_day=80)}, "its domain had 80 automatic answers within the day"),
        ({"had": Had(all_in_hour=500)}, "everybody together had 500 automatic answers within the hour"),
    ],
)
def test_machines_ourselves_old_mail_and_too_many_are_not_answered(changes: dict[str, object], said: str):
    assert said in (why_unanswered(asked(**changes), per_hour=5, per_day=20, in_all=500) or "")


def told(count: int) -> list[str]:
    return [ACKNOWLEDGEMENT.replace("{code}", f"tkt-{number:016}") for number in range(count)]


def test_a_sender_that_writes_the_same_after_each_answer_answers_back():
    exchange = Exchange(told(5), [ROBOT.format(number) for number in range(1, 6)])
    said = why_answers_back(ROBOT.format(77), exchange, per_hour=5)
    assert said == "its sender had 5 automatic answers within the hour and wrote this text 6 times"


@pytest.mark.parametrize(
    ("told_it", "lately", "text", "has_files"),
    [
        pytest.param(0, 499, ROBOT, False, id="a storm of alarms that we never answered"),
        pytest.param(5, 499, ROBOT, False, id="a storm: more mail than our answers explain"),
        pytest.param(5, 6, ROBOT, False, id="one more than our answers explain"),
        pytest.param(4, 4, ROBOT, False, id="fewer answers than the limit"),
        pytest.param(5, 5, MATTER, False, id="another text"),
        pytest.param(5, 5, "", False, id="no text"),
        pytest.param(5, 5, "Best regards, Ann", False, id="little text"),
        pytest.param(5, 5, ROBOT, True, id="files"),
    ],
)  # fmt: skip
def test_old_mail_storms_and_busy_people_do_not_answer_back(told_it: int, lately: int, text: str, *, has_files: bool):
    before = ROBOT if text == MATTER else text
    exchange = Exchange(told(told_it), [before.format(number) for number in range(lately)])
    assert why_answers_back(text.format(1), exchange, per_hour=5, has_files=has_files) is None


def test_what_repeats_our_answer_is_an_answer_by_the_second():
    echo = f"> quoted by a machine\n{told(1)[0]}"
    assert why_answers_back(echo, Exchange(told(1), []), per_hour=5) is None
    assert "repeats our automatic answer" in (why_answers_back(echo, Exchange(told(2), []), per_hour=5) or "")
    assert why_answers_back(echo, Exchange(told(2), []), per_hour=5, is_answer=True) is None
    assert why_answers_back("Thanks, number tkt-0 is fine", Exchange(told(2), []), per_hour=5) is None


@BOUNDED
@given(st.text(max_size=2_000), st.lists(st.text(max_size=500), max_size=8))
def test_without_mail_of_ours_nothing_ever_answers_back(text: str, lately: list[str]):
    assert why_answers_back(text, Exchange([], lately), per_hour=1) is None


@pytest.mark.parametrize(("sides", "expected"), [("", 0), ("i", 0), ("iii", 0), ("io", 1), ("ioio", 3), ("iioo", 1)])
def test_turns_are_changes_of_side(sides: str, expected: int):
    assert turns(list(sides)) == expected


def test_the_policy_has_defaults_to_live_with_and_refuses_nonsense():
    policy = OrganizationPolicy.read({})
    assert (policy.acknowledge, policy.automatic_answers_per_hour, policy.automatic_answers_per_day) == (False, 5, 20)
    assert "{code}" in policy.acknowledgement
    for wrong in ({"automatic_answers_per_hour": 0}, {"automatic_answers_per_day": 9_999}, {"acknowledgement": " "}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            OrganizationPolicy.read(wrong)
