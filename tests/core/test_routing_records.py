"""What is kept of decisions: small, equal for equal ones, and enough to tell why."""

from __future__ import annotations

from uuid import UUID

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from models.enums import AssignmentStrategy, Direction
from pipeline.core.routing import Decision, Facts, Rule, RuleBook, RuleField, Tried, decide
from pipeline.core.routing_records import TRACE_LIMIT, as_stored, differing, matched_rules, tried_rules

BOUNDED = settings(max_examples=50, deadline=None)
FACTS = Facts("help@acme.example", "ann@customer.example", Direction.INBOUND, "The charger")


def rule(number: int, **more: object) -> Rule:
    return Rule(UUID(int=number), **more)  # type: ignore[arg-type]


@BOUNDED
@given(st.lists(st.tuples(st.uuids(), st.none() | st.sampled_from(RuleField)), max_size=TRACE_LIMIT))
def test_a_trace_is_read_as_it_was_kept(lines):
    decision = Decision(None, "a test", trace=tuple(Tried(rule_id, missed) for rule_id, missed in lines))
    kept = orjson.loads(orjson.dumps(as_stored(decision)))
    assert tried_rules(kept) == lines
    assert kept.get("tried", 0) == len(lines)


def test_of_a_long_trace_the_beginning_and_what_matched_is_kept():
    misses = [rule(number, priority=1, match_subject_pattern="never") for number in range(1, 400)]
    hit = rule(500, priority=2, add_tags=("x",))
    kept = as_stored(decide(RuleBook([*misses, hit]), FACTS))
    assert kept["tried"] == 400
    assert len(tried_rules(kept)) == TRACE_LIMIT + 1
    assert matched_rules(kept) == [UUID(int=500)]
    assert len(orjson.dumps(kept)) < 2_000


def test_what_is_not_set_is_left_out_and_takes_part_in_no_difference():
    kept = as_stored(decide(RuleBook([]), FACTS))
    assert kept == {"version": 1, "reason": "none of 0 rules matched"}
    assert differing(kept, {"version": 1, "tags": [], "status": None, "reason": "an older version's"}) == []


def test_decisions_differ_by_what_they_set():
    one = as_stored(decide(RuleBook([rule(1, add_tags=("a", "b"), assign_queue_id=UUID(int=9))]), FACTS))
    other = as_stored(
        decide(
            RuleBook(
                [
                    rule(
                        2,
                        add_tags=("b", "a"),
                        assign_queue_id=UUID(int=9),
                        strategy=AssignmentStrategy.LEAST_LOADED,
                        set_status="open",
                    )
                ]
            ),
            FACTS,
        )
    )
    assert differing(one, other) == ["status", "strategy"]
    assert differing(one, one) == []
