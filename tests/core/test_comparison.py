"""Comparisons that are asked for while one runs: one answers all who asked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from models.enums import ReconcileScope
from pipeline.core.comparison import Comparison, joined, reaches

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
BOUNDED = (ReconcileScope.NIGHTLY, ReconcileScope.RESYNC)


def comparisons() -> st.SearchStrategy[Comparison]:
    bounded = st.builds(
        Comparison, st.sampled_from(BOUNDED), st.integers(0, 100).map(lambda days: NOON - timedelta(days=days))
    )
    return bounded | st.sampled_from([Comparison(ReconcileScope.FULL, None), Comparison(ReconcileScope.AUDIT, None)])


@given(comparisons(), comparisons())
def test_the_joined_comparison_reaches_as_far_as_both_and_changes_what_either_would(one: Comparison, other: Comparison):
    both = joined(one, other)
    assert both.since is None or (one.since is not None and other.since is not None)
    if both.since is not None:
        assert both.since == min(filter(None, (one.since, other.since)))
    assert both.changes_something == (one.changes_something or other.changes_something)


@given(comparisons(), comparisons())
def test_joining_does_not_depend_on_who_came_first(one: Comparison, other: Comparison):
    assert joined(one, other) == joined(other, one)


@given(comparisons())
def test_asking_for_the_same_again_joins_without_listing_anew(one: Comparison):
    assert joined(one, one) == one
    assert reaches(one, one)


def test_a_running_audit_lists_anew_when_something_is_to_be_corrected():
    audit = Comparison(ReconcileScope.AUDIT, None)
    assert not reaches(audit, Comparison(ReconcileScope.NIGHTLY, NOON))
    assert joined(audit, Comparison(ReconcileScope.NIGHTLY, NOON)) == Comparison(ReconcileScope.FULL, None)
