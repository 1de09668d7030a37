"""Counts by label at a provider beside those of the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.ports import Label


@dataclass(frozen=True, slots=True)
class LabelCount:
    """One label: how many messages the provider counts under it, and how many the ledger does."""

    label_id: str
    name: str
    provider: int
    ledger: int

    @property
    def difference(self) -> int:
        """Return how many more the ledger counts."""
        return self.ledger - self.provider


def compare(theirs: Sequence[Label], ours: Mapping[str, int]) -> list[LabelCount]:
    """Return the labels that the provider counts, by name; others, such as flags, cannot be compared."""
    return [
        LabelCount(label.label_id, label.name, label.messages, ours.get(label.label_id, 0))
        for label in sorted(theirs, key=lambda label: label.name)
    ]
