"""What work of a kind must prove, changed by an organization: each change is a version, and tickets keep theirs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row

from pipeline.runtime import template_rows
from pipeline.runtime.errors import UserError

MOST_KEYS, MOST_TYPES = 50, 200
_TYPE = re.compile(r"[A-Z][A-Z0-9_]{0,63}", re.ASCII)
_VERSIONED = re.compile(r".*_V[0-9]+", re.ASCII)
_KEY = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
_WORD = re.compile(r"[^\s\x00-\x1f\x7f](?:[^\x00-\x1f\x7f]{0,62}[^\s\x00-\x1f\x7f])?")
_LISTS: Mapping[str, re.Pattern[str]] = {
    "evidence_keys": _KEY,
    "checklist_keys": _KEY,
    "skills": _WORD,
    "certificates": _WORD,
}
#: What work cannot do without; the other lists may be empty.
_NEEDED = frozenset({"evidence_keys", "checklist_keys"})


class BadTemplate(UserError):
    """A template that would not work (contract 000: INVALID_TEMPLATE_SET)."""

    code = "INVALID_TEMPLATE_SET"


class StaleTemplate(UserError):
    """The template was changed meanwhile."""


def set_template(
    connection: Connection,
    org_id: UUID,
    incident_type: str,
    values: Mapping[str, Any],
    *,
    actor: str,
    version: int | None = None,
) -> Row[Any]:
    """Put a new version of a template in force; return its row. The same again is no new version.

    `values` are its columns. Raises `BadTemplate`, and `StaleTemplate` when `version` is not in force any more.
    """
    name = checked_type(incident_type)
    whole = checked(values)
    before = template_rows.hold(connection, org_id, name)
    if version is not None and (before is None or before.version != version):
        raise StaleTemplate(f"version {version} is not in force any more; read it again")
    if before is not None and before.org_id is not None and _is_same(before, whole):
        return before
    if (before is None or before.org_id is None) and template_rows.count(connection, org_id) >= MOST_TYPES:
        raise BadTemplate(f"an organization has templates for {MOST_TYPES} incident types at most")
    return template_rows.add_version(connection, org_id, name, whole, actor)


def reset_template(connection: Connection, org_id: UUID, incident_type: str) -> bool:
    """Go back to the built-in template of a type; False when the organization has none of its own."""
    name = incident_type.strip().upper()
    template_rows.hold(connection, org_id, name)
    return template_rows.retire(connection, org_id, name)


def checked_type(said: str) -> str:
    """Return an incident type as it is kept. Raises `BadTemplate`."""
    name = said.strip().upper()
    if not _TYPE.fullmatch(name):
        raise BadTemplate("an incident type has letters, digits and underscores, 64 at most, like DOOR_WONT_LATCH")
    if _VERSIONED.fullmatch(name):
        raise BadTemplate("an incident type has no version in its name: each change of its template is one by itself")
    return name


def checked(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a template's columns as they are kept. Raises `BadTemplate`, which says what is wrong with which."""
    lists = {name: _checked_list(name, values.get(name, ())) for name in _LISTS}
    name = str(values.get("name", "")).strip()
    if not 1 <= len(name) <= 200 or not name.isprintable():
        raise BadTemplate("name: 1 to 200 letters")
    minutes = values.get("visit_minutes", 60)
    if not 5 <= minutes <= 1_440:
        raise BadTemplate("visit_minutes: 5 to 1440")
    return {**lists, "name": name, "visit_minutes": minutes, "is_high_risk": bool(values.get("is_high_risk", False))}


def _checked_list(name: str, said: Sequence[str]) -> list[str]:
    found = [one.strip() for one in said]
    if not found and name in _NEEDED:
        raise BadTemplate(f"{name}: work proves at least one thing")
    if len(found) > MOST_KEYS:
        raise BadTemplate(f"{name}: {MOST_KEYS} at most")
    wrong = next((one for one in found if not _LISTS[name].fullmatch(one)), None)
    if wrong is not None:
        kind = "small letters, digits and underscores" if _LISTS[name] is _KEY else "a word"
        raise BadTemplate(f"{name}: {wrong[:64]!r} is not {kind}, 64 at most")
    twice = next((one for one in found if found.count(one) > 1), None)
    if twice is not None:
        raise BadTemplate(f"{name}: {twice!r} stands in it twice")
    return found


def _is_same(row: Row[Any], whole: Mapping[str, Any]) -> bool:
    return all(getattr(row, name) == value for name, value in whole.items())
