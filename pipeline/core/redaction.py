"""What of a change may stand in the audit trail: an allow list of names, and no text that looks like a secret."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from enum import Enum
from typing import Any
from uuid import UUID

HIDDEN = "[hidden]"
_MOST_CHARACTERS, _MOST_ITEMS, _MOST_DEPTH = 300, 200, 6
_LARGEST = 2**53

#: Text under these names is kept; under any other name it is hidden (reliability, section 5: no tokens, no bodies).
# fmt: off
_ALLOWED = frozenset({
    "about", "action", "actor_kind", "add", "added", "after", "anew", "approval_type", "assignee", "before",
    "cause", "changes", "code", "command", "decision", "dispatch_mode", "disposition", "emits", "evidence_key",
    "fields", "from", "from_state", "from_status", "gates", "incident_type", "into", "kind", "lane", "level",
    "merged", "method", "missing_checklist_keys", "missing_evidence_keys", "mode", "need", "needed", "new", "old",
    "outcome", "path", "pattern", "policy", "position", "priority", "queue", "reach", "reason", "reasons", "remove",
    "removed", "result", "role", "route", "scope_field", "skills", "slug", "stage", "state", "status",
    "status_code", "strategy", "tags", "target_kind", "timezone", "to", "to_state", "to_status", "until", "value",
    "values", "way", "weekday", "zone",
})
# fmt: on
_ALLOWED_ENDS = ("_id", "_ids", "_at", "_on", "_state", "_status", "_kind", "_code", "_sha256", "_day")
#: Whatever stands beside them, these words hide a value of any kind (contract 000's data: phones, access codes).
_SECRET = re.compile(
    r"pass(word|wd|phrase|code)|token|secret|credential|authori[sz]ation|cookie|api_?key|private_?key|access_?code|otp|"
    r"body|text|content|markdown|phone|mobile|e_?mail|address|ssn|social_security|\bdob\b|birth|full_?name|iban|card|"
    # A hash over few possible words, which it would tell.
    r"identity_signature",
    re.IGNORECASE,
)
#: Found inside of text that is kept: addresses, bearer tokens of any kind, long numbers that may be phones.
_ADDRESS = re.compile(r"[^\s@<>,;\"']{1,64}@[^\s@<>,;\"']{1,255}")
_TOKEN = re.compile(
    r"\b(?:fp[a-z]_[\w-]{8,}|eyJ[\w-]{5,}\.[\w.-]+|Bearer\s+\S+)|\b(?=[\w-]*\d)(?=[\w-]*[A-Za-z])[\w-]{40,}"
)
_NUMBER = re.compile(r"(?<![\w-])\+?\d[\d\s().-]{6,}\d(?![\w-])")
_DIGEST = re.compile(r"[0-9a-f]{64}|[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")


def redacted(details: Mapping[str, object]) -> dict[str, Any]:
    """Return what may be kept, as values that a JSON column gives back as they were; all sizes are bounded."""
    found = _mapping(details, 0)
    assert isinstance(found, dict)
    return found


def _mapping(values: Mapping[Any, object], depth: int) -> object:
    if depth >= _MOST_DEPTH:
        return HIDDEN
    kept = list(values.items())[:_MOST_ITEMS]
    return {_short(str(name), 100): _under(str(name), value, depth) for name, value in kept}


def _under(name: str, value: object, depth: int) -> object:
    if _SECRET.search(name) and not name.lower().endswith(("_id", "_ids", "_sha256")):
        return HIDDEN
    is_allowed = name.lower() in _ALLOWED or name.lower().endswith(_ALLOWED_ENDS)
    return _value(value, depth, is_allowed=is_allowed)


def _value(value: object, depth: int, *, is_allowed: bool) -> object:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Mapping):
        return _mapping(value, depth + 1)
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value, key=str) if isinstance(value, set | frozenset) else value
        return [_value(one, depth, is_allowed=is_allowed) for one in items[:_MOST_ITEMS]]
    return _scalar(value, is_allowed=is_allowed)


def _scalar(value: object, *, is_allowed: bool) -> object:
    if isinstance(value, Enum):
        return _clean(str(value.value))
    if isinstance(value, int):
        return value if abs(value) < _LARGEST else str(value)
    if isinstance(value, UUID | float | date | timedelta):
        return value.isoformat() if isinstance(value, date | datetime) else str(value)
    if isinstance(value, str):
        # Ids and digests tell nothing of a person, whatever their name is.
        return _clean(value) if is_allowed or _DIGEST.fullmatch(value) else HIDDEN
    return HIDDEN


def _clean(said: str) -> str:
    if _DIGEST.fullmatch(said):
        return said
    said = _short(said, _MOST_CHARACTERS)
    return _NUMBER.sub(HIDDEN, _TOKEN.sub(HIDDEN, _ADDRESS.sub(HIDDEN, said)))


def _short(said: str, most: int) -> str:
    """Bound text, and drop what a JSON column does not take: NUL, and halves of surrogate pairs."""
    plain = said.encode("utf-8", "replace").decode("utf-8").replace("\x00", "\N{REPLACEMENT CHARACTER}")
    return plain if len(plain) <= most else plain[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"
