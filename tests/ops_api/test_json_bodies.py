"""JSON bodies: read as the standard library reads them, or refused for one of a few reasons."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops_api.json_bodies import MOST_NAMES, MOST_VALUES, read
from pipeline.commands.case_arguments import MOST_SIGNALS, SignalReport

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def _is_fit(value: object) -> bool:
    said = json.dumps(value, ensure_ascii=False)
    return "\\u0000" not in said and not any("\ud800" <= letter <= "\udfff" for letter in said)


@given(_VALUES.filter(_is_fit), st.booleans())
def test_what_is_fit_is_read_as_it_was_written(value: object, is_ascii: bool) -> None:
    assert read(json.dumps(value, ensure_ascii=is_ascii).encode(), 64) == value


_REFUSED = {
    "a name twice": b'{"a": 1, "a": 2}',
    "a name twice further in": b'[{"b": {"a": 1, "a": 1}}]',
    "a name twice, spelled differently": rb'{"a": 1, "\u0061": 2}',
    "no number": b'{"a": NaN}',
    "no end": b"[Infinity]",
    "too many digits": b"9" * 5_000,
    "a NUL": rb'["\u0000"]',
    "a NUL in a name": rb'{"\u0000": 1}',
    "half a pair": rb'["\ud800"]',
    "the other half": rb'{"a": ["x", "\uDFFF\ud800"]}',
    "another encoding": '"é"'.encode("latin-1"),
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "a mark of byte order": b'\xef\xbb\xbf{"a": 1}',
    "nothing": b"",
    "a comma too much": b"[1,]",
    "deep": b"[" * 65 + b"]" * 65,
    "deep in objects": b'{"a":' * 65 + b"1" + b"}" * 65,
    "deeper than the stack": b"[" * 100_000,
    # Looked for from each of its quotes anew, it would keep the process busy for an hour.
    "a string without an end": b"[" + b"[]," * 70 + b'"' + b'\\"' * 500_000,
}


@pytest.mark.parametrize("name", _REFUSED)
def test_what_two_readers_may_understand_differently_is_refused(name: str) -> None:
    with pytest.raises(json.JSONDecodeError):
        read(_REFUSED[name], 64)


def test_depth_is_what_stands_inside_each_other() -> None:
    assert read(b"[" * 64 + b"]" * 64, 64)
    assert len(read(b"[" + b",".join([b"[]"] * 500) + b"]", 64)) == 500
    brackets = json.dumps(["[" * 500, "{" * 500, '\\"[' * 100]).encode()
    assert len(read(brackets, 2)) == 3


@pytest.mark.parametrize("one", [b"0", b"[]", b'{"a":0}'])
def test_what_holds_millions_of_values_is_refused_before_it_is_read(one: bytes) -> None:
    """Reading and freeing them lets no other thread run: half a second of a body of 5 MB."""
    with pytest.raises(json.JSONDecodeError, match=r"more than 100,000 values; send it in parts"):
        read(b"[" + b",".join([one] * MOST_VALUES) + b"]", 64)


def test_as_many_values_as_may_be_are_read() -> None:
    assert len(read(b"[" + b",".join([b"0"] * (MOST_VALUES - 1)) + b"]", 64)) == MOST_VALUES - 1


def test_an_object_of_thousands_of_names_is_refused() -> None:
    names = {str(number): 0 for number in range(MOST_NAMES)}
    assert read(json.dumps(names).encode(), 64) == names
    with pytest.raises(json.JSONDecodeError, match=r"more than 1,000 names"):
        read(json.dumps(names | {"one": 1}).encode(), 64)


def test_as_many_reports_as_a_call_takes_are_read_whatever_they_say() -> None:
    full = dict.fromkeys(SignalReport.model_fields, "a, [b, {c, \\")
    assert len(read(json.dumps({"signals": [full] * MOST_SIGNALS}).encode(), 64)["signals"]) == MOST_SIGNALS


def test_brackets_in_a_string_without_an_end_are_no_depth() -> None:
    with pytest.raises(json.JSONDecodeError, match="Unterminated"):
        read(b"[" * 60 + b'"' + b"[" * 10, 64)


def test_a_text_that_only_looks_like_a_nul_is_kept() -> None:
    assert read(rb'["\\u0000", "\ud83d\ude00"]', 64) == ["\\u0000", "\U0001f600"]
