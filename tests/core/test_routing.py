"""Routing: wildcards, the allowlist, rule order, what a decision holds and why."""

from __future__ import annotations

import fnmatch
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.enums import Direction
from pipeline.core.patterns import wildcard
from pipeline.core.routing import (
    Allowlist,
    Decision,
    Facts,
    Rule,
    RuleBook,
    RuleField,
    Tried,
    decide,
    is_allowed,
    route,
)

BOUNDED = settings(max_examples=50, deadline=None)
FACTS = Facts("Support@Example.org", "Bob@Mail.Customer.example", Direction.INBOUND, "Door is DOWN again")


@pytest.mark.parametrize(
    ("pattern", "value", "expected"),
    [
        ("support@example.org", "support@example.org", True),
        ("SUPPORT@example.org", "support@example.org", True),
        ("support@example.org", "xsupport@example.org", False),
        ("support@exampleXorg", "support@example.org", False),
        ("*@example.org", "a.b+c@example.org", True),
        ("*@example.org", "a@example.org.evil", False),
        ("*", "", True),
        ("**", "anything", True),
        ("sup*", "support@example.org", True),
        ("*port*org", "support@example.org", True),
        ("?@x", "a@x", True),
        ("?@x", "ab@x", False),
        ("?@x", "\N{GRINNING FACE}@x", True),
        ("[a-c]1@x", "b1@x", True),
        ("[a-c]1@x", "d1@x", False),
        ("[!a-c]1@x", "d1@x", True),
        ("[!a-c]1@x", "b1@x", False),
        ("[]x]", "]", True),
        ("[a-]", "-", True),
        ("[-a]", "-", True),
        ("[^a]", "^", True),
        ("[*]", "*", True),
        ("[*]", "x", False),
        ("a.c", "abc", False),
        ("a+(b)|c", "a+(b)|c", True),
        ("a*b", "a\nb", True),
        ("a*", "a\n", True),
        ("ab", "ab\n", False),
    ],
)
def test_wildcards_match_whole_values(pattern, value, expected):
    assert wildcard(pattern)(value) is expected


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        pytest.param("a[bc", "never closed", id="unclosed"),
        pytest.param("[", "never closed", id="bracket alone"),
        pytest.param("[]", "never closed", id="empty set"),
        pytest.param("[z-a]", "reversed", id="reversed"),
        pytest.param("[\ud800]", "cannot be compiled", id="lone surrogate"),
        pytest.param("a" * 1_001, "at most 1000", id="too long"),
    ],
)
def test_an_invalid_wildcard_is_refused_with_its_reason(pattern, told):
    with pytest.raises(ValueError, match=told):
        wildcard(pattern)
    with pytest.raises(ValueError, match=told):
        Allowlist([pattern])
    with pytest.raises(ValueError, match=told):
        Rule(1, match_recipient_pattern=pattern)


@BOUNDED
@given(st.text("ab@.*?", max_size=8), st.text("ab@.", max_size=8))
def test_wildcards_agree_with_the_shell(pattern, value):
    assert wildcard(pattern)(value) == fnmatch.fnmatchcase(value, pattern)


@BOUNDED
@given(st.text(max_size=12))
def test_any_text_without_wildcards_matches_only_itself(text):
    literal = "".join(character for character in text if character not in "*?[").lower()
    assert wildcard(literal)(literal)
    assert not wildcard(literal)(literal + "x")


@pytest.mark.parametrize("recipient", [None, "", "   "])
@pytest.mark.parametrize("patterns", [[], ["*"]])
@pytest.mark.parametrize("default_allowed", [True, False])
def test_an_unknown_recipient_is_never_allowed(recipient, patterns, default_allowed):
    assert not is_allowed(recipient, Allowlist(patterns), default_allowed=default_allowed)


@pytest.mark.parametrize("default_allowed", [True, False])
def test_an_empty_allowlist_decides_as_told(default_allowed):
    assert is_allowed("a@b", Allowlist([]), default_allowed=default_allowed) is default_allowed


@pytest.mark.parametrize(
    ("recipient", "pattern"),
    [
        ("Support@Example.org", "support@example.org"),
        ("sales@example.net", "*@example.net"),
        ("x@other", None),
    ],
)
def test_the_allowlist_names_the_pattern_that_matched(recipient, pattern):
    allowlist = Allowlist(["support@example.org ", "*@example.net"])
    assert allowlist.match(recipient) == pattern
    assert is_allowed(recipient, allowlist, default_allowed=True) is (pattern is not None)


def test_an_empty_allowlist_pattern_is_refused():
    with pytest.raises(ValueError, match="empty"):
        Allowlist(["*@example.org", " "])


@pytest.mark.parametrize(
    ("changes", "missed"),
    [
        pytest.param({}, None, id="empty matches any"),
        pytest.param({"match_recipient_pattern": "support@*"}, None, id="recipient"),
        pytest.param({"match_recipient_pattern": "sales@*"}, RuleField.RECIPIENT, id="other recipient"),
        pytest.param({"match_sender_domain_pattern": "*customer.example"}, None, id="domain"),
        pytest.param({"match_sender_domain_pattern": "customer.example"}, RuleField.SENDER_DOMAIN, id="subdomain"),
        pytest.param({"match_sender_email_pattern": "bob@*"}, None, id="sender"),
        pytest.param({"match_sender_email_pattern": "b?b"}, RuleField.SENDER_EMAIL, id="part of a sender"),
        pytest.param({"match_direction": Direction.INBOUND}, None, id="direction"),
        pytest.param({"match_direction": Direction.OUTBOUND}, RuleField.DIRECTION, id="other direction"),
        pytest.param({"match_subject_pattern": r"\bdown\b"}, None, id="subject"),
        pytest.param({"match_subject_pattern": "^down"}, RuleField.SUBJECT, id="other subject"),
        pytest.param(
            {"match_recipient_pattern": "support@*", "match_subject_pattern": "fire"},
            RuleField.SUBJECT,
            id="all needed",
        ),
    ],
)
def test_a_rule_matches_when_all_its_fields_do(changes, missed):
    decision = decide(RuleBook([replace(Rule(7), **changes)]), FACTS)
    assert decision.trace == (Tried(7, missed),)
    assert decision.rule_id == (7 if missed is None else None)


@pytest.mark.parametrize(
    ("changes", "matches"),
    [
        ({"match_direction": Direction.OUTBOUND}, True),
        ({"match_recipient_pattern": "*"}, False),
        ({"match_sender_domain_pattern": "*"}, False),
        ({"match_sender_email_pattern": "*"}, False),
        ({"match_subject_pattern": ".*"}, True),
        ({}, True),
    ],
)
def test_the_unknown_matches_no_pattern_but_differs_from_no_direction(changes, matches):
    decision = decide(RuleBook([Rule(1, **changes)]), Facts(None, None, None))
    assert (decision.rule_id == 1) is matches


def test_the_first_match_by_priority_then_id_wins_and_later_rules_are_not_tried():
    rules = [
        Rule(1, priority=200, assign_queue_id=1),
        Rule(3, priority=10, assign_queue_id=3),
        Rule(2, priority=10, assign_queue_id=2),
        Rule(9, priority=0, match_recipient_pattern="sales@*", assign_queue_id=9),
    ]
    decision = decide(RuleBook(rules), FACTS)
    assert (decision.rule_id, decision.assign_queue_id) == (2, 2)
    assert decision.trace == (Tried(9, RuleField.RECIPIENT), Tried(2, None))
    assert decision.reason == "matched rule 2 (any mail)"


def test_a_user_beats_a_queue():
    decision = decide(RuleBook([Rule(1, assign_queue_id=5, assign_user_id=6)]), FACTS)
    assert (decision.assign_user_id, decision.assign_queue_id) == (6, None)


def test_closing_beats_another_status():
    decision = decide(RuleBook([Rule(1, set_status="open", auto_close=True)]), FACTS)
    assert (decision.set_status, decision.auto_close) == ("closed", True)


def test_a_rule_that_does_not_stop_lets_later_rules_fill_in():
    rules = [
        Rule(1, stop=False, add_tags=("door",), set_priority="high"),
        Rule(2, stop=False, match_recipient_pattern="sales@*", add_tags=("sales",)),
        Rule(3, add_tags=("day", "door"), set_priority="low", assign_user_id=4, action_drop=True),
        Rule(4, add_tags=("never",)),
    ]
    decision = decide(RuleBook(rules), FACTS)
    assert (decision.rule_id, decision.set_priority, decision.assign_user_id) == (1, "high", 4)
    assert (decision.add_tags, decision.drop) == (("door", "day"), True)
    assert [tried.rule_id for tried in decision.trace] == [1, 2, 3]
    assert decision.reason == "matched rule 1 (any mail), rule 3 (any mail)"


def test_an_earlier_queue_is_not_replaced_by_a_later_user():
    rules = [Rule(1, stop=False, assign_queue_id=5), Rule(2, assign_user_id=6)]
    decision = decide(RuleBook(rules), FACTS)
    assert (decision.assign_queue_id, decision.assign_user_id) == (5, None)


def test_no_match_says_how_many_rules_were_tried():
    decision = decide(RuleBook([Rule(1, match_subject_pattern="fire")]), FACTS)
    assert decision == Decision(None, "none of 1 rules matched", trace=(Tried(1, RuleField.SUBJECT),))


def test_a_recipient_that_is_not_allowed_is_spam_whatever_the_rules_say():
    decision = route(Allowlist(["*@example.net"]), RuleBook([Rule(1, assign_queue_id=1)]), FACTS, default_allowed=True)
    assert (decision.set_status, decision.auto_close, decision.rule_id) == ("spam", True, None)
    assert decision.reason == "recipient support@example.org is not on the allowlist"


def test_an_unknown_recipient_is_spam():
    decision = route(Allowlist([]), RuleBook([]), replace(FACTS, recipient=None), default_allowed=True)
    assert (decision.set_status, decision.reason) == ("spam", "the recipient is unknown")


def test_an_allowed_recipient_is_routed_by_the_rules():
    decision = route(Allowlist(["*@example.org"]), RuleBook([Rule(1, assign_queue_id=1)]), FACTS, default_allowed=False)
    assert (decision.rule_id, decision.assign_queue_id) == (1, 1)


@pytest.mark.parametrize("pattern", ["(", "(?=x)", r"(a)\1", "a" * 2_000, "[\ud800]"])
def test_an_invalid_subject_pattern_is_refused_with_a_reason(pattern):
    with pytest.raises(ValueError, match="pattern"):
        Rule(1, match_subject_pattern=pattern)


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("a(b", r"missing \): a\(b"),
        ("door|(?=x)", r"invalid perl operator: \(\?=, at position 6"),
        ("x[z-a]", r"invalid character class range: z-a, at position 3"),
    ],
)
def test_an_invalid_subject_pattern_is_refused_where_it_fails(pattern, said):
    with pytest.raises(ValueError, match=said):
        Rule(1, match_subject_pattern=pattern)


def test_subjects_are_compared_without_regard_to_case():
    book = RuleBook([Rule(1, match_subject_pattern="DÖOR|down")])
    assert decide(book, Facts(None, None, None, "the döor")).rule_id == 1
    assert decide(book, Facts(None, None, None, "it is DOWN")).rule_id == 1


def test_two_rules_cannot_share_an_id():
    with pytest.raises(ValueError, match="share an id"):
        RuleBook([Rule(1), Rule(1, priority=3)])


def test_hostile_patterns_and_subjects_finish():
    book = RuleBook(
        [
            Rule(1, match_subject_pattern="^(a+)+$"),
            Rule(2, match_recipient_pattern="*a" * 200 + "b"),
            Rule(3, match_subject_pattern="(x+x+)+y"),
        ]
    )
    decision = decide(book, Facts("a" * 1_000_000, None, None, "a" * 1_000_000 + "!"))
    # The subject is judged by its first 64 K characters, which are all "a".
    assert decision.trace[0].missed is None
    assert decide(book, Facts("a" * 70_000, None, None, "x" * 60_000)).rule_id is None


def test_lone_surrogates_are_compared_without_an_error():
    book = RuleBook([Rule(1, match_subject_pattern="x", match_recipient_pattern="a*[b]")])
    assert decide(book, Facts("a\udc80b", "\ud800@x", None, "\ud800x")).rule_id == 1


patterns = st.text("ab*?@.", max_size=6)
rules = st.lists(
    st.builds(
        Rule,
        rule_id=st.integers(1, 1000),
        priority=st.integers(0, 3),
        match_recipient_pattern=patterns,
        match_sender_email_pattern=patterns,
        match_direction=st.none() | st.sampled_from(Direction),
        match_subject_pattern=st.sampled_from(["", "a", "^b", "a|b"]),
        assign_queue_id=st.none() | st.integers(1, 5),
        assign_user_id=st.none() | st.integers(1, 5),
        stop=st.booleans(),
        add_tags=st.tuples(st.sampled_from("xyz")),
    ),
    max_size=6,
    unique_by=lambda rule: rule.rule_id,
)
addresses = st.none() | st.text("aAbB@.", max_size=6)
facts = st.builds(
    Facts, addresses, addresses, st.none() | st.sampled_from(Direction), subject=st.text("abAB ", max_size=6)
)


@BOUNDED
@given(rules, facts, st.randoms())
def test_a_decision_does_not_depend_on_the_order_rules_were_given_in(given_rules, given_facts, random):
    shuffled = random.sample(given_rules, len(given_rules))
    assert decide(RuleBook(shuffled), given_facts) == decide(RuleBook(given_rules), given_facts)


@BOUNDED
@given(rules, facts)
def test_a_decision_is_told_by_its_trace(given_rules, given_facts):
    decision = decide(RuleBook(given_rules), given_facts)
    matched = [tried.rule_id for tried in decision.trace if tried.missed is None]
    assert decision.rule_id == (matched[0] if matched else None)
    assert decision.assign_user_id is None or decision.assign_queue_id is None
    stops = {rule.rule_id for rule in given_rules if rule.stop}
    assert not stops.intersection(matched[:-1])
    assert len(decision.trace) == len(given_rules) or matched[-1] in stops
