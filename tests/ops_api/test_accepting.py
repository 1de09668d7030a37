"""Which media type a client would rather have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops_api.accepting import prefers_json, quality

_PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.mark.parametrize(
    ("accept", "is_json"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain", False),
        (_PROMETHEUS, False),
        ("application/json", True),
        ("Application/JSON; charset=utf-8", True),
        ("application/*", True),
        ("application/json, text/plain, */*", True),
        ("text/plain, application/json", False),
        ("application/json;q=0.3, text/plain;q=0.9", False),
        ("text/plain;q=0.3, application/json;q=0.9", True),
        ("application/json;q=0", False),
        ("application/json;q=0, application/*", False),
        ("text/html, application/json;q=0.9, */*;q=0.8", True),
        ("application/json;q=nonsense", True),
        (",;,", False),
    ],
)
def test_json_is_for_who_would_rather_have_it(accept: str, is_json: bool) -> None:
    assert prefers_json(accept) is is_json


@pytest.mark.parametrize(
    ("accept", "weight"),
    [("*/*;q=0.2", 0.2), ("application/*;q=0.4, */*", 0.4), ("application/json;q=0, */*", 0.0), ("text/html", None)],
)
def test_the_most_exact_range_decides(accept: str, weight: float | None) -> None:
    assert quality(accept, "application/json") == weight


@given(st.text(max_size=100))
def test_whatever_is_sent_is_read(accept: str) -> None:
    assert prefers_json(accept) in {True, False}
