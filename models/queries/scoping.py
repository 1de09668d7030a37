"""What a reach means in SQL: the condition that a query adds so that it sees only what may be seen."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID

from models.enums import Reach

#: A condition on the tickets `t`, with its parameters.
Reached = tuple[str, dict[str, Any]]
#: For who reaches the whole organization, and for the operator of the machine.
EVERYTHING: Reached = ("TRUE", {})

#: Work orders count by their team, field work by the technician who was sent.
_TEAM = """({alias}.queue_id = ANY(CAST(:scope_queues AS uuid[]))
       OR {alias}.assignee_user_id = CAST(:scope_person AS uuid)
       OR EXISTS (SELECT FROM work_orders scope_w WHERE scope_w.ticket_id = {alias}.id
                                                    AND scope_w.team_id = CAST(:scope_team AS uuid))
       OR EXISTS (SELECT FROM dispatches scope_d JOIN memberships scope_m ON scope_m.org_id = scope_d.org_id
                                                    AND scope_m.person_id = scope_d.assigned_tech_id
                   WHERE scope_d.ticket_id = {alias}.id AND scope_m.team_id = CAST(:scope_team AS uuid)))"""
_OWN = """({alias}.assignee_user_id = CAST(:scope_person AS uuid)
       OR {alias}.id IN (SELECT scope_d.ticket_id FROM dispatches scope_d
                          WHERE scope_d.assigned_tech_id = CAST(:scope_person AS uuid)))"""


#: What has no account of its own is that of its site.
_ACCOUNT = """{alias}.site_id IN (SELECT scope_s.id FROM sites scope_s
                                   WHERE scope_s.account_id = ANY(CAST(:scope_accounts AS uuid[])))"""
_SITE = "{alias}.site_id = ANY(CAST(:scope_sites AS uuid[]))"


def of_places(
    alias: str, account_ids: Collection[UUID] | None, site_ids: Collection[UUID] | None
) -> tuple[list[str], dict[str, Any]]:
    """Return conditions on a row that has a site, and their parameters: none where no place narrows.

    Both must hold; a row without a site is reached by nobody who is narrowed to some.
    """
    parts: list[str] = []
    values: dict[str, Any] = {}
    if account_ids is not None:
        parts.append(_ACCOUNT.format(alias=alias))
        values["scope_accounts"] = sorted(account_ids)
    if site_ids is not None:
        parts.append(_SITE.format(alias=alias))
        values["scope_sites"] = sorted(site_ids)
    return parts, values


def ticket_condition(
    *,
    reach: Reach,
    person_id: UUID | None,
    account_ids: Collection[UUID] | None,
    site_ids: Collection[UUID] | None,
    team_id: UUID | None,
    queue_ids: Collection[UUID],
    alias: str = "t",
) -> Reached:
    """Return a condition on a row of `tickets` and its parameters; `TRUE` where everything is reached.

    Accounts and sites narrow together: both must contain the ticket's (contract 000), and a ticket without one is
    reached by nobody who is narrowed to some.
    """
    parts: list[str] = []
    values: dict[str, Any] = {}
    if account_ids is not None:
        parts.append(f"{alias}.account_id = ANY(CAST(:scope_accounts AS uuid[]))")
        values["scope_accounts"] = sorted(account_ids)
    if site_ids is not None:
        parts.append(f"{alias}.site_id = ANY(CAST(:scope_sites AS uuid[]))")
        values["scope_sites"] = sorted(site_ids)
    if reach is Reach.TEAM:
        parts.append(_TEAM.format(alias=alias))
        values |= {"scope_queues": sorted(queue_ids), "scope_person": person_id, "scope_team": team_id}
    if reach is Reach.OWN:
        parts.append(_OWN.format(alias=alias))
        values["scope_person"] = person_id
    return " AND ".join(parts) or "TRUE", values
