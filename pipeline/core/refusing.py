"""Why a command is refused, as a value: gates return it, the executor records it, and each way in words it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Because(StrEnum):
    """What kind of refusal it is; ways in answer each in their own fashion, HTTP with a status."""

    MALFORMED = "malformed"  #: HTTP 400
    FORBIDDEN = "forbidden"  #: HTTP 403
    MISSING = "missing"  #: HTTP 404
    CONFLICT = "conflict"  #: HTTP 409
    INVALID = "invalid"  #: HTTP 422


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refusal: a code for programs, what happened and what to do for people, and facts that go with the code."""

    code: str
    said: str
    because: Because = Because.CONFLICT
    details: Mapping[str, Any] = field(default_factory=dict)
    #: What the audit trail calls it, where the answer must not tell: out of reach looks like not existing.
    recorded_as: str | None = None
