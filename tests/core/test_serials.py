"""Serial numbers: one form for each, and the known ones that somebody may have meant (seed-behaviours, 3.5)."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.serials import LONGEST, is_well_formed, normal, suggestions


@pytest.mark.parametrize("said", ["rm-0101", " RM-0101 ", "r m - 0 1 0 1", "RM-\u00a00101\t\n"])
def test_white_space_and_small_letters_do_not_count(said: str) -> None:
    assert normal(said) == "RM-0101"


@given(st.text(max_size=60))
def test_a_normal_form_is_its_own_normal_form(said: str) -> None:
    found = normal(said)
    assert normal(found) == found
    assert not re.search(r"\s", found)


@pytest.mark.parametrize(
    ("serial", "is_good"),
    [
        *(("RM-0101", True), ("RM-A-1-", True), ("RM-" + "A" * 29, True)),
        *(("RM-010", False), ("RM-" + "A" * 30, False), ("XM-0101", False), ("RM-01_1", False), ("RM-0101\n", False)),
        *(("RM-ÄÖÜ1", False), ("rm-0101", False), ("RM-\u0660\u0661\u0660\u0661", False)),
    ],
)
def test_a_new_number_has_its_form(serial: str, is_good: bool) -> None:
    assert is_well_formed(serial) is is_good
    assert not is_good or len(serial) <= LONGEST


def test_those_that_begin_alike_go_before_those_that_contain_it_and_both_before_similar_ones() -> None:
    found = suggestions("RM-01", ["RM-0101", "RM-0102"], ["XRM-01", "RM-0101"], ["RM-02", "ZZZZZZ", "RM-0101"])
    assert found == ["RM-0101", "RM-0102", "XRM-01", "RM-02"]


def test_what_is_too_different_is_not_suggested() -> None:
    assert suggestions("RM-0109", [], [], ["RM-0101", "QQQQQQQ"]) == ["RM-0101"]


@given(
    st.text("RM-01", max_size=8),
    st.lists(st.text("RM-01", min_size=1, max_size=8), max_size=20),
    st.lists(st.text("RM-01", min_size=1, max_size=8), max_size=20),
)
def test_at_most_five_are_suggested_each_once(serial: str, near: list[str], others: list[str]) -> None:
    found = suggestions(serial, near[:3], near[3:], others)
    assert len(found) <= 5
    assert len(set(found)) == len(found)
    assert set(found) <= {*near, *others}
