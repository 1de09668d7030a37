"""What was sent or is to be sent, and the addresses that may be written from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.enums import JobState, OutboundKind, OutboundState, SendIdentityStatus
from models.queries.scoping import EVERYTHING, Reached

_COLUMNS = """
    SELECT b.id, b.org_id, b.message_id, b.kind, b.state, b.recipient, b.created_by, b.created_at, b.handed_over,
           b.handed_over_at, b.sent_at, b.provider_id, b.last_error, b.bounced_at, b.bounce_reason, m.subject,
           m.from_address, m.rfc_message_id, l.ticket_id, t.code, x.address AS mailbox, j.state AS job_state,
           j.last_error ->> 'text' AS job_error
      FROM outbound b
      JOIN messages m ON m.id = b.message_id
      JOIN mailboxes x ON x.id = b.mailbox_id
      LEFT JOIN ticket_messages l ON l.message_id = b.message_id
      LEFT JOIN tickets t ON t.id = l.ticket_id
      LEFT JOIN jobs j ON j.stage = 'send' AND j.key = CAST(b.id AS text)
"""
_LIST = f"""
    {_COLUMNS}
     WHERE (CAST(:org AS uuid) IS NULL OR b.org_id = :org)
       AND (CAST(:state AS text) IS NULL OR b.state = :state)
       AND (CAST(:ticket AS uuid) IS NULL OR l.ticket_id = :ticket)
       AND (CAST(:before AS bigint) IS NULL OR b.message_id < :before)
       AND {{reach}}
     ORDER BY b.message_id DESC LIMIT :limit
"""
_ONE = f"{_COLUMNS} WHERE b.id = :id AND (CAST(:org AS uuid) IS NULL OR b.org_id = :org) AND {{reach}}"
_STATES = text("""
    SELECT s.state, count(b.id) AS messages
      FROM unnest(ARRAY['queued', 'sending', 'unknown', 'failed']) AS s(state) LEFT JOIN outbound b ON b.state = s.state
     GROUP BY s.state ORDER BY s.state
""")
_WAITING = text("""
    SELECT CAST(coalesce(max(extract(epoch FROM now() - created_at)), 0) AS float8) FROM outbound
     WHERE state IN ('queued', 'sending')
""")
_IDENTITIES = text("""
    SELECT i.id, i.org_id, i.mailbox_id, i.from_email, i.display_name, i.status, i.is_enabled, i.created_at,
           x.address AS mailbox
      FROM send_identities i JOIN mailboxes x ON x.id = i.mailbox_id
     WHERE (CAST(:org AS uuid) IS NULL OR i.org_id = :org) AND (NOT :enabled OR i.is_enabled)
     ORDER BY i.from_email, i.id
""")


@dataclass(frozen=True, slots=True)
class Outbound:
    """One message that we send; `ticket_id` is where it stands now, whatever was merged meanwhile."""

    outbound_id: UUID
    org_id: UUID
    message_id: int
    rfc_message_id: str
    ticket_id: UUID | None
    ticket: str | None
    kind: OutboundKind
    state: OutboundState
    mailbox: str
    from_address: str
    recipient: str
    subject: str
    created_by: str
    created_at: datetime
    handed_over: int
    handed_over_at: datetime | None
    sent_at: datetime | None
    provider_id: str | None
    last_error: str | None
    bounced_at: datetime | None
    bounce_reason: str | None
    #: How the job stands that sends it, and why it failed last; None when there is none, as after its end.
    job_state: JobState | None = None
    job_error: str | None = None

    @property
    def is_adrift(self) -> bool:
        """Say whether it is to be sent, but no job will do that by itself."""
        goes_on = self.job_state not in (None, JobState.BLOCKED, JobState.DEAD)
        return self.state in (OutboundState.QUEUED, OutboundState.SENDING) and not goes_on


@dataclass(frozen=True, slots=True)
class SendIdentity:
    """An address that may be written from, and the mailbox that sends it."""

    identity_id: UUID
    org_id: UUID
    mailbox_id: UUID
    mailbox: str
    from_email: str
    display_name: str
    status: SendIdentityStatus
    is_enabled: bool
    created_at: datetime


def outbound_messages(
    connection: Connection,
    *,
    org_id: UUID | None = None,
    state: OutboundState | None = None,
    ticket_id: UUID | None = None,
    before: int | None = None,
    limit: int = 50,
    reach: Reached = EVERYTHING,
) -> list[Outbound]:
    """Return outbound messages, the newest first, before a message's id; without `org_id` of all organizations.

    With a `reach`, those of the tickets within it.
    """
    values = {"org": org_id, "state": state, "ticket": ticket_id, "before": before, "limit": limit} | reach[1]
    return [_outbound(row) for row in connection.execute(text(_LIST.format(reach=reach[0])), values)]


def outbound_message(
    connection: Connection, outbound_id: UUID, org_id: UUID | None = None, reach: Reached = EVERYTHING
) -> Outbound | None:
    """Return one outbound message, None when there is none (of the organization, within the reach)."""
    statement = text(_ONE.format(reach=reach[0]))
    row = connection.execute(statement, {"id": outbound_id, "org": org_id, **reach[1]}).one_or_none()
    return None if row is None else _outbound(row)


def unfinished(connection: Connection) -> dict[OutboundState, int]:
    """Return how many messages stand in each state that is not the good end."""
    return {OutboundState(row.state): row.messages for row in connection.execute(_STATES)}


def longest_wait_seconds(connection: Connection) -> float:
    """Return how long the oldest message that is to be sent has waited; 0 when none does."""
    found: float = connection.execute(_WAITING).scalar_one()
    return found


def send_identities(
    connection: Connection, org_id: UUID | None = None, *, only_enabled: bool = False
) -> list[SendIdentity]:
    """Return the addresses that may be written from, by address; without `org_id` of all organizations."""
    return _identities(connection.execute(_IDENTITIES, {"org": org_id, "enabled": only_enabled}))


def _identities(rows: Iterable[Row[Any]]) -> list[SendIdentity]:
    return [
        SendIdentity(
            identity_id=row.id,
            org_id=row.org_id,
            mailbox_id=row.mailbox_id,
            mailbox=row.mailbox,
            from_email=row.from_email,
            display_name=row.display_name,
            status=SendIdentityStatus(row.status),
            is_enabled=row.is_enabled,
            created_at=row.created_at,
        )
        for row in rows
    ]


def _outbound(row: Row[Any]) -> Outbound:
    return Outbound(
        outbound_id=row.id,
        org_id=row.org_id,
        message_id=row.message_id,
        rfc_message_id=row.rfc_message_id,
        ticket_id=row.ticket_id,
        ticket=row.code,
        kind=OutboundKind(row.kind),
        state=OutboundState(row.state),
        mailbox=row.mailbox,
        from_address=row.from_address,
        recipient=row.recipient,
        subject=row.subject,
        created_by=row.created_by,
        created_at=row.created_at,
        handed_over=row.handed_over,
        handed_over_at=row.handed_over_at,
        sent_at=row.sent_at,
        provider_id=row.provider_id,
        last_error=row.last_error,
        bounced_at=row.bounced_at,
        bounce_reason=row.bounce_reason,
        job_state=None if row.job_state is None else JobState(row.job_state),
        job_error=row.job_error,
    )
