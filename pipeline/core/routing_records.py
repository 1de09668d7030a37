"""What is kept of a routing decision with its ticket, as JSON values, and how two of them differ."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from pipeline.core.routing import RULES_VERSION, Decision, RuleField, Tried

#: Of a longer trace its beginning is kept, and whatever matched.
TRACE_LIMIT = 50
#: What a decision sets; two decisions are the same when these are.
FIELDS = ("status", "priority", "queue_id", "user_id", "strategy", "skills", "tags", "drop")

#: A line of the trace: a rule's 16 bytes, and a letter for what missed. Letters are stored: never changed.
_LETTERS: Mapping[RuleField | None, bytes] = {
    None: b"-",
    RuleField.RECIPIENT: b"r",
    RuleField.SENDER_DOMAIN: b"d",
    RuleField.SENDER_EMAIL: b"e",
    RuleField.DIRECTION: b"w",
    RuleField.SUBJECT: b"s",
}
_FIELDS = {letter: field for field, letter in _LETTERS.items() if field is not None}
_LINE = 17


def as_stored(decision: Decision) -> dict[str, Any]:
    """Return what is kept of a decision; equal decisions give equal values. What is not set is left out.

    It stands in the ticket's row, which is written again and again: 12 rules' trace takes 272 characters.
    """
    whole = {
        "version": RULES_VERSION,
        "rule_id": _text(decision.rule_id),
        "status": decision.status.value if decision.status else None,
        "priority": decision.set_priority,
        "queue_id": _text(decision.assign_queue_id),
        "user_id": _text(decision.assign_user_id),
        "strategy": decision.strategy.value if decision.strategy else None,
        "skills": sorted(decision.required_skills),
        "tags": list(decision.add_tags),
        "drop": decision.drop,
        "reason": decision.reason,
        "machine": decision.machine.value if decision.machine else None,
        "allowed_by": decision.allowed_by,
        "tried": len(decision.trace),
        "trace": _packed(decision.trace),
    }
    return {name: value for name, value in whole.items() if value}


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return the names of what two stored decisions set differently; a version that kept less of it sets nothing."""
    return [name for name in FIELDS if _value(one, name) != _value(other, name)]


def tried_rules(stored: Mapping[str, Any]) -> list[tuple[UUID, RuleField | None]]:
    """Return the kept trace: rules in order, each with the first field that missed (None: it matched)."""
    packed = base64.b64decode(stored.get("trace") or "")
    lines = (packed[at : at + _LINE] for at in range(0, len(packed), _LINE))
    return [(UUID(bytes=line[:-1]), _FIELDS.get(line[-1:])) for line in lines]


def matched_rules(stored: Mapping[str, Any]) -> list[UUID]:
    """Return the rules that matched."""
    return [rule_id for rule_id, missed in tried_rules(stored) if missed is None]


def _packed(trace: Sequence[Tried]) -> str:
    kept = [*trace[:TRACE_LIMIT], *(tried for tried in trace[TRACE_LIMIT:] if tried.missed is None)]
    lines = (tried.rule_id.bytes + _LETTERS[tried.missed] for tried in kept[: 2 * TRACE_LIMIT])
    return base64.b64encode(b"".join(lines)).decode()


def _value(stored: Mapping[str, Any], name: str) -> Any:
    value = stored.get(name)
    return sorted(value) if value and isinstance(value, list) else value or None


def _text(value: object) -> str | None:
    return None if value is None else str(value)
