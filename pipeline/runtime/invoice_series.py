"""The series that an organization's invoices are numbered by."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

#: The row is locked until the transaction ends: nobody has the next number before it is known that this one is used.
_TAKE = text("""
    INSERT INTO invoice_series (org_id, next_number) VALUES (:org, 2)
    ON CONFLICT (org_id) DO UPDATE SET next_number = invoice_series.next_number + 1
    RETURNING next_number - 1 AS number, prefix
""")
#: Made where there is none, so that there is a row to lock.
_LOCK = text("""
    INSERT INTO invoice_series (org_id) VALUES (:org)
    ON CONFLICT (org_id) DO UPDATE SET prefix = invoice_series.prefix
    RETURNING prefix, next_number
""")
_READ = text("SELECT prefix, next_number FROM invoice_series WHERE org_id = :org")
_IS_BEGUN = text("SELECT EXISTS (SELECT FROM invoices WHERE org_id = :org)")
_SET = text("UPDATE invoice_series SET prefix = :prefix, next_number = :next_number WHERE org_id = :org")


@dataclass(frozen=True, slots=True)
class Series:
    """How the next invoice is numbered; without a row of its own an organization has these defaults."""

    prefix: str = "INV-"
    next_number: int = 1
    #: An invoice was issued: the numbers go on from there.
    is_begun: bool = False

    @property
    def next_code(self) -> str:
        """Return what the next invoice is called."""
        return code_of(self.prefix, self.next_number)


def code_of(prefix: str, number: int) -> str:
    """Return what people call an invoice. No prefix ends in a digit, so no two numbers make one code."""
    return f"{prefix}{number:06}"


def take(connection: Connection, org_id: UUID) -> tuple[int, str]:
    """Take the next number; return it and the invoice's code. Whoever else takes one waits for the transaction."""
    row = connection.execute(_TAKE, {"org": org_id}).one()
    return row.number, code_of(row.prefix, row.number)


def read(connection: Connection, org_id: UUID) -> Series:
    """Return how an organization's next invoice is numbered."""
    row = connection.execute(_READ, {"org": org_id}).one_or_none()
    is_begun = _is_begun(connection, org_id)
    return Series(is_begun=is_begun) if row is None else Series(row.prefix, row.next_number, is_begun)


def lock(connection: Connection, org_id: UUID) -> Series:
    """Lock and return the series; no invoice is issued until the transaction ends."""
    row = connection.execute(_LOCK, {"org": org_id}).one()
    # Looked up after the wait for the lock: an invoice may have been issued meanwhile.
    return Series(row.prefix, row.next_number, _is_begun(connection, org_id))


def put(connection: Connection, org_id: UUID, series: Series) -> None:
    """Set prefix and next number of a locked series."""
    connection.execute(_SET, {"org": org_id, "prefix": series.prefix, "next_number": series.next_number})


def _is_begun(connection: Connection, org_id: UUID) -> bool:
    return bool(connection.execute(_IS_BEGUN, {"org": org_id}).scalar_one())
