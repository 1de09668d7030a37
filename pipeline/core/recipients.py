"""Which address a mail was really sent to, and the evidence for it (contract 001)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models.enums import Confidence, RecipientSource

CANDIDATE_LIMIT = 50


@dataclass(frozen=True, slots=True)
class Recipient:
    """The original recipient with its evidence; `address` is None exactly when the source is unknown."""

    address: str | None
    source: RecipientSource
    confidence: Confidence
    evidence: Mapping[str, list[str] | str | None]


# Contract 001: the precedence, strongest first.
PRECEDENCE = (
    ("x-gm-original-to", RecipientSource.WORKSPACE_HEADER, Confidence.HIGH),
    ("delivered-to", RecipientSource.DELIVERED_TO, Confidence.MEDIUM),
    ("x-original-to", RecipientSource.X_ORIGINAL_TO, Confidence.MEDIUM),
    ("to", RecipientSource.TO_CC_SCAN, Confidence.LOW),
    ("cc", RecipientSource.TO_CC_SCAN, Confidence.LOW),
)


def resolve(candidates: Mapping[str, Sequence[str]]) -> Recipient:
    """Choose the original recipient from addresses by lower-case header name, each in header order.

    The strongest header that names an address wins, and in it the first address (contract 001). Words without an at
    sign are no candidates. The evidence keeps at most 50 candidates per header.
    """
    usable = {name: [a for a in candidates.get(name, ()) if "@" in a][:CANDIDATE_LIMIT] for name, _, _ in PRECEDENCE}
    for name, source, confidence in PRECEDENCE:
        if usable[name]:
            return Recipient(usable[name][0], source, confidence, _evidence(usable, name))
    return Recipient(None, RecipientSource.UNKNOWN, Confidence.LOW, _evidence(usable, None))


def _evidence(usable: Mapping[str, list[str]], chosen: str | None) -> dict[str, list[str] | str | None]:
    evidence: dict[str, list[str] | str | None] = {
        "selected_from": chosen,
        "selected_value": usable[chosen][0] if chosen else None,
    }
    for name, found in usable.items():
        evidence[f"{name.replace('-', '_')}_candidates"] = found
    return evidence
