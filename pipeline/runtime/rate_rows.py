"""An organization's rates in the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from pipeline.core.invoicing import Rate

#: Rates that one organization may have: all are read at once.
MOST_RATES = 1_000

_COLUMNS = """
    r.id, r.account_id, r.incident_type, r.currency, r.labor_hour_cents, r.travel_hour_cents, r.callout_cents,
    r.step_minutes, r.least_minutes, r.tax_percent, r.created_at
"""
_LISTED = text(f"""
    SELECT {_COLUMNS}, a.name AS account FROM rates r LEFT JOIN accounts a ON a.id = r.account_id
     WHERE r.org_id = :org AND (CAST(:id AS uuid) IS NULL OR r.id = CAST(:id AS uuid))
     ORDER BY r.currency, a.name NULLS FIRST, r.incident_type NULLS FIRST, r.id
""")  # noqa: S608 - columns from above
_FITTING = text(f"""
    SELECT {_COLUMNS} FROM rates r
     WHERE r.org_id = :org AND (r.account_id IS NULL OR r.account_id = :account)
       AND (r.incident_type IS NULL OR r.incident_type = :incident_type)
""")  # noqa: S608 - columns from above
_IS_ROOM = text("""
    SELECT count(*) < :most OR bool_or(r.account_id IS NOT DISTINCT FROM CAST(:account_id AS uuid)
                                       AND r.incident_type IS NOT DISTINCT FROM CAST(:incident_type AS text)
                                       AND r.currency = :currency)
      FROM rates r WHERE r.org_id = :org
""")
_IS_ACCOUNT = text("SELECT EXISTS (SELECT FROM accounts WHERE org_id = :org AND id = :account)")
_PUT = text("""
    INSERT INTO rates (org_id, account_id, incident_type, currency, labor_hour_cents, travel_hour_cents, callout_cents,
                       step_minutes, least_minutes, tax_percent)
    VALUES (:org, :account_id, :incident_type, :currency, :labor_hour_cents, :travel_hour_cents, :callout_cents,
            :step_minutes, :least_minutes, :tax_percent)
    ON CONFLICT (org_id, account_id, incident_type, currency) DO UPDATE
       SET labor_hour_cents = excluded.labor_hour_cents, travel_hour_cents = excluded.travel_hour_cents,
           callout_cents = excluded.callout_cents, step_minutes = excluded.step_minutes,
           least_minutes = excluded.least_minutes, tax_percent = excluded.tax_percent
    RETURNING id
""")
_REMOVE = text("DELETE FROM rates WHERE id = :id")
_LOCK = text("SELECT id FROM rates WHERE org_id = :org AND id = :id FOR UPDATE")


@dataclass(frozen=True, slots=True)
class ListedRate:
    """A rate with its id and, where it is one account's, that account's name."""

    rate_id: UUID
    rate: Rate
    account: str | None
    created_at: datetime


def listed(connection: Connection, org_id: UUID, rate_id: UUID | None = None) -> list[ListedRate]:
    """Return the organization's rates, or the one with an id, the general ones of each currency first."""
    found = connection.execute(_LISTED, {"org": org_id, "id": rate_id})
    return [ListedRate(row.id, _rate(row), row.account, row.created_at) for row in found]


def fitting(connection: Connection, org_id: UUID, account_id: UUID | None, incident_type: str | None) -> Sequence[Rate]:
    """Return the rates that may hold for an account and an incident type, in any currency."""
    values = {"org": org_id, "account": account_id, "incident_type": incident_type}
    return [_rate(row) for row in connection.execute(_FITTING, values)]


def is_account(connection: Connection, org_id: UUID, account_id: UUID) -> bool:
    """Say whether an organization has an account."""
    return bool(connection.execute(_IS_ACCOUNT, {"org": org_id, "account": account_id}).scalar_one())


def is_room(connection: Connection, org_id: UUID, rate: Rate) -> bool:
    """Say whether a rate may be put: it takes another one's place, or there are fewer than `MOST_RATES`."""
    return bool(connection.execute(_IS_ROOM, {"org": org_id, "most": MOST_RATES, **_values(rate)}).scalar_one())


def put(connection: Connection, org_id: UUID, rate: Rate) -> ListedRate:
    """Set what holds for the rate's account, incident type and currency; return it as it stands."""
    rate_id = connection.execute(_PUT, {"org": org_id, **_values(rate)}).scalar_one()
    return listed(connection, org_id, rate_id)[0]


def lock(connection: Connection, org_id: UUID, rate_id: UUID) -> ListedRate | None:
    """Lock a rate and return it; None when the organization has none of that id."""
    if connection.execute(_LOCK, {"org": org_id, "id": rate_id}).one_or_none() is None:
        return None
    return listed(connection, org_id, rate_id)[0]


def remove(connection: Connection, rate_id: UUID) -> None:
    """Take a rate away; invoices keep the prices that they were made with."""
    connection.execute(_REMOVE, {"id": rate_id})


def _values(rate: Rate) -> dict[str, Any]:
    return {name: getattr(rate, name) for name in Rate.__slots__}


def _rate(row: Row[Any]) -> Rate:
    return Rate(**{name: getattr(row, name) for name in Rate.__slots__})
