"""What a parsing child says about one mail, as bytes: a length, JSON, then the contents of the attachments in order."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import StrEnum
from typing import BinaryIO

import orjson

from pipeline.core.mime import Parsed

#: A child says this when it has its limits and waits for mail.
READY = b"ready\n"
LENGTH = struct.Struct(">Q")


class Outcome(StrEnum):
    """How the reading of a mail ended."""

    PARSED = "parsed"
    UNREADABLE = "unreadable"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome, what was said about it, and whether the child ends now because it has grown."""

    outcome: Outcome
    said: str = ""
    is_last: bool = False
    parsed: Parsed | None = None


def write(stream: BinaryIO, answer: Answer) -> None:
    """Write an answer; contents of attachments are written as they are."""
    told = orjson.dumps(answer, default=_left_out)
    stream.write(LENGTH.pack(len(told)))
    stream.write(told)
    stream.writelines(part.payload for part in (answer.parsed.attachments if answer.parsed else ()))
    stream.flush()


def _left_out(value: object) -> str:
    if isinstance(value, bytes):
        return ""
    raise TypeError(f"{type(value).__name__} is no part of an answer")
