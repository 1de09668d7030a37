"""How far somebody sees cases, in SQL: the condition that every query on them adds."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from models.enums import Reach
from models.queries.order_scoping import OWN, TEAM
from models.queries.scoping import Reached, of_places

#: Orders hang on the case that led when they were made; the one of the other mode goes with it.
_ORDERS = """EXISTS (SELECT FROM cases scope_k JOIN work_orders scope_w ON scope_w.case_id = scope_k.id
                      WHERE scope_k.asset_id = {case}.asset_id AND scope_k.number = {case}.number AND {whose})"""


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
    parts, values = of_places(asset, account_ids, site_ids)
    if reach is Reach.TEAM:
        parts.append(_ORDERS.format(case=case, whose=TEAM.format(alias="scope_w")))
        values["scope_team"] = team_id
    if reach is Reach.OWN:
        parts.append(_ORDERS.format(case=case, whose=OWN.format(alias="scope_w")))
        values["scope_person"] = person_id
    return " AND ".join(parts) or "TRUE", values
