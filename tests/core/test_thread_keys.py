"""What joins messages: a reference from one of the people of what it names, and nothing that a stranger can write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.enums import StitchReason
from pipeline.core import participants
from pipeline.core.thread_keys import Facts, Rules, keys_of
from pipeline.core.threading import Node, assemble
from tests.core.test_threading import Memory
from tests.core.threading_model import partition

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
US = "help@acme.example"
RULES = Rules(own=frozenset({"@acme.example"}))
ANN, BOB, JOE, EVE, CARL = (
    "ann@customer.example",
    "bob@customer.example",
    "joe@gmail.com",
    "eve@gmail.com",
    "carl@field.example",
)
MALLORY = "mallory@evil.example"
LIST = "users@lists.example"


def fact(number: int, sender: str | None = ANN, **more: object) -> Facts:
    made = Facts(number, NOON + timedelta(minutes=number), rfc_message_id=f"<{number}@x>", sender=sender)
    return replace(made, **{"recipients": (US,), **more})  # type: ignore[arg-type]


def joined(*facts: Facts, rules: Rules = RULES) -> set[frozenset[int]]:
    groups = assemble([Node(one.message_id, one.at, keys_of(one, rules)) for one in facts], {})
    return {frozenset(link.message_id for link in group.links) for group in groups}


def are_joined(*facts: Facts, rules: Rules = RULES) -> bool:
    return len(joined(*facts, rules=rules)) == 1


def test_the_customer_our_answer_and_a_colleague_of_the_customer_are_one_conversation():
    ours = fact(2, US, recipients=(ANN,), in_reply_to=("<1@x>",), is_outbound=True)
    colleague = fact(3, BOB, in_reply_to=("<2@x>",), references=("<2@x>", "<1@x>"))
    assert are_joined(fact(1), ours, colleague)


@pytest.mark.parametrize(
    "stranger",
    [
        fact(2, MALLORY, in_reply_to=("<1@x>",)),
        fact(2, MALLORY, references=("<0@x>", "<1@x>"), recipients=(US, ANN)),
        fact(2, MALLORY, rfc_message_id="<1@x>"),
        fact(2, MALLORY, rfc_message_id="<1@x>", recipients=(US, ANN)),
        fact(2, EVE, in_reply_to=("<1@x>",)),
        fact(2, None, in_reply_to=("<1@x>",)),
        fact(2, MALLORY, in_reply_to=("<1@x>",), recipients=()),
        fact(2, MALLORY, in_reply_to=("<1@x>",), is_list=True, list_id="l.example", recipients=(US, ANN)),
    ],
    ids=[
        "a reply",
        "to all",
        "the same id",
        "the same id to all",
        "a public provider",
        "nobody",
        "to nobody",
        "a list",
    ],
)
def test_a_stranger_enters_no_conversation_by_naming_it(stranger: Facts):
    customer = fact(1, JOE if stranger.sender == EVE else ANN)
    assert not are_joined(customer, stranger)
    answer = fact(3, US, recipients=(customer.sender,), in_reply_to=("<1@x>",), is_outbound=True)
    assert frozenset({2}) in joined(customer, stranger, answer)


def test_who_was_written_to_may_answer_though_he_never_wrote():
    ours = fact(2, US, recipients=(ANN, CARL), in_reply_to=("<1@x>",), is_outbound=True)
    assert are_joined(fact(1), ours, fact(3, CARL, in_reply_to=("<2@x>",)))
    assert not are_joined(fact(1), fact(3, CARL, in_reply_to=("<1@x>",)))


def test_people_of_one_organization_who_answer_a_lost_message_belong_together_and_strangers_do_not():
    lost = {"in_reply_to": ("<lost@x>",)}
    assert are_joined(fact(1, ANN, **lost), fact(2, BOB, **lost))
    assert not are_joined(fact(1, ANN, **lost), fact(2, MALLORY, **lost))
    assert not are_joined(fact(1, JOE, **lost), fact(2, EVE, **lost))


def test_the_answer_to_a_form_of_our_own_site_goes_to_its_reply_address():
    form = fact(1, "website@acme.example", reply_to=(JOE,))
    assert are_joined(form, fact(2, US, recipients=(JOE,), in_reply_to=("<1@x>",), is_outbound=True))
    assert are_joined(form, fact(3, JOE, in_reply_to=("<1@x>",)))


def test_a_reply_address_makes_nobody_the_author_of_a_strangers_mail():
    stranger = fact(2, MALLORY, rfc_message_id="<1@x>", reply_to=(ANN,), recipients=(US, ANN))
    ours = fact(3, US, recipients=(ANN,), in_reply_to=("<1@x>",), is_outbound=True)
    assert frozenset({2}) in joined(fact(1), stranger, ours)


def test_the_list_that_customers_write_to_is_no_circle():
    group = {"is_list": True, "list_id": "help.acme.example"}
    assert not are_joined(fact(1, **group), fact(2, MALLORY, in_reply_to=("<1@x>",), recipients=(US, ANN), **group))
    assert are_joined(fact(1, **group), fact(2, BOB, in_reply_to=("<1@x>",), **group))


@pytest.mark.parametrize("domains", [1, 150])
def test_many_mailboxes_of_ours_change_neither_what_joins_nor_its_cost(domains: int):
    rules = Rules(own=frozenset({"@acme.example", *(f"@brand{number}.example" for number in range(domains))}))
    ours = fact(2, US, recipients=(ANN,), in_reply_to=("<1@x>",), is_outbound=True)
    assert are_joined(fact(1), ours, fact(3, CARL, in_reply_to=("<2@x>",), recipients=(US,)), rules=rules) is False
    assert are_joined(fact(1), ours, fact(3, BOB, in_reply_to=("<2@x>",)), rules=rules)
    assert len(keys_of(ours, rules)) < 12


def test_a_team_written_to_under_another_name_may_answer():
    customer = fact(1, recipients=("sales@brand.example",))
    assert are_joined(customer, fact(2, US, recipients=(ANN,), in_reply_to=("<1@x>",), is_outbound=True))


def test_on_a_list_everybody_answers_everybody_but_not_what_did_not_come_through_it():
    through = {"is_list": True, "recipients": (LIST,)}
    post = fact(1, ANN, **through)
    answer = fact(2, CARL, in_reply_to=("<1@x>",), **through)
    assert are_joined(post, answer)
    assert not are_joined(replace(post, is_list=False, recipients=(US,)), answer)
    lost = {"in_reply_to": ("<lost@x>",), "is_list": True}
    assert are_joined(
        fact(1, ANN, list_id="l.example", recipients=("a@x.example",), **lost),
        fact(2, CARL, list_id="l.example", recipients=("b@y.example",), **lost),
    )


def test_posts_that_name_nobody_answer_each_other():
    silent = {"recipients": (), "is_unaddressed": True}
    assert are_joined(fact(1, ANN, **silent), fact(2, CARL, in_reply_to=("<1@x>",), **silent))
    hidden = fact(1, ANN, recipients=())
    assert not are_joined(hidden, fact(2, CARL, in_reply_to=("<1@x>",), **silent)), "our envelope was named"


def test_a_providers_thread_joins_the_people_that_it_has_in_common():
    thread = {"threads": (("m", "t"),)}
    ours = fact(2, US, recipients=(ANN,), is_outbound=True, **thread)
    assert are_joined(fact(1, **thread), ours, fact(3, BOB, **thread))
    assert not are_joined(fact(1, **thread), fact(2, MALLORY, recipients=(US, ANN), **thread))
    assert not are_joined(fact(1, **thread), fact(2, **thread | {"threads": (("m", "other"),)}))


def test_a_report_joins_the_message_of_ours_whoever_sends_it_and_nobody_elses():
    ours = fact(2, US, recipients=(ANN,), is_outbound=True)
    report = fact(3, "mailer-daemon@relay.example", reported=("<2@x>",))
    assert are_joined(ours, report)
    assert are_joined(ours, report, fact(4, "mailer-daemon@other.example", reported=("<2@x>",)))
    assert not are_joined(fact(1, ANN), fact(3, "mailer-daemon@relay.example", reported=("<1@x>",)))


def test_equal_subjects_join_only_where_that_is_switched_on_and_within_people_and_window():
    window = replace(RULES, subject_window=timedelta(days=7))
    same = {"subject_norm": "charger at gate 4 is down"}
    one, other = fact(1, **same), fact(2, **same)
    assert not are_joined(one, other)
    assert are_joined(one, other, rules=window)
    assert are_joined(one, fact(2, US, recipients=(ANN,), is_outbound=True, **same), rules=window)
    assert not are_joined(one, fact(2, BOB, **same), rules=window)
    assert not are_joined(one, replace(other, at=NOON + timedelta(days=15)), rules=window)
    assert not are_joined(*(replace(found, subject_norm="invoice") for found in (one, other)), rules=window)
    assert not are_joined(*(replace(found, is_list=True, recipients=()) for found in (one, other)), rules=window)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 30), st.integers(0, 24 * 60), st.integers(0, 60 * 24 * 60))
def test_the_window_holds_whatever_the_hour(days: int, offset: int, distance: int):
    rules = replace(RULES, subject_window=timedelta(days=days))
    one = fact(1, rfc_message_id=None, subject_norm="charger at gate 4 is down")
    one = replace(one, at=NOON + timedelta(minutes=offset))
    other = replace(one, message_id=2, at=one.at + timedelta(minutes=distance))
    if timedelta(minutes=distance) <= timedelta(days=days):
        assert are_joined(one, other, rules=rules)
    if timedelta(minutes=distance) >= timedelta(days=2 * days):
        assert not are_joined(one, other, rules=rules)


def test_one_hostile_message_has_a_bounded_number_of_keys():
    crowd = tuple(f"a{number}@x{number}.example" for number in range(2_000))
    ids = tuple(f"<{number}@x>" for number in range(100))
    hostile = fact(1, references=ids, recipients=crowd, reply_to=crowd, is_list=True, list_id="l.example")
    assert len(keys_of(hostile, RULES)) <= 100 * (10 * 10 + 10) + 3 * 100 + 10


def test_tokens_are_the_domain_or_at_a_public_provider_the_person():
    assert participants.token(ANN) == participants.token(BOB) == "@customer.example"
    assert participants.token(JOE) == JOE
    assert participants.token("root") == "root"


PEOPLE = st.sampled_from([ANN, BOB, JOE, EVE, CARL, US, LIST])


@st.composite
def mails(draw: st.DrawFn) -> list[Facts]:
    """Draw mails that name each other, themselves, each other in circles, lost parents, and ids used twice."""
    ids = st.sampled_from([f"<{number}@x>" for number in range(draw(st.integers(2, 9)))])
    made = []
    for number in range(draw(st.integers(1, 9))):
        sender = draw(st.none() | PEOPLE)
        is_list = draw(st.integers(0, 4)) == 0
        made.append(
            Facts(
                message_id=number,
                at=NOON + timedelta(minutes=number),
                rfc_message_id=draw(st.none() | ids),
                in_reply_to=tuple(draw(st.lists(ids, max_size=1))),
                references=tuple(draw(st.lists(ids, max_size=2))),
                sender=sender,
                recipients=tuple(draw(st.lists(PEOPLE, max_size=2, unique=True))),
                reply_to=tuple(draw(st.lists(PEOPLE, max_size=1))) if draw(st.integers(0, 4)) == 0 else (),
                is_outbound=sender == US,
                is_list=is_list,
                list_id=draw(st.none() | st.sampled_from(["l.example", "m.example", "help.acme.example"]))
                if is_list
                else None,
                is_unaddressed=draw(st.booleans()),
                reported=tuple(draw(st.lists(ids, max_size=1))) if draw(st.integers(0, 5)) == 0 else (),
                threads=(("m", draw(st.sampled_from("tu"))),) if draw(st.integers(0, 5)) == 0 else (),
            )
        )
    return made


@settings(max_examples=250, deadline=None)
@given(st.data(), mails())
def test_any_order_and_any_batches_give_the_conversations_of_the_plain_model(
    data: st.DataObject, made: Sequence[Facts]
):
    nodes = [Node(one.message_id, one.at, keys_of(one, RULES)) for one in made]
    order = data.draw(st.permutations(nodes), label="order")
    memory = Memory()
    while order:
        size = data.draw(st.integers(1, len(order)), label="batch")
        batch, order = order[:size], order[size:]
        memory.take(batch)
    assert memory.partition() == partition(made, RULES.own)


@settings(max_examples=200, deadline=None)
@given(st.data(), mails())
def test_a_stranger_is_alone_and_changes_nothing_whatever_he_writes(data: st.DataObject, made: Sequence[Facts]):
    ids = st.sampled_from([f"<{number}@x>" for number in range(9)])
    intruder = Facts(
        message_id=99,
        at=NOON + timedelta(hours=data.draw(st.integers(-1, 1))),
        rfc_message_id=data.draw(st.none() | ids),
        in_reply_to=tuple(data.draw(st.lists(ids, max_size=2))),
        references=tuple(data.draw(st.lists(ids, max_size=4))),
        sender=MALLORY,
        recipients=tuple(data.draw(st.lists(PEOPLE, min_size=1, max_size=4))),
        threads=(("m", data.draw(st.sampled_from("tu"))),),
    )
    assert joined(*made, intruder) == joined(*made) | {frozenset({99})}


def test_the_reason_is_the_strongest_key():
    reasons = [key.reason for key in keys_of(fact(1, in_reply_to=("<a@x>",), references=("<b@x>",)), RULES)]
    assert list(dict.fromkeys(reasons)) == [
        StitchReason.IN_REPLY_TO,
        StitchReason.REFERENCES,
        StitchReason.REFERENCED_BY,
    ]
