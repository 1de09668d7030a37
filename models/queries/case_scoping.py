"""How far somebody sees cases, in SQL: the condition that every query on them adds."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID

from models.enums import Reach
from models.queries.scoping import Reached

_ACCOUNT = """{asset}.site_id IN (SELECT scope_s.id FROM sites scope_s
                                   WHERE scope_s.account_id = ANY(CAST(:scope_accounts AS uuid[])))"""
_SITE = "{asset}.site_id = ANY(CAST(:scope_sites AS uuid[]))"
#: Orders hang on the case that led when they were made; the one of the other mode goes with it.
_ORDERS = """EXISTS (SELECT FROM cases scope_k JOIN work_orders scope_w ON scope_w.case_id = scope_k.id
                      WHERE scope_k.asset_id = {case}.asset_id AND scope_k.number = {case}.number AND {whose})"""
_OF_TEAM = """(scope_w.team_id = CAST(:scope_team AS uuid)
       OR scope_w.assigned_to_id IN (SELECT scope_m.person_id FROM memberships scope_m
                                      WHERE scope_m.org_id = scope_w.org_id
                                        AND scope_m.team_id = CAST(:scope_team AS uuid)))"""
_OF_PERSON = "scope_w.assigned_to_id = CAST(:scope_person AS uuid)"


def case_condition(
    *,
    reach: Reach,
    person_id: UUID | None,
    account_ids: Collection[UUID] | None,
    site_ids: Collection[UUID] | None,
    team_id: UUID | None,
    case: str = "c",
    asset: str = "a",
) -> Reached:
    """Return a condition on a row of `cases` and its asset, with its parameters; `TRUE` where everything is reached.

    All narrow together: by the place of the asset, and by whose work it became. An asset without a site is reached by
    nobody who is narrowed to some.
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
        parts.append(_ORDERS.replace("{whose}", _OF_TEAM))
        values["scope_team"] = team_id
    if reach is Reach.OWN:
        parts.append(_ORDERS.replace("{whose}", _OF_PERSON))
        values["scope_person"] = person_id
    return " AND ".join(part.format(case=case, asset=asset) for part in parts) or "TRUE", values
