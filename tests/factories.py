"""Rows and mails for tests, made by small functions with a default for everything."""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from itertools import count
from typing import Any
from uuid import UUID, uuid4

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, Row, text

from models.enums import Lane, MailboxState, OccurrenceState, Provider
from pipeline.adapters.clock import SystemClock
from pipeline.core.moments import Moment
from pipeline.core.ticket_codes import ticket_code
from pipeline.core.triage_policy import BUILT_IN, TriagePolicy
from pipeline.runtime import ledger
from pipeline.runtime.db import Database
from pipeline.runtime.jobs import Emit, Job
from pipeline.runtime.ledger import Line
from pipeline.runtime.mailboxes import Mailbox, load_mailboxes

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
_numbers = count(1)


def rows(db: Database, statement: str, **values: Any) -> list[Row[Any]]:
    """Return what a statement answers, in a transaction of its own."""
    with db.begin() as connection:
        result = connection.execute(text(statement), values)
        return list(result) if result.returns_rows else []


def value(db: Database, statement: str, **values: Any) -> Any:
    """Return the single value a statement answers."""
    with db.begin() as connection:
        return connection.execute(text(statement), values).scalar_one_or_none()


def organization(connection: Connection, name: str | None = None, policy: dict[str, Any] | None = None) -> UUID:
    """Insert an organization."""
    statement = text("INSERT INTO organizations (name, policy) VALUES (:name, :policy) RETURNING id")
    found: UUID = connection.execute(
        statement, {"name": name or f"organization {next(_numbers)}", "policy": Jsonb(policy or {})}
    ).scalar_one()
    return found


def triage_policy(connection: Connection, org_id: UUID, **said: Any) -> TriagePolicy:
    """Put a policy of triage into force: the built-in one with what is said of it, like `dispatch={...}`."""
    policy = TriagePolicy.change(BUILT_IN, said)
    statement = text("""
        INSERT INTO triage_policies (org_id, version, state, policy, checksum, created_by, activated_at, activated_by)
        SELECT :org, 1 + count(*), 'active', :policy, :checksum, 'test', now(), 'test' FROM triage_policies
         WHERE org_id = :org
    """)
    connection.execute(statement, {"org": org_id, "policy": Jsonb(policy.stored()), "checksum": policy.checksum})
    return policy


def mailbox(
    connection: Connection,
    org_id: UUID,
    address: str | None = None,
    *,
    state: MailboxState = MailboxState.ACTIVE,
    cursor: str | None = None,
    synced_at: datetime | None = None,
    paused_until: datetime | None = None,
) -> UUID:
    """Insert a Gmail mailbox."""
    found: UUID = connection.execute(
        text("""
            INSERT INTO mailboxes
                   (org_id, address, provider, state, sync_cursor, last_incremental_sync_at, paused_until)
            VALUES (:org, :address, :provider, :state, :cursor, :synced_at, :paused_until) RETURNING id
        """),
        {
            "org": org_id,
            "address": address or f"help{next(_numbers)}@acme.example",
            "provider": Provider.GMAIL.value,
            "state": state.value,
            "cursor": cursor,
            "synced_at": synced_at,
            "paused_until": paused_until,
        },
    ).scalar_one()
    return found


def identity(
    connection: Connection,
    org_id: UUID,
    mailbox_id: UUID,
    address: str,
    *,
    name: str = "",
    status: str = "verified",
    is_enabled: bool = True,
) -> UUID:
    """Insert an address that may be written from."""
    statement = text("""
        INSERT INTO send_identities (org_id, mailbox_id, from_email, display_name, status, is_enabled)
        VALUES (:org, :mailbox, :address, :name, :status, :enabled) RETURNING id
    """)
    values = {"org": org_id, "mailbox": mailbox_id, "address": address, "name": name, "status": status}
    found: UUID = connection.execute(statement, values | {"enabled": is_enabled}).scalar_one()
    return found


def as_value(connection: Connection, mailbox_id: UUID) -> Mailbox:
    """Return a mailbox as stages see it."""
    return load_mailboxes(connection, [mailbox_id])[mailbox_id]


def occurrence(
    connection: Connection,
    mailbox_id: UUID,
    provider_id: str | None = None,
    *,
    state: OccurrenceState = OccurrenceState.SEEN,
    raw: bytes | None = None,
    message_id: int | None = None,
    thread_id: str | None = None,
    labels: tuple[str, ...] = (),
    at: datetime | None = None,
) -> int:
    """Insert an occurrence of a mailbox in any state."""
    found: int = connection.execute(
        text("""
            INSERT INTO occurrences (org_id, mailbox_id, provider_id, state, raw_sha256, message_id, thread_id, labels,
                                     internal_at)
            SELECT org_id, id, :provider_id, :state, :raw, :message_id, :thread_id, :labels, :at
              FROM mailboxes WHERE id = :mailbox RETURNING id
        """),
        {
            "mailbox": mailbox_id,
            "provider_id": provider_id or f"p{next(_numbers)}",
            "state": state.value,
            "raw": None if raw is None else hashlib.sha256(raw).digest(),
            "message_id": message_id,
            "thread_id": thread_id,
            "labels": list(labels),
            "at": at,
        },
    ).scalar_one()
    return found


def emit(
    key: str = "1",
    stage: str = "fetch",
    *,
    lane: Lane = Lane.LIVE,
    place: int = 0,
    org_id: UUID | None = None,
    mailbox_id: UUID | None = None,
    delay: timedelta = timedelta(0),
) -> Emit:
    """Return a step; its organization need not exist, since the ledger does not look."""
    return Emit(stage, key, org_id or uuid4(), mailbox_id, lane, place, secrets.token_hex(16), delay=delay)


def job(key: str, stage: str, org_id: UUID, mailbox_id: UUID | None = None, lane: Lane = Lane.LIVE) -> Job:
    """Return a claimed job as a value, for stages that are called without a runner."""
    return Job(
        next(_numbers), stage, key, org_id, mailbox_id, lane, 7, 1, 0, 0, {}, secrets.token_hex(16),
        taken=Moment.of(SystemClock()),
    )  # fmt: skip


def claimed(
    connection: Connection,
    stage: str = "fetch",
    *,
    lane: Lane = Lane.LIVE,
    worker: int = 1,
    batch: int = 100,
    lease: timedelta = timedelta(hours=1),
) -> list[Job]:
    """Claim from one line, suspects when nothing else is there; a negative `lease` makes one that is over at once."""
    line = Line(stage, lane)
    return ledger.claim(connection, line, batch=batch, worker=worker, lease=lease) or ledger.claim(
        connection, line, batch=batch, worker=worker, lease=lease, suspects=True
    )


def asset(connection: Connection, org_id: UUID, tag: str = "AUS_0123", *, kind: str = "", zone: str = "") -> UUID:
    """Insert an asset."""
    statement = "INSERT INTO assets (org_id, tag, kind, zone) VALUES (:org, :tag, :kind, :zone) RETURNING id"
    found: UUID = connection.execute(
        text(statement), {"org": org_id, "tag": tag, "kind": kind, "zone": zone or None}
    ).scalar_one()
    # As commands do it: what mail is read with is compiled anew.
    connection.execute(text("UPDATE organizations SET name = name WHERE id = :org"), {"org": org_id})
    return found


def team(
    connection: Connection,
    org_id: UUID,
    name: str,
    *,
    skills: tuple[str, ...] = (),
    zones: tuple[str, ...] = (),
    capacity: int | None = None,
) -> UUID:
    """Insert a team."""
    found: UUID = connection.execute(
        text("""
            INSERT INTO teams (org_id, name, skills, zones, capacity)
            VALUES (:org, :name, :skills, :zones, :capacity) RETURNING id
        """),
        {"org": org_id, "name": name, "skills": list(skills), "zones": list(zones), "capacity": capacity},
    ).scalar_one()
    return found


def case(
    connection: Connection, org_id: UUID, asset_id: UUID, *, priority: int = 90, confidence: float = 0.9, hours: int = 2
) -> UUID:
    """Insert an open case that asks for a technician."""
    found: UUID = connection.execute(
        text("""
            INSERT INTO cases (org_id, asset_id, mode, priority_score, sla_hours, root_cause_tag, confidence,
                               recommended_action, grid_stress_level, explanation, verification_required, assessed_at)
            VALUES (:org, :asset, 'certainty', :priority, :hours, 'unknown', :confidence, 'dispatch_field_tech', 'high',
                    'a test', false, now()) RETURNING id
        """),
        {"org": org_id, "asset": asset_id, "priority": priority, "confidence": confidence, "hours": hours},
    ).scalar_one()
    return found


def ticket(connection: Connection, org_id: UUID, *, status: str = "new", at: datetime = NOON) -> UUID:
    """Insert a ticket without messages."""
    found: UUID = connection.execute(
        text("""
            INSERT INTO tickets (org_id, code, subject, subject_norm, status, first_message_at, last_message_at,
                                 last_activity_at, closed_at)
            VALUES (:org, :code, 'a subject', 'a subject', :status, :at, :at, :at,
                    CASE WHEN :status IN ('closed', 'spam') THEN now() END) RETURNING id
        """),
        {"org": org_id, "code": ticket_code(secrets.token_bytes(10)), "status": status, "at": at},
    ).scalar_one()
    return found


def work_order(
    connection: Connection, org_id: UUID, case_id: UUID, ticket_id: UUID, team_id: UUID | None = None
) -> UUID:
    """Insert an open work order."""
    found: UUID = connection.execute(
        text("""
            INSERT INTO work_orders (org_id, case_id, ticket_id, team_id, due_at)
            VALUES (:org, :case, :ticket, :team, now()) RETURNING id
        """),
        {"org": org_id, "case": case_id, "ticket": ticket_id, "team": team_id},
    ).scalar_one()
    return found


def mail(
    subject: str = "The charger is broken",
    body: str = "It does not start.",
    *,
    sender: str = "Ann <ann@customer.example>",
    to: str = "help@acme.example",
    message_id: str | None = None,
    in_reply_to: str | None = None,
    references: str | None = None,
    attachment: bytes | None = None,
    **more: str,
) -> bytes:
    """Return a raw mail; `more` holds further headers with underscores for dashes."""
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = sender, to, subject
    made["Date"] = NOON
    made["Message-ID"] = message_id or f"<{next(_numbers)}@customer.example>"
    if in_reply_to:
        made["In-Reply-To"] = in_reply_to
    if references:
        made["References"] = references
    for name, content in more.items():
        made[name.replace("_", "-")] = content
    made.set_content(body)
    if attachment is not None:
        made.add_attachment(attachment, maintype="application", subtype="pdf", filename="plan.pdf")
    return made.as_bytes()
