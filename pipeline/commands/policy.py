"""Commands of an operator on an organization's policy: reading it whole, and changing it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, text

from pipeline.core.policies import SETTINGS, OrganizationPolicy
from pipeline.runtime.errors import UserError

_READ = text("SELECT policy FROM organizations WHERE id = :org")
#: No stronger: rows that refer to the organization are written all the time.
_LOCK = text("SELECT policy FROM organizations WHERE id = :org FOR NO KEY UPDATE")
_SET = text("UPDATE organizations SET policy = CAST(:policy AS jsonb) WHERE id = :org")
#: Controls but for tab and line ends, and lone surrogates; PostgreSQL keeps no NUL either.
_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
#: What stands in the policy of triage since it has versions, and how to say it there.
_MOVED = {
    "triage_mode": "mode=certainty",
    "auto_dispatch": "dispatch.automatic=true",
    "min_confidence": "dispatch.least_certainty=65",
    "min_priority": "dispatch.least_priority=65",
}
_GONE = {"reopen_after_days"}
_EVENT = text("""
    INSERT INTO events (org_id, kind, actor, data) VALUES (:org, 'policy.changed', :actor, CAST(:data AS jsonb))
""")


def policy_settings(connection: Connection, org_id: UUID) -> dict[str, Any]:
    """Return every setting with the value in force: what was set, else the default."""
    stored: Mapping[str, Any] = connection.execute(_READ, {"org": org_id}).scalar_one()
    return {name: stored.get(name, setting.default) for name, setting in SETTINGS.items()}


def change_policy(connection: Connection, org_id: UUID, changes: Mapping[str, Any], *, actor: str) -> dict[str, Any]:
    """Set values (None takes one back to its default); return all settings. Who changed what is kept as an event.

    Raises `UserError` for an unknown name, a value of another type, or one out of range; then nothing changes.
    """
    stored: dict[str, Any] = dict(connection.execute(_LOCK, {"org": org_id}).scalar_one())
    for name, value in changes.items():
        _check(name, value)
    changed = {name: value for name, value in (stored | dict(changes)).items() if value is not None}
    try:
        OrganizationPolicy.read(changed)
    except ValueError as error:
        raise UserError(str(error)) from error
    connection.execute(_SET, {"org": org_id, "policy": orjson.dumps(changed).decode()})
    said = {name: {"before": stored.get(name), "after": value} for name, value in changes.items()}
    connection.execute(_EVENT, {"org": org_id, "actor": actor, "data": orjson.dumps(said).decode()})
    return policy_settings(connection, org_id)


def _check(name: str, value: Any) -> None:
    if name in _MOVED:
        draft = f"fieldpost triage policy set {_MOVED[name]} --reason '...'"
        raise UserError(
            f"{name} is a rule of triage now: `{draft}` drafts it, `fieldpost triage policy activate` follows"
        )
    if name in _GONE:
        raise UserError(f"{name} never decided anything and is gone: leave it out")
    setting = SETTINGS.get(name)
    if setting is None:
        raise UserError(f"there is no setting {name!r}; known: {', '.join(SETTINGS)}")
    if value is not None and not setting.fits(value):
        raise UserError(f"{name} is {setting.shape}, not {orjson.dumps(value).decode()[:100]}")
    if any(_UNWRITABLE.search(one) for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)):
        raise UserError(f"{name} holds a control character, which no mail may hold: take it out")
