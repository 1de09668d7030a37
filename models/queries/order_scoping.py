"""How far somebody sees work orders, in SQL: the condition that every query on them adds."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID

from models.enums import Reach
from models.queries.scoping import Reached

_ACCOUNT = """{alias}.site_id IN (SELECT scope_s.id FROM sites scope_s
                                   WHERE scope_s.account_id = ANY(CAST(:scope_accounts AS uuid[])))"""
_SITE = "{alias}.site_id = ANY(CAST(:scope_sites AS uuid[]))"
_TEAM = """({alias}.team_id = CAST(:scope_team AS uuid)
       OR {alias}.assigned_to_id IN (SELECT scope_m.person_id FROM memberships scope_m
                                      WHERE scope_m.org_id = {alias}.org_id
                                        AND scope_m.team_id = CAST(:scope_team AS uuid)))"""
_OWN = "{alias}.assigned_to_id = CAST(:scope_person AS uuid)"
#: What went to somebody who is not ours, and nothing else (contract 004: the store manager).
_OUTSOURCED = "{alias}.outsourced_to IS NOT NULL"


def order_condition(
    *,
    reach: Reach,
    person_id: UUID | None,
    account_ids: Collection[UUID] | None,
    site_ids: Collection[UUID] | None,
    team_id: UUID | None,
    is_own_only: bool,
    is_outsourced_only: bool,
    alias: str = "w",
) -> Reached:
    """Return a condition on a row of `work_orders` and its parameters; `TRUE` where everything is reached.

    All narrow together. An order without a site is reached by nobody who is narrowed to some.
    """
    parts: list[str] = []
    values: dict[str, Any] = {}
    if account_ids is not None:
        parts.append(_ACCOUNT)
        values["scope_accounts"] = sorted(account_ids)
    if site_ids is not None:
        parts.append(_SITE)
        values["scope_sites"] = sorted(site_ids)
    if reach is Reach.TEAM:
        parts.append(_TEAM)
        values["scope_team"] = team_id
    if reach is Reach.OWN or is_own_only:
        parts.append(_OWN)
        values["scope_person"] = person_id
    if is_outsourced_only:
        parts.append(_OUTSOURCED)
    return " AND ".join(part.format(alias=alias) for part in parts) or "TRUE", values
