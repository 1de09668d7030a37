"""The word for how a kind of error develops, and the figures behind it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlq import letters, reading, trends
from dlq.trends import HOURS, RECENT, Trend, trend_of
from tests.dlq.pile import Pile
from tests.factories import rows

days = st.lists(st.integers(0, 50), min_size=HOURS, max_size=HOURS)


@given(days, st.booleans())
def test_the_word_follows_from_the_hours(hourly: list[int], is_new: bool) -> None:
    found = trend_of(hourly, is_new=is_new)
    recent, before = sum(hourly[-RECENT:]), sum(hourly[:-RECENT])
    assert (found is Trend.QUIET) == (recent + before == 0)
    if is_new and recent + before:
        assert found is Trend.NEW
    if found is Trend.GROWING:
        assert 3 * recent >= 2 * before
    if found is Trend.FADING:
        assert 6 * recent <= before


@pytest.mark.parametrize(
    ("before", "recent", "expected"),
    [(0, 1, "growing"), (1, 2, "growing"), (4, 7, "steady"), (4, 4, "steady"), (4, 2, "fading"), (1, 0, "fading")],
)
def test_twice_as_many_an_hour_is_growing_and_half_as_many_fading(before: int, recent: int, expected: str) -> None:
    assert trend_of([before] * (HOURS - RECENT) + [recent] * RECENT, is_new=False) == expected


def test_a_group_shows_all_that_is_kept_of_its_kind_resolved_ones_too(pile: Pile) -> None:
    ids = pile.add(4)
    for hours, letter_id in zip((100, 23.5, 0.5, 0.1), ids, strict=True):
        rows(pile.db, "UPDATE dead_letters SET buried_at = now() - make_interval(secs => :secs) WHERE id = :id",
             secs=hours * 3600, id=letter_id)  # fmt: skip
    with pile.db.begin() as connection:
        letters.discard(connection, [ids[0]], actor="bo", reason="old")
        letters.replay(connection, [ids[3]], actor="bo", reason="mended")
        (group,) = reading.groups(connection, org_id=pile.org_id)
    seen = rows(pile.db, "SELECT min(buried_at) AS first_at, max(buried_at) AS last_at FROM dead_letters")[0]
    assert (group.count, group.first_at, group.last_at) == (2, seen.first_at, seen.last_at)
    assert group.hourly == (1, *[0] * (HOURS - 2), 2)
    assert (group.trend, group.replayed, group.failed_again) == (Trend.GROWING, 1, 0)


def test_a_group_first_seen_within_the_hour_is_new_and_one_without_letters_today_is_quiet(pile: Pile) -> None:
    pile.add(1, "fresh")
    (old,) = pile.add(1, "old")
    rows(pile.db, "UPDATE dead_letters SET buried_at = now() - interval '25 hours' WHERE id = :id", id=old)
    with pile.db.begin() as connection:
        found = {group.example: group.trend for group in reading.groups(connection)}
        assert trends.courses(connection, [], None) == {}
    assert found == {"fresh": Trend.NEW, "old": Trend.QUIET}


def test_another_organizations_letters_do_not_show_in_a_group(pile: Pile) -> None:
    pile.add(2)
    theirs = Pile(pile.db)
    theirs.add(["x", "y", "z"])
    with pile.db.begin() as connection:
        (mine,) = reading.groups(connection, org_id=pile.org_id)
        (all_,) = reading.groups(connection)
    assert (sum(mine.hourly), sum(all_.hourly)) == (2, 5)


def test_a_group_knows_how_many_of_bulks_failed_again_in_it(pile: Pile) -> None:
    pile.add(3)
    pile.start()
    pile.tick()
    outcomes = iter(["pass", "die", "die"])
    pile.work(lambda _: next(outcomes))
    pile.tick()
    with pile.db.begin() as connection:
        found = {group.example: group.failed_again for group in reading.groups(connection, is_open=None)}
    assert found == {"broken": 0, "still broken": 2}
