"""How far somebody sees work orders, in SQL: the condition that every query on them adds."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final
from uuid import UUID

from models.enums import Reach
from models.queries.scoping import Reached, of_places

TEAM: Final = """({alias}.team_id = CAST(:scope_team AS uuid)
       OR {alias}.assigned_to_id IN (SELECT scope_m.person_id FROM memberships scope_m
                                      WHERE scope_m.org_id = {alias}.org_id
                                        AND scope_m.team_id = CAST(:scope_team AS uuid)))"""
OWN: Final = "{alias}.assigned_to_id = CAST(:scope_person AS uuid)"
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
    parts, values = of_places(alias, account_ids, site_ids)
    if reach is Reach.TEAM:
        parts.append(TEAM.format(alias=alias))
        values["scope_team"] = team_id
    if reach is Reach.OWN or is_own_only:
        parts.append(OWN.format(alias=alias))
        values["scope_person"] = person_id
    if is_outsourced_only:
        parts.append(_OUTSOURCED.format(alias=alias))
    return " AND ".join(parts) or "TRUE", values
