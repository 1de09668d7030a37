"""The rules of uploads that go on where they broke off: headers, offsets, and rows that hold every byte once."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import resumable
from pipeline.core.resumable import (
    BadHeader,
    Progress,
    parts,
    read_checksum,
    read_metadata,
    read_number,
    write_metadata,
)

_KEYS = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=","), min_size=1, max_size=20)


@given(st.dictionaries(_KEYS, st.text(st.characters(exclude_categories=["Cs"]), max_size=30), max_size=5))
def test_metadata_are_read_as_they_were_written(said: dict[str, str]) -> None:
    assert read_metadata(write_metadata(said)) == said


def test_metadata_may_have_no_value_and_spaces_between() -> None:
    assert read_metadata(None) == read_metadata(" ") == {}
    assert read_metadata("is_late, kind SVNTVUU= ") == {"is_late": "", "kind": "ISSUE"}


@pytest.mark.parametrize(
    "said", ["kind ISSUE=", "kind /w==", "kind QQ==,kind QQ==", ",", "ki nd QQ==", "ü QQ==", "k " + "QUFB" * 2_000]
)
def test_metadata_that_cannot_be_read_are_refused(said: str) -> None:
    with pytest.raises(BadHeader):
        read_metadata(said)


@pytest.mark.parametrize("said", [None, "", "-1", "1.5", "0x10", "\u0661", "9" * 16])
def test_a_number_of_bytes_is_plain_digits(said: str | None) -> None:
    with pytest.raises(BadHeader, match="Upload-Offset"):
        read_number("Upload-Offset", said)
    assert read_number("Upload-Offset", " 007 ") == 7


@given(st.binary(max_size=40), st.sampled_from(["sha256", "SHA256", "md5", "sha1", ""]))
def test_a_checksum_is_a_whole_sha256_or_nothing(content: bytes, algorithm: str) -> None:
    digest = hashlib.sha256(content).digest()
    said = f"{algorithm} {base64.b64encode(digest).decode()}"
    if algorithm.lower() == "sha256":
        assert read_checksum(said) == digest
    else:
        with pytest.raises(BadHeader):
            read_checksum(said)
    if len(content) != 32:
        with pytest.raises(BadHeader):
            read_checksum(f"sha256 {base64.b64encode(content).decode()}")
    assert read_checksum(None) is None


@given(st.integers(0, 10**7), st.integers(0, 5 * resumable.PART_BYTES))
def test_rows_hold_every_byte_once_and_none_is_larger_than_a_megabyte(begins_at: int, size: int) -> None:
    at = begins_at
    for begin, length in parts(begins_at, size):
        assert begin == at
        assert 0 < length <= resumable.PART_BYTES
        at += length
    assert at == begins_at + size


@given(st.integers(1, 1_000), st.lists(st.tuples(st.integers(0, 1_000), st.integers(0, 1_000)), max_size=30))
def test_whatever_is_sent_at_whatever_offset_the_kept_bytes_are_a_beginning(
    length: int, tries: list[tuple[int, int]]
) -> None:
    """A model of a client that forgets where it was: what fits is kept, all else changes nothing."""
    whole, kept, standing = bytes(n % 251 for n in range(length)), b"", Progress(length)
    for offset, size in tries:
        sent = whole[offset : offset + size]
        if standing.fits(offset):
            is_last = standing.ends_with(len(sent))
            standing = standing.after(len(sent))
            kept += sent
            assert is_last == (standing.left == 0)
        assert kept == whole[: standing.received]
    with pytest.raises(ValueError, match="do not fit"):
        standing.after(standing.left + 1)
