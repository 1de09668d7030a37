"""The shape of a language's phrases, and what a report may say about an asset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from deploy.demo.specs import AssetKind


class Report(StrEnum):
    """What a writer says about an asset."""

    DOWN = "down"
    DEGRADED = "degraded"
    WORKING = "working"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class Wording:
    """One language. Templates know {tag}, {site}, {noun}, {number}, {day}; `wrote` knows {name} and {day}."""

    greetings: tuple[str, ...]
    closings: tuple[str, ...]
    wrote: str
    nouns: Mapping[AssetKind, str]
    trouble: Mapping[Report, tuple[str, ...]]
    trouble_of: Mapping[tuple[AssetKind, Report], tuple[str, ...]]
    subjects: Mapping[Report, tuple[str, ...]]
    details: tuple[str, ...]
    questions: tuple[tuple[str, str], ...]
    thanks: tuple[tuple[str, str], ...]
    follow_ups: tuple[str, ...]
