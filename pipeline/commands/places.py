"""Accounts, the customers of an organization, and their sites: added and changed by an administrator."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from uuid import UUID
from zoneinfo import available_timezones

from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from models.queries import people
from models.queries.people import AccountRow, SiteRow
from pipeline.commands.granting import Conflict, Unknown
from pipeline.core.text import one_line
from pipeline.runtime.errors import UserError

_LONGEST_NAME, _LONGEST_LINE, _LONGEST_TEXT = 200, 300, 5_000
_COUNTRY = re.compile(r"[A-Z]{2}")
#: Those that must be there; the rest may be null.
_NEEDED = frozenset({"name", "address1", "city", "country", "timezone"})

_ADD_ACCOUNT = text("INSERT INTO accounts (org_id, name) VALUES (:org, :name) RETURNING id")
_CHANGE_ACCOUNT = text("UPDATE accounts SET name = :name WHERE id = :id AND org_id = :org")
_ADD_SITE = text("""
    INSERT INTO sites (org_id, account_id, name, address1, address2, city, region, postal_code, country, timezone,
                       access_instructions)
    VALUES (:org, :account, :name, :address1, :address2, :city, :region, :postal_code, :country, :timezone,
            :access_instructions)
    RETURNING id
""")
_CHANGE_SITE = text("""
    UPDATE sites
       SET name = :name, address1 = :address1, address2 = :address2, city = :city, region = :region,
           postal_code = :postal_code, country = :country, timezone = :timezone,
           access_instructions = :access_instructions
     WHERE id = :id AND org_id = :org
""")
_FIELDS = (
    *("name", "address1", "address2", "city", "region", "postal_code", "country", "timezone"),
    "access_instructions",
)


def add_account(connection: Connection, org_id: UUID, name: str) -> AccountRow:
    """Add a customer. Raises `UserError`, and `Conflict` for a name that is taken."""
    return _account(connection, org_id, _write(connection, _ADD_ACCOUNT, {"org": org_id, "name": _line(name, "name")}))


def change_account(connection: Connection, org_id: UUID, account_id: UUID, name: str) -> AccountRow:
    """Give a customer another name. Raises as `add_account`."""
    _account(connection, org_id, account_id)
    _write(connection, _CHANGE_ACCOUNT, {"org": org_id, "id": account_id, "name": _line(name, "name")})
    return _account(connection, org_id, account_id)


def add_site(connection: Connection, org_id: UUID, account_id: UUID, fields: Mapping[str, Any]) -> SiteRow:
    """Add a site to an account. Raises `UserError`, and `Conflict` for a name that the account has already."""
    if not people.accounts(connection, org_id, only=[account_id]):
        raise UserError(f"your organization has no account {account_id}")
    blank = dict.fromkeys(_FIELDS) | {"address1": "", "city": "", "country": "US", "timezone": "UTC"}
    values = _site_values(blank | dict(fields))
    return _site(connection, org_id, _write(connection, _ADD_SITE, values | {"org": org_id, "account": account_id}))


def change_site(connection: Connection, org_id: UUID, site_id: UUID, fields: Mapping[str, Any]) -> SiteRow:
    """Change some of a site's fields. Raises as `add_site`."""
    before = _site(connection, org_id, site_id)
    values = _site_values({name: getattr(before, name) for name in _FIELDS} | dict(fields))
    _write(connection, _CHANGE_SITE, values | {"org": org_id, "id": site_id})
    return _site(connection, org_id, site_id)


def _write(connection: Connection, statement: Any, values: Mapping[str, Any]) -> Any:
    try:
        done = connection.execute(statement, values)
    except IntegrityError:
        raise Conflict("there is one of this name already") from None
    return done.scalar_one() if done.returns_rows else None


def _site_values(fields: Mapping[str, Any]) -> dict[str, Any]:
    values = {name: fields.get(name) for name in _FIELDS}
    values["name"] = _line(values["name"] or "", "name")
    for name in ("address1", "address2", "city", "region", "postal_code"):
        values[name] = _short(values[name], name)
    values["country"] = (values["country"] or "").upper()
    if not _COUNTRY.fullmatch(str(values["country"])):
        raise UserError("country is two letters (ISO 3166-1), such as DE")
    if values["timezone"] not in available_timezones():
        raise UserError(f"{str(values['timezone'])[:80]!r} is no time zone; write it like Europe/Berlin")
    if len(values["access_instructions"] or "") > _LONGEST_TEXT:
        raise UserError(f"access_instructions has at most {_LONGEST_TEXT} characters")
    return values


def _line(said: str, name: str) -> str:
    found = one_line(said)
    if not found or len(found) > _LONGEST_NAME:
        raise UserError(f"{name} has 1 to {_LONGEST_NAME} characters")
    return found


def _short(said: str | None, name: str) -> str | None:
    found = one_line(said or "")
    if len(found) > _LONGEST_LINE:
        raise UserError(f"{name} has at most {_LONGEST_LINE} characters")
    return found or ("" if name in _NEEDED else None)


def _account(connection: Connection, org_id: UUID, account_id: UUID) -> AccountRow:
    found = people.accounts(connection, org_id, only=[account_id])
    if not found:
        raise Unknown(f"your organization has no account {account_id}")
    return found[0]


def _site(connection: Connection, org_id: UUID, site_id: UUID) -> SiteRow:
    found = people.sites(connection, org_id, only=[site_id])
    if not found:
        raise Unknown(f"your organization has no site {site_id}")
    return found[0]
