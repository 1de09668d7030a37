"""Sets of UIDs as text, in pieces and in windows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.uid_sets import GREATEST, batches, pack, unpack, windows_down, windows_up

UIDS = st.sets(st.one_of(st.integers(1, 60), st.integers(1, GREATEST)), max_size=80)


def test_runs_are_joined() -> None:
    assert pack([7, 2, 1, 3, 3]) == "1:3,7"
    assert pack([]) == ""


@given(UIDS)
def test_a_packed_set_is_read_as_it_was(uids: set[int]) -> None:
    assert unpack(pack(uids)) == sorted(uids)


@pytest.mark.parametrize("text", ["0", "1:", "2:1", "3,2", "1:5,5", "1,,2", "*", "1:*", "4294967296", "a", " 1", "1\n"])
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="set of UIDs"):
        unpack(text)


@given(UIDS, st.integers(1, 20), st.integers(30, 120))
def test_pieces_hold_every_uid_once_in_order_and_keep_both_bounds(uids: set[int], most: int, characters: int) -> None:
    found = list(batches(uids, most, characters))
    assert [uid for piece in found for uid in piece] == sorted(uids)
    assert all(0 < len(piece) <= most and len(pack(piece)) <= characters for piece in found)


@given(st.integers(0, GREATEST), st.integers(0, 5_000), st.integers(100_000_000, GREATEST))
def test_windows_downward_meet_and_end_at_one(below: int, width: int, widest: int) -> None:
    found = list(windows_down(below, width, widest))
    assert all(low <= high and high - low < widest for low, high in found)
    tops = [below - 1, *(low - 1 for low, _ in found)]
    assert [high for _, high in found] == (tops[:-1] if below > 1 else [])
    assert tops[-1] == 0 or below <= 1
    assert len(found) < 70


@given(st.integers(-5, 300), st.integers(1, 50), st.integers(1, 100))
def test_windows_upward_cover_each_number_once(end: int, width: int, start: int) -> None:
    found = [number for low, high in windows_up(end, width, start) for number in range(low, high + 1)]
    assert found == list(range(start, end))
