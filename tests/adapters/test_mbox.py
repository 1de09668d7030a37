"""The mbox format: where messages begin and end, what is quoted, and when they arrived."""

from __future__ import annotations

import io
import mailbox
import tracemalloc
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.adapters import mbox
from pipeline.adapters.mbox import Span, index_mbox, is_separator, read_message, separator_date, spans, unquote
from tests.adapters.mail import SEPARATOR, letter, mbox_of


def messages_in(content: bytes) -> list[bytes]:
    file = io.BytesIO(content)
    return [read_message(file, span)[1] for span in list(spans(file))]


@pytest.mark.parametrize(
    ("line", "date"),
    [
        (b"From a@example.org Thu Aug 22 12:36:23 2002", datetime(2002, 8, 22, 12, 36, 23, tzinfo=UTC)),
        (b"From a@example.org  Thu Aug  2 12:36 2002\n", datetime(2002, 8, 2, 12, 36, tzinfo=UTC)),
        (b"From - Thu Aug 22 12:36:23 2002\r\n", datetime(2002, 8, 22, 12, 36, 23, tzinfo=UTC)),
        (b"From 1@xxx Mon Jan 01 01:00:00 +0200 2018\r\n", datetime(2017, 12, 31, 23, 0, tzinfo=UTC)),
        (b"From a@example.org Thu Aug 22 12:36:23 2002 -0500", datetime(2002, 8, 22, 17, 36, 23, tzinfo=UTC)),
        (b"From a@example.org Thu Aug 22 12:36:23 EST 2002", datetime(2002, 8, 22, 17, 36, 23, tzinfo=UTC)),
        (b"From a b c Thu Aug 22 12:36:23 MET DST 2002", datetime(2002, 8, 22, 12, 36, 23, tzinfo=UTC)),
        (b"From a@example.org Xxx 99 12:36:23 2002", None),
        (b"From a@example.org 12:36:23 2002", None),
    ],
)
def test_a_from_line_ends_with_a_time_and_a_year_and_tells_its_date_in_utc(line: bytes, date: datetime | None) -> None:
    assert is_separator(line)
    assert separator_date(line) == date


@pytest.mark.parametrize(
    "line",
    [
        b"From here on we meet at 12:30.",
        b"From me to you, 2002",
        b"From the meeting at 12:30 in 2002",
        b"From a@example.org Thu Aug 22 12:36:23 02",
        b"From: a@example.org Thu Aug 22 12:36:23 2002",
        b">From a@example.org Thu Aug 22 12:36:23 2002",
        b"From " + b"12:30 " * 500,
    ],
)
def test_prose_that_begins_with_from_is_no_separator(line: bytes) -> None:
    assert not is_separator(line)
    assert separator_date(line) is None


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_messages_come_out_as_they_went_in(newline: bytes) -> None:
    letters = [letter(number).replace(b"\n", newline) for number in range(5)]
    separator = SEPARATOR.replace(b"\n", newline)
    assert messages_in(mbox_of(*letters, separator=separator, newline=newline)) == letters


def test_a_separator_counts_only_after_an_empty_line() -> None:
    body = "as he wrote:\nFrom a@example.org Thu Aug 22 12:36:23 2002\nand so on\n"
    assert messages_in(mbox_of(letter(1, body), letter(2))) == [letter(1, body), letter(2)]


def test_a_from_in_prose_after_an_empty_line_splits_nothing() -> None:
    body = "one\n\nFrom here on, two\n"
    assert messages_in(mbox_of(letter(1, body))) == [letter(1, body)]


def test_text_before_the_first_separator_is_no_message() -> None:
    assert messages_in(b"\n\r\n" + mbox_of(letter(1))) == [letter(1)]
    assert messages_in(b"no mail\n") == []
    assert messages_in(b"") == []


@pytest.mark.parametrize("ending", [b"", b"\n", b"\n\n"])
def test_the_last_message_is_the_same_when_another_is_delivered_behind_it(ending: bytes) -> None:
    last = letter(1, "end\n" + "\n" * len(ending))
    alone = mbox_of(last)
    assert messages_in(alone) == [last]
    assert messages_in(alone + mbox_of(letter(2))) == [last, letter(2)]


def test_a_file_that_ends_without_a_line_end_keeps_its_last_line() -> None:
    assert messages_in(SEPARATOR + b"Subject: x\n\nno line end") == [b"Subject: x\n\nno line end"]


def test_one_level_of_quoting_is_taken_away() -> None:
    assert (
        unquote(b">From a\n>>From b\nx >From c\n> From d\n>From\n") == b"From a\n>From b\nx >From c\n> From d\n>From\n"
    )


def quoted(body: bytes) -> bytes:
    return b"".join(b">" + line if line.lstrip(b">").startswith(b"From ") else line for line in body.splitlines(True))


lines = st.sampled_from(
    [b"", b"x", b"From ", b">From a", SEPARATOR.strip(), b">>From b", b"From: c", b"\r", b"From d 1:11 2001"]
)


@given(bodies=st.lists(st.lists(lines, max_size=6), min_size=1, max_size=6), piece=st.integers(1, 200))
def test_whatever_was_quoted_into_an_mbox_comes_out_again_at_any_size_of_reading(
    bodies: list[list[bytes]], piece: int
) -> None:
    letters = [b"Subject: x\n\n" + b"".join(line + b"\n" for line in body) for body in bodies]
    # A bare CR before the line end reads as an empty line of a CRLF file; such a message ends elsewhere.
    letters = [each for each in letters if not each.endswith(b"\r\n")] or [b"Subject: y\n\n"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mbox, "_PIECE", piece)
        assert messages_in(mbox_of(*map(quoted, letters))) == letters


def test_an_mbox_written_by_the_standard_library_splits_into_what_was_put_in(tmp_path: Path) -> None:
    path = tmp_path / "written.mbox"
    prose = ["plain\n", "\nFrom here on\nthe text goes on\n", "a\n\n\n\n", f"x\n\n{SEPARATOR.decode()}y\n", "\n"]
    letters = [letter(number, prose[number % len(prose)]) for number in range(500)]
    with closing(mailbox.mbox(path)) as writer:
        for each in letters:
            writer.add(each)
    index = index_mbox(path)
    with path.open("rb") as file:
        found = [read_message(file, Span(*place)) for place in zip(index.offsets, index.lengths, strict=True)]
    assert [message for _, message in found] == letters
    assert all(separator_date(separator) is not None for separator, _ in found)


def test_memory_does_not_grow_with_the_size_of_messages(tmp_path: Path) -> None:
    path = tmp_path / "large.mbox"
    body = "x" * 99 + "\n"
    with path.open("wb") as file:
        for number in range(40):
            file.write(mbox_of(letter(number, body * 10_000)))
    tracemalloc.start()
    try:
        index = index_mbox(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(index.offsets) == 40
    assert peak < path.stat().st_size / 4


def test_a_changed_file_gets_a_new_index(tmp_path: Path) -> None:
    path = tmp_path / "box"
    path.write_bytes(mbox_of(letter(1)))
    assert len(index_mbox(path).offsets) == 1
    path.write_bytes(mbox_of(letter(1), letter(2)))
    assert len(index_mbox(path).offsets) == 2
