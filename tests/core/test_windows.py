"""Windows: newest first, without a hole and without an end that never comes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import windows
from pipeline.core.windows import Window

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
COUNTS = st.lists(st.tuples(st.integers(0, 20_000), st.integers(1, 40)), min_size=1, max_size=30)


def all_windows(since: datetime | None, counts: list[tuple[int, int]]) -> list[Window]:
    found = [windows.first(now=NOW, since=since, has_dates=True)]
    for number in range(10_000_000):
        listed, pages = counts[number % len(counts)]
        below = windows.following(found[-1], listed=listed, pages=pages, since=since, now=NOW)
        if below is None:
            return found
        found.append(below)
        if number > 300:  # very full mailboxes have many windows: go on as if the rest were empty
            counts = [(0, 1)]
    raise AssertionError("no end")


@given(COUNTS, st.none() | st.integers(0, 9_000))
def test_windows_touch_each_other_and_end_where_they_should(counts: list[tuple[int, int]], days: int | None):
    since = None if days is None else NOW - timedelta(days=days)
    found = all_windows(since, counts)
    assert found[0].before is None
    assert all(upper.after == lower.before for upper, lower in pairwise(found))
    assert all(window.after is None or window.before is None or window.after < window.before for window in found)
    assert [window.number for window in found] == list(range(len(found)))
    assert found[-1].after == since or (since is not None and since < windows.OLDEST and found[-1].after is None)


def test_an_empty_mailbox_takes_few_windows():
    assert len(all_windows(None, [(0, 1)])) <= 10


def test_full_windows_get_narrower_and_sparse_ones_wider():
    first = windows.first(now=NOW, since=None, has_dates=True)
    narrow = windows.following(first, listed=9_000, pages=18, since=None, now=NOW)
    wide = windows.following(first, listed=3, pages=1, since=None, now=NOW)
    even = windows.following(first, listed=2_000, pages=4, since=None, now=NOW)
    assert [_width(one) for one in (narrow, even, wide)] == [timedelta(days=15), timedelta(days=30), timedelta(days=60)]


def test_a_source_without_dates_has_one_window():
    only = windows.first(now=NOW, since=None, has_dates=False)
    assert (only.after, only.before) == (None, None)
    assert windows.following(only, listed=100_000, pages=200, since=None, now=NOW) is None


@given(st.integers(0, 40))
def test_narrowing_keeps_the_upper_end_and_stops_at_an_hour(times: int):
    window = windows.first(now=NOW, since=None, has_dates=True)
    for _ in range(times):
        smaller = windows.narrowed(window, NOW)
        assert smaller.before == window.before
        assert _width(smaller) <= _width(window)
        window = smaller
    assert _width(window) >= windows.NARROWEST


def test_a_window_that_is_open_below_gets_an_end_when_it_is_narrowed():
    assert windows.narrowed(Window(4, None, NOW), NOW).after == NOW - windows.FIRST_WIDTH


def _width(window: Window | None) -> timedelta:
    assert window is not None
    assert window.after is not None
    return (window.before or NOW) - window.after
