"""Incident templates in the database: built in, an organization's own, and the version that a ticket keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from pipeline.core.closeout import Template
from pipeline.core.field_work import FieldTicket

_COLUMNS = """
    id, org_id, incident_type, version, is_current, name, evidence_keys, checklist_keys, skills, certificates,
    visit_minutes, is_high_risk, created_by, created_at
"""
#: Among those in force an organization's own goes before the built-in one.
_CURRENT = text(f"""
    SELECT {_COLUMNS} FROM incident_templates
     WHERE (org_id = :org OR org_id IS NULL) AND incident_type = upper(btrim(:type)) AND is_current
     ORDER BY org_id NULLS LAST LIMIT 1
""")  # noqa: S608 - columns from above
_BY_ID = text(f"SELECT {_COLUMNS} FROM incident_templates WHERE id = :id AND (org_id = :org OR org_id IS NULL)")  # noqa: S608
_IN_FORCE = text(f"""
    SELECT DISTINCT ON (incident_type) {_COLUMNS} FROM incident_templates
     WHERE (org_id = :org OR org_id IS NULL) AND is_current
     ORDER BY incident_type, org_id NULLS LAST LIMIT :limit
""")  # noqa: S608 - columns from above
_VERSIONS = text(f"""
    SELECT {_COLUMNS} FROM incident_templates
     WHERE (org_id = :org OR org_id IS NULL) AND incident_type = upper(btrim(:type))
     ORDER BY org_id NULLS LAST, version DESC LIMIT :limit
""")  # noqa: S608 - columns from above
#: Two people who change one template wait for each other.
_ALONE = text(
    "SELECT pg_advisory_xact_lock(hashtextextended('template ' || CAST(:org AS text) || ' ' || CAST(:type AS text), 0))"
)
_COUNT = text("SELECT count(DISTINCT incident_type) FROM incident_templates WHERE org_id = :org AND is_current")
_RETIRE = text("""
    UPDATE incident_templates SET is_current = false
     WHERE org_id = :org AND incident_type = upper(btrim(:type)) AND is_current
""")
_ADD = text(f"""
    INSERT INTO incident_templates (org_id, incident_type, version, name, evidence_keys, checklist_keys, skills,
                                    certificates, visit_minutes, is_high_risk, created_by)
    SELECT :org, :type, coalesce(max(version), 0) + 1, :name, :evidence_keys, :checklist_keys, :skills, :certificates,
           :visit_minutes, :is_high_risk, :by
      FROM incident_templates WHERE org_id = :org AND incident_type = :type
    RETURNING {_COLUMNS}
""")  # noqa: S608 - columns from above


def current(connection: Connection, org_id: UUID, incident_type: str) -> Template | None:
    """Return what work of a type must prove now: the organization's own template, else the built-in one, else None.

    The type is looked up in upper case, without spaces around it.
    """
    row = current_row(connection, org_id, incident_type)
    return None if row is None else _template(row)


def current_row(connection: Connection, org_id: UUID, incident_type: str) -> Row[Any] | None:
    """Return the whole row of the template in force, with skills, certificates and minutes; None when there is none."""
    return connection.execute(_CURRENT, {"org": org_id, "type": incident_type}).one_or_none()


def of_ticket(connection: Connection, ticket: FieldTicket) -> Template | None:
    """Return the version that a ticket was triaged with, else what is in force for its type; None without either."""
    if ticket.template_id is not None:
        row = connection.execute(_BY_ID, {"id": ticket.template_id, "org": ticket.org_id}).one_or_none()
        if row is not None:
            return _template(row)
    return current(connection, ticket.org_id, ticket.incident_type) if ticket.incident_type else None


def in_force(connection: Connection, org_id: UUID, *, limit: int) -> Sequence[Row[Any]]:
    """Return the template in force of every type, by type."""
    return connection.execute(_IN_FORCE, {"org": org_id, "limit": limit}).all()


def versions(connection: Connection, org_id: UUID, incident_type: str, *, limit: int) -> Sequence[Row[Any]]:
    """Return the versions of a type: the organization's newest first, then the built-in ones."""
    return connection.execute(_VERSIONS, {"org": org_id, "type": incident_type, "limit": limit}).all()


def hold(connection: Connection, org_id: UUID, incident_type: str) -> Row[Any] | None:
    """Let nobody else change a type's template until the transaction ends; return what is in force."""
    connection.execute(_ALONE, {"org": str(org_id), "type": incident_type})
    return current_row(connection, org_id, incident_type)


def count(connection: Connection, org_id: UUID) -> int:
    """Return how many types an organization has a template of its own for."""
    return int(connection.execute(_COUNT, {"org": org_id}).scalar_one())


def add_version(
    connection: Connection, org_id: UUID, incident_type: str, values: Mapping[str, Any], actor: str
) -> Row[Any]:
    """Put a new version of an organization's template in force; return its row. `hold` it first."""
    retire(connection, org_id, incident_type)
    given = {**values, "org": org_id, "type": incident_type, "by": actor}
    return connection.execute(_ADD, given).one()


def retire(connection: Connection, org_id: UUID, incident_type: str) -> bool:
    """Take an organization's template out of force; False when it has none. Tickets keep the version they have."""
    return connection.execute(_RETIRE, {"org": org_id, "type": incident_type}).rowcount > 0


def _template(row: Row[Any]) -> Template:
    return Template(
        template_id=row.id,
        incident_type=row.incident_type,
        version=row.version,
        evidence_keys=tuple(row.evidence_keys),
        checklist_keys=tuple(row.checklist_keys),
        is_high_risk=row.is_high_risk,
    )
