"""What is found in a mail about one asset, with the characters that tell it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from models.enums import ExtractedBy, SignalStatus
from pipeline.core.symptom_words import Symptom


class Part(StrEnum):
    """Where in the mail something stands."""

    SUBJECT = "subject"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Span:
    """Characters [start, end) of the subject or of the text, whichever goes with it."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Told:
    """A symptom, and the words that tell it."""

    symptom: Symptom
    part: Part
    span: Span


@dataclass(frozen=True, slots=True)
class Extraction:
    """One asset of one mail: its state and symptoms as told, the mention that told it, and the sentence around that."""

    asset_id: UUID
    status: SignalStatus
    part: Part
    span: Span
    quote: str
    extracted_by: ExtractedBy = ExtractedBy.NAME
    symptoms: tuple[Told, ...] = ()


def placed(split: int, start: int, end: int) -> tuple[Part, Span]:
    """Return where characters [start, end) of a mail stand whose subject ends at `split`; its text begins two later."""
    part, offset = (Part.SUBJECT, 0) if start < split else (Part.TEXT, split + 2)
    return part, Span(start - offset, end - offset)
