"""Differences between what is stored and what would be."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.repetition import differences

_VALUES = st.dictionaries(st.sampled_from("abc"), st.text() | st.integers() | st.none() | st.lists(st.text()))


def test_only_fields_that_differ_are_listed() -> None:
    assert differences({"a": 1, "b": "x", "c": None}, {"a": 1, "b": "y", "c": ""}) == {"b": ["x", "y"], "c": [None, ""]}


def test_a_long_value_is_told_by_where_it_begins_to_differ() -> None:
    found = differences({"body": "x" * 5_000 + "old end"}, {"body": "x" * 5_000 + "new end"})
    (before, after) = found["body"]
    assert isinstance(before, dict)
    assert isinstance(after, dict)
    assert (before["length"], before["part"][-7:], after["part"][-7:]) == (5_007, "old end", "new end")
    assert before["sha256"] != after["sha256"]


def test_a_long_value_that_came_or_went_is_null_on_the_other_side() -> None:
    assert differences({"html": None}, {"html": "x" * 5_000})["html"][0] is None


@given(_VALUES, _VALUES)
def test_equal_differences_mean_equal_states(one: dict[str, object], other: dict[str, object]) -> None:
    stored = {name: one.get(name) for name in "abc"}
    new = {name: other.get(name) for name in "abc"}
    found = differences(stored, new)
    assert set(found) == {name for name in "abc" if stored[name] != new[name]}
    assert json.loads(json.dumps(found)) == found
