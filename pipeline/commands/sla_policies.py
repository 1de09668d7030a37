"""Commands of an administrator on service-level policies: whom they time, how soon, and when the clocks stand still."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RowMapping, delete, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from models.clocks import sla_policies
from pipeline.commands.calendars import Conflict
from pipeline.core.service_levels import Conditions, read_pauses, read_targets
from pipeline.core.text import is_writable
from pipeline.runtime import clock_requests
from pipeline.runtime.errors import UserError

MOST_POLICIES = 200
#: What a policy has where nothing else is said, by column.
DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        "name": "",
        "position": 100,
        "is_enabled": True,
        "calendar_id": None,
        "conditions": MappingProxyType({}),
        "targets": MappingProxyType({}),
        "pauses": ("pending",),
        "warning_minutes": 45,
    }
)
_NAME, _LAST, _LONGEST_WARNING = 100, 10_000, 43_200

_COUNT = text("SELECT count(*) FROM sla_policies WHERE org_id = :org")
_CALENDAR = text("SELECT EXISTS (SELECT FROM calendars WHERE id = :id AND org_id = :org)")
_FOREIGN_QUEUES = text("""
    SELECT id FROM unnest(CAST(:ids AS uuid[])) AS t(id)
     WHERE NOT EXISTS (SELECT FROM queues q WHERE q.id = t.id AND q.org_id = :org) LIMIT 1
""")
_FOREIGN_MAILBOXES = text("""
    SELECT id FROM unnest(CAST(:ids AS uuid[])) AS t(id)
     WHERE NOT EXISTS (SELECT FROM mailboxes m WHERE m.id = t.id AND m.org_id = :org) LIMIT 1
""")


def add_policy(connection: Connection, org_id: UUID, values: Mapping[str, Any]) -> UUID:
    """Add a policy by its columns (`DEFAULTS` for the rest); return its id.

    The clocks of open tickets are computed anew. Raises `UserError` for what is wrong, `Conflict` for a taken name.
    """
    if connection.execute(_COUNT, {"org": org_id}).scalar_one() >= MOST_POLICIES:
        raise Conflict(f"an organization has at most {MOST_POLICIES} policies")
    whole = _checked(connection, org_id, {**DEFAULTS, **values})
    statement = insert(sla_policies).values(org_id=org_id, **whole).returning(sla_policies.c.id)
    try:
        with connection.begin_nested():
            found: UUID = connection.execute(statement).scalar_one()
    except IntegrityError as error:
        raise Conflict(f"there is a policy {whole['name']!r} already") from error
    clock_requests.request(connection, org_id)
    return found


def change_policy(
    connection: Connection, org_id: UUID, policy_id: UUID, changes: Mapping[str, Any], *, version: int | None
) -> bool:
    """Change columns of a policy; False when there is none. What ran and stood still before stays as it was.

    Raises `Conflict` when it is not at `version` any more (None: whichever), and as `add_policy` does.
    """
    row = _locked(connection, org_id, policy_id, version)
    if row is None:
        return False
    whole = _checked(connection, org_id, {name: row[name] for name in DEFAULTS} | dict(changes))
    statement = update(sla_policies).where(sla_policies.c.id == policy_id)
    try:
        with connection.begin_nested():
            connection.execute(statement.values(version=row["version"] + 1, **whole))
    except IntegrityError as error:
        raise Conflict(f"there is a policy {whole['name']!r} already") from error
    clock_requests.request(connection, org_id)
    return True


def delete_policy(connection: Connection, org_id: UUID, policy_id: UUID, *, version: int | None) -> bool:
    """Delete a policy that has timed nothing; False when there is none.

    Raises `Conflict` for one that has: tickets say by which policy they were timed, so it can only be switched off.
    """
    if _locked(connection, org_id, policy_id, version) is None:
        return False
    try:
        with connection.begin_nested():
            connection.execute(delete(sla_policies).where(sla_policies.c.id == policy_id))
    except IntegrityError as error:
        raise Conflict("tickets were timed by this policy; switch it off instead (is_enabled: false)") from error
    return True


def _locked(connection: Connection, org_id: UUID, policy_id: UUID, version: int | None) -> RowMapping | None:
    wanted = (sla_policies.c.id == policy_id) & (sla_policies.c.org_id == org_id)
    statement = select(sla_policies).where(wanted).with_for_update(key_share=True)
    row = connection.execute(statement).mappings().one_or_none()
    if row is not None and version is not None and row["version"] != version:
        raise Conflict(f"the policy is at version {row['version']} by now; read it again")
    return row


def _checked(connection: Connection, org_id: UUID, values: Mapping[str, Any]) -> dict[str, Any]:
    name = str(values["name"]).strip()
    if not name or len(name) > _NAME or not is_writable(name):
        raise UserError(f"a name has 1 to {_NAME} characters, and no control characters")
    _check_bounds(values)
    try:
        conditions = Conditions.read(values["conditions"])
        read_targets(values["targets"], conditions)
        pauses = read_pauses(values["pauses"])
    except ValueError as error:
        raise UserError(str(error)) from error
    _check_named(connection, org_id, values["calendar_id"], conditions)
    kept = {
        "priorities": sorted(conditions.priorities),
        "queue_ids": sorted(map(str, conditions.queue_ids)),
        "mailbox_ids": sorted(map(str, conditions.mailbox_ids)),
        "tags": sorted(conditions.tags),
    }
    return {
        "name": name,
        "position": values["position"],
        "is_enabled": values["is_enabled"],
        "calendar_id": values["calendar_id"],
        "conditions": {word: named for word, named in kept.items() if named},
        "targets": {priority: dict(minutes) for priority, minutes in values["targets"].items()},
        "pauses": sorted(pauses),
        "warning_minutes": values["warning_minutes"],
    }


def _check_bounds(values: Mapping[str, Any]) -> None:
    if not 0 <= values["position"] <= _LAST:
        raise UserError(f"the position is 0 to {_LAST}; the lowest is tried first")
    if not 0 <= values["warning_minutes"] <= _LONGEST_WARNING:
        raise UserError(f"warning_minutes is 0 to {_LONGEST_WARNING}")
    tags = values["conditions"].get("tags", ())
    if any(not 1 <= len(tag) <= _NAME or not is_writable(tag) for tag in tags):
        raise UserError(f"a tag has 1 to {_NAME} characters, and no control characters")


def _check_named(connection: Connection, org_id: UUID, calendar_id: UUID | None, conditions: Conditions) -> None:
    if calendar_id and not connection.execute(_CALENDAR, {"id": calendar_id, "org": org_id}).scalar_one():
        raise UserError("your organization has no such calendar")
    for what, statement, ids in (
        ("queue", _FOREIGN_QUEUES, conditions.queue_ids),
        ("mailbox", _FOREIGN_MAILBOXES, conditions.mailbox_ids),
    ):
        foreign = connection.execute(statement, {"ids": sorted(ids), "org": org_id}).scalar_one_or_none()
        if foreign is not None:
            raise UserError(f"your organization has no {what} {foreign}")
