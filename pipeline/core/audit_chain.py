"""The chain of the audit trail: how a row is hashed to the one before it, and what shows that it was tampered with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from pipeline.core.canonical_json import canonical

#: What the first row of an organization follows.
GENESIS = bytes(32)


@dataclass(frozen=True, slots=True)
class Facts:
    """What one row says; all of it is hashed."""

    org_id: UUID
    number: int
    at: datetime
    actor_kind: str
    actor_id: str
    actor_role: str | None
    action: str
    outcome: str
    code: str | None
    target_kind: str | None
    target_id: str | None
    request_id: str | None
    correlation_id: str | None
    trace_id: str | None
    details_sha256: bytes | None


@dataclass(frozen=True, slots=True)
class Link:
    """One stored row with its place in the chain, and its details as they are stored."""

    facts: Facts
    previous: bytes
    hash: bytes
    has_details: bool = False
    #: None when there are none, or when they were erased.
    details: Mapping[str, Any] | None = None
    is_erased: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """A point of a chain: the number of a row and its hash."""

    number: int = 0
    hash: bytes = GENESIS


class Wrong(StrEnum):
    """What is wrong with a chain."""

    MISSING = "missing"  #: rows were taken out
    CHANGED = "changed"  #: a row does not have the hash that it should
    OUT_OF_ORDER = "out_of_order"  #: a row does not follow the one before it: put in, swapped or made anew
    DETAILS = "details"  #: a row's details are not those that were written
    CUT_SHORT = "cut_short"  #: the newest rows are gone
    HEAD = "head"  #: the head is not the newest row's
    SEAL = "seal"  #: a sealed row is not there any more, or is another
    FORGED_SEAL = "forged_seal"  #: no known key signed it


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, at a row's number."""

    number: int
    wrong: Wrong
    said: str


def hash_of(previous: bytes, facts: Facts) -> bytes:
    """Return SHA-256 over the hash before and the row's canonical JSON (reliability, section 5)."""
    values: dict[str, object] = {one.name: getattr(facts, one.name) for one in fields(facts)}
    values["org_id"] = str(facts.org_id)
    values["at"] = facts.at.astimezone(UTC).isoformat(timespec="microseconds")
    values["details_sha256"] = facts.details_sha256.hex() if facts.details_sha256 else None
    return hashlib.sha256(previous + canonical(values)).digest()


def details_hash(details: Mapping[str, Any]) -> bytes:
    """Return what a row holds of its details."""
    return hashlib.sha256(canonical(details)).digest()


def problems(links: Iterable[Link], after: Place) -> Iterator[Problem]:
    """Yield what is wrong with rows that should follow `after` without a gap, in the order of their numbers."""
    for link in links:
        number = link.facts.number
        if number != after.number + 1:
            gone = f"{after.number + 1}" if number == after.number + 2 else f"{after.number + 1} to {number - 1}"
            yield Problem(number, Wrong.MISSING, f"before it {gone} is missing")
        elif link.previous != after.hash:
            yield Problem(number, Wrong.OUT_OF_ORDER, f"it does not follow {after.number}")
        if hash_of(link.previous, link.facts) != link.hash:
            yield Problem(number, Wrong.CHANGED, "what it says does not have its hash")
        if (said := _details(link)) is not None:
            yield Problem(number, Wrong.DETAILS, said)
        after = Place(number, link.hash)


def _details(link: Link) -> str | None:
    expected = link.facts.details_sha256
    if expected is None:
        return "details were put to it" if link.has_details else None
    if not link.has_details:
        return "its details are gone, and were not erased by the way that is kept"
    if link.is_erased or (link.details is not None and details_hash(link.details) == expected):
        return None
    return "its details are not those that were written"
