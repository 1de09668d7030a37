"""What a batch of conversations writes: tickets opened and touched, links with their reasons, keys, events."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, text

from models.enums import Direction, MachineKind
from pipeline.core import ticket_codes
from pipeline.core.machines import VERDICTS
from pipeline.core.threading import RULES_VERSION, Group, Link
from pipeline.runtime import clocks
from pipeline.runtime.db import copy_rows
from pipeline.runtime.jobs import Job
from pipeline.runtime.stitching import Message, Surroundings

_TOUCH = text("""
    UPDATE tickets SET
        subject = CASE WHEN t.first_at < first_message_at THEN t.subject ELSE tickets.subject END,
        subject_norm = CASE WHEN t.first_at < first_message_at THEN t.subject_norm ELSE tickets.subject_norm END,
        requester_email = CASE WHEN t.first_at < first_message_at THEN t.email ELSE requester_email END,
        requester_name = CASE WHEN t.first_at < first_message_at THEN t.name ELSE requester_name END,
        first_message_at = least(first_message_at, t.first_at),
        last_message_at = greatest(last_message_at, t.last_at),
        last_activity_at = greatest(last_activity_at, t.last_at),
        status = CASE WHEN reopens THEN 'open' ELSE status END,
        closed_at = CASE WHEN reopens THEN NULL ELSE closed_at END,
        version = version + 1
      FROM (SELECT u.*, x.status IN ('pending', 'resolved', 'closed') AND u.asked_at IS NOT NULL
                        AND (x.closed_at IS NULL OR u.asked_at > x.closed_at) AS reopens
              FROM unnest(CAST(:ids AS uuid[]), CAST(:first_ats AS timestamptz[]), CAST(:last_ats AS timestamptz[]),
                          CAST(:asked_ats AS timestamptz[]), CAST(:subjects AS text[]), CAST(:norms AS text[]),
                          CAST(:emails AS text[]), CAST(:names AS text[]))
                AS u(id, first_at, last_at, asked_at, subject, subject_norm, email, name)
              JOIN tickets x ON x.id = u.id) AS t
     WHERE tickets.id = t.id
    RETURNING tickets.id, t.reopens
""")
_TICKET = (
    "id", "org_id", "code", "subject", "subject_norm", "requester_email", "requester_name", "first_message_at",
    "last_message_at", "last_activity_at",
)  # fmt: skip
_LINK = ("message_id", "org_id", "ticket_id", "reason", "confidence", "evidence", "rejected", "rules_version")
#: The most that are kept of what was named and not believed.
_REJECTED = 5


def _may_reopen(machine: str | None) -> bool:
    return VERDICTS[None if machine is None else MachineKind(machine)].may_reopen


class Plan:
    """What a batch writes: gathered row by row, written set-wise."""

    def __init__(self, around: Mapping[int, Surroundings]) -> None:
        self._around = around
        self._tickets: list[tuple[Any, ...]] = []
        self._links: list[tuple[UUID, UUID, Link]] = []
        self._keys: list[tuple[Any, ...]] = []
        self._events: list[tuple[Any, ...]] = []
        self._touched: list[dict[str, Any]] = []
        #: Tickets in which a person of ours wrote, by whatever program.
        self._answered: set[UUID] = set()
        #: Tickets that merged in this batch, and into which.
        self.moved: dict[UUID, UUID] = {}

    def _message(self, message_id: int) -> Message:
        return self._around[message_id].messages[message_id]

    def _is_new(self, link: Link) -> bool:
        return self._around[link.message_id].nodes[link.message_id].ticket is None

    def open(self, job: Job, ticket_id: UUID, group: Group[UUID]) -> None:
        """Plan a new ticket, named and asked by its oldest message."""
        first, last = (self._message(link.message_id).row for link in (group.links[0], group.links[-1]))
        code = ticket_codes.ticket_code(secrets.token_bytes(10))
        asked = (first.subject, first.subject_norm, first.from_address, first.from_name)
        times = (first.received_at, last.received_at, last.received_at)
        self._tickets.append((ticket_id, job.org_id, code, *asked, *times))
        self.event(job, ticket_id, "ticket.opened", {"code": code})

    def touch(self, ticket_id: UUID, group: Group[UUID]) -> None:
        """Plan what new messages mean for a ticket that exists."""
        rows = [self._message(link.message_id).row for link in group.links if self._is_new(link)]
        if not rows:
            return
        if any(row.direction == Direction.OUTBOUND and row.machine is None for row in rows):
            self._answered.add(ticket_id)
        asked = [row.received_at for row in rows if self._is_wish(row)]
        first = rows[0]
        self._touched.append(
            {
                "ids": ticket_id,
                "first_ats": first.received_at,
                "last_ats": rows[-1].received_at,
                "asked_ats": max(asked, default=None),
                "subjects": first.subject,
                "norms": first.subject_norm,
                "emails": first.from_address,
                "names": first.from_name,
            }
        )

    def _is_wish(self, row: Any) -> bool:
        """Say whether a message asks something of us; our own may be read in a colleague's mailbox first."""
        ours = self._around[row.id].how.own_addresses
        return row.direction == "inbound" and _may_reopen(row.machine) and row.from_address not in ours

    def link(self, org_id: UUID, ticket_id: UUID, group: Group[UUID]) -> None:
        """Plan the links of messages that have none, and the keys nobody knew."""
        self._links += [(org_id, ticket_id, link) for link in group.links if self._is_new(link)]
        self._keys += [(org_id, found, ticket_id) for found in group.new_digests]

    def event(self, job: Job, ticket_id: UUID, kind: str, data: Mapping[str, object]) -> None:
        """Plan a line in the ticket's history."""
        self._events.append((job.org_id, ticket_id, kind, orjson.dumps(data).decode(), job.trace_id))

    def write(self, connection: Connection) -> None:
        """Write everything, parents first."""
        copy_rows(connection, "tickets", _TICKET, self._tickets)
        reopened = self._touch(connection) if self._touched else []
        copy_rows(connection, "ticket_messages", _LINK, self._link_rows())
        copy_rows(connection, "thread_keys", ("org_id", "digest", "ticket_id"), self._keys)
        copy_rows(connection, "events", ("org_id", "ticket_id", "kind", "data", "trace_id"), self._events)
        clocks.note_status(connection, self._answered.union(reopened), because="mail")

    def _touch(self, connection: Connection) -> list[UUID]:
        """Write what tickets that exist get, and return those that are open again."""
        values = {name: [row[name] for row in self._touched] for name in self._touched[0]}
        return [row.id for row in connection.execute(_TOUCH, values) if row.reopens]

    def _link_rows(self) -> list[tuple[Any, ...]]:
        own: dict[tuple[UUID, str], list[UUID]] = {}
        for org_id, ticket_id, link in self._links:
            own_id = self._message(link.message_id).facts.rfc_message_id
            if own_id:
                own.setdefault((org_id, own_id), []).append(ticket_id)
        rows = []
        for org_id, ticket_id, link in self._links:
            rejected = self._rejected(org_id, ticket_id, link, own)
            said = (link.reason.value, link.confidence.value, link.evidence)
            rows.append((link.message_id, org_id, ticket_id, *said, rejected, RULES_VERSION))
        return rows

    def _rejected(
        self, org_id: UUID, ticket_id: UUID, link: Link, own: Mapping[tuple[UUID, str], Sequence[UUID]]
    ) -> str | None:
        """Return as JSON the tickets that a message's references name and its sender may not speak in."""
        message, around = self._message(link.message_id), self._around[link.message_id]
        found: dict[UUID, str] = {}
        for reference in message.references:
            stored = [self.moved.get(one, one) for one in around.named.get(reference, ())]
            for other in (*stored, *own.get((org_id, reference), ())):
                if other != ticket_id:
                    found.setdefault(other, reference)
        if not found:
            return None
        apart = {pair for pair in around.apart if ticket_id in pair}
        why = f"{message.facts.sender or 'nobody'} is none of its people"
        said = [
            {
                "ticket_id": str(other),
                "reference": reference[:200],
                "why_not": "a person took them apart" if any(other in pair for pair in apart) else why,
            }
            for other, reference in list(found.items())[:_REJECTED]
        ]
        return orjson.dumps(said).decode()
