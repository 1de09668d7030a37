"""Stitch: joins messages to tickets, whatever order they came in, with the reason kept; conversations that turn out
to be one are merged.

Merge rule: the ticket with more open work orders stays, then the one with the older first message; the other becomes
`merged`, its messages, keys and work orders move, and later replies follow because the keys do. A matter that is open
stays open: an ended ticket that an open one merges into is open again.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, text

from models.enums import StitchReason
from pipeline.core import ticket_codes
from pipeline.core.threading import Group, Key, Link, Node, assemble, digest, winner
from pipeline.ports import Ports
from pipeline.runtime.db import copy_rows
from pipeline.runtime.jobs import Emit, Job
from pipeline.stage import Stage, Work

#: One stitcher at a time per organization: set-wise stitching without it gave another, wrong number of threads in
#: every concurrent run, and the lock costs about 20 us a message (perf-anchors, section 7).
_LOCK = text("SELECT pg_advisory_xact_lock(hashtext('stitch'), hashtext(CAST(:org AS text)))")

_LOAD = text("""
    SELECT o.id, o.org_id, o.message_id, o.mailbox_id, o.thread_id, m.rfc_message_id, m.received_at, m.subject,
           m.subject_norm, m.from_address, m.from_name, m.machine, m.direction, m.fingerprint, l.ticket_id,
           (SELECT array_agg(r.reference ORDER BY r.position) FROM message_references r
             WHERE r.message_id = m.id AND r.kind = 'in_reply_to') AS in_reply_to,
           (SELECT array_agg(r.reference ORDER BY r.position DESC) FROM message_references r
             WHERE r.message_id = m.id AND r.kind = 'references') AS "references"
      FROM occurrences o JOIN messages m ON m.id = o.message_id
      LEFT JOIN ticket_messages l ON l.message_id = o.message_id
     WHERE o.id = ANY(CAST(:ids AS bigint[])) AND o.state IN ('parsed', 'quarantined')
""")
_KNOWN = text("""
    SELECT digest, ticket_id FROM thread_keys WHERE org_id = :org AND digest = ANY(CAST(:digests AS bytea[]))
""")
_RANK = text("""
    SELECT t.id, t.first_message_at,
           (SELECT count(*) FROM work_orders w
             WHERE w.ticket_id = t.id AND w.state IN ('created', 'in_progress')) AS work
      FROM tickets t WHERE t.id = ANY(CAST(:ids AS uuid[]))
""")
#: Stitch, routing, triage and dispatch all lock tickets in the order of their ids, so that none waits in a circle.
_LOCK_TICKETS = text("SELECT id FROM tickets WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY id FOR NO KEY UPDATE")
_NEW_IDS = text("SELECT uuidv7() AS id FROM generate_series(1, :count)")
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
""")
_MERGE = (
    text("UPDATE thread_keys SET ticket_id = :winner WHERE ticket_id = ANY(CAST(:losers AS uuid[]))"),
    text("UPDATE ticket_messages SET ticket_id = :winner WHERE ticket_id = ANY(CAST(:losers AS uuid[]))"),
    text("UPDATE work_orders SET ticket_id = :winner WHERE ticket_id = ANY(CAST(:losers AS uuid[]))"),
    text("UPDATE tickets SET merged_into = :winner WHERE merged_into = ANY(CAST(:losers AS uuid[]))"),
    text("""
        UPDATE tickets w SET first_message_at = least(w.first_message_at, l.first_at),
                             last_message_at = greatest(w.last_message_at, l.last_at),
                             last_activity_at = greatest(w.last_activity_at, l.last_at),
                             status = CASE WHEN l.is_open AND w.status IN ('resolved', 'closed', 'spam') THEN 'open'
                                           ELSE w.status END,
                             closed_at = CASE WHEN l.is_open THEN NULL ELSE w.closed_at END,
                             dispatch_state = CASE
                                 WHEN w.dispatch_state IN ('NEW', 'TRIAGED') AND l.is_ready THEN 'READY_TO_SCHEDULE'
                                 WHEN w.dispatch_state = 'NEW' AND l.is_triaged THEN 'TRIAGED'
                                 ELSE w.dispatch_state END,
                             version = version + 1
          FROM (SELECT min(first_message_at) AS first_at, max(last_message_at) AS last_at,
                       bool_or(dispatch_state = 'READY_TO_SCHEDULE') AS is_ready,
                       bool_or(dispatch_state = 'TRIAGED') AS is_triaged,
                       bool_or(status IN ('new', 'open', 'pending')) AS is_open
                  FROM tickets WHERE id = ANY(CAST(:losers AS uuid[]))) AS l
         WHERE w.id = :winner
    """),
    text("""
        UPDATE tickets SET status = 'merged', merged_into = :winner, closed_at = coalesce(closed_at, now()),
                           version = version + 1
         WHERE id = ANY(CAST(:losers AS uuid[]))
    """),
)
_COLLISIONS = text("""
    UPDATE messages m SET collision_group_id = CAST(encode(substring(m.fingerprint FROM 1 FOR 16), 'hex') AS uuid)
      FROM (SELECT org_id, fingerprint FROM messages
             WHERE org_id = :org AND fingerprint = ANY(CAST(:fingerprints AS bytea[]))
             GROUP BY org_id, fingerprint HAVING count(*) > 1) AS twins
     WHERE m.org_id = twins.org_id AND m.fingerprint = twins.fingerprint AND m.collision_group_id IS NULL
""")
_TOKENS = text("""
    WITH ours AS MATERIALIZED (
        SELECT message_id, address FROM message_addresses
         WHERE message_id = ANY(CAST(:ids AS bigint[])) AND address LIKE 'ticket+%'
    )
    SELECT o.message_id, o.address, coalesce(t.merged_into, t.id) AS ticket_id
      FROM ours o
      JOIN tickets t ON t.org_id = :org AND t.code = split_part(split_part(substr(o.address, 8), '.', 1), '@', 1)
""")
_STITCHED = text("UPDATE occurrences SET state = 'stitched' WHERE id = ANY(CAST(:ids AS bigint[]))")
_TICKET = (
    "id", "org_id", "code", "subject", "subject_norm", "requester_email", "requester_name", "first_message_at",
    "last_message_at", "last_activity_at",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sighting:
    """One parsed occurrence with its message's facts, and the keys of the whole batch that are known already.

    `tokens` are the message's addresses that look like ours, each with the ticket it names; still to be verified.
    """

    row: Any
    node: Node[UUID]
    known: Mapping[bytes, UUID]
    tokens: tuple[tuple[str, UUID], ...] = ()


def load(connection: Connection, jobs: Sequence[Job]) -> Mapping[int, Sighting]:
    """Take each organization's stitching lock, in order, and read the batch with what its keys lead to."""
    for org_id in sorted({job.org_id for job in jobs}):
        connection.execute(_LOCK, {"org": org_id})
    rows = {str(row.id): row for row in connection.execute(_LOAD, {"ids": [int(job.key) for job in jobs]})}
    nodes = {key: Node(row.message_id, row.received_at, tuple(_keys(row)), row.ticket_id) for key, row in rows.items()}
    known: dict[UUID, dict[bytes, UUID]] = {}
    tokens: dict[int, list[tuple[str, UUID]]] = {}
    for org_id in {row.org_id for row in rows.values()}:
        mine = [nodes[name] for name, row in rows.items() if row.org_id == org_id]
        digests = list({key.digest for node in mine for key in node.keys})
        found = connection.execute(_KNOWN, {"org": org_id, "digests": digests})
        known[org_id] = {row.digest: row.ticket_id for row in found}
        tokens |= _tokens(connection, org_id, [node.message_id for node in mine])
    return {
        job.job_id: Sighting(row, nodes[job.key], known[row.org_id], tuple(tokens.get(row.message_id, ())))
        for job in jobs
        if (row := rows.get(job.key)) is not None
    }


def _tokens(connection: Connection, org_id: UUID, message_ids: list[int]) -> dict[int, list[tuple[str, UUID]]]:
    tokens: dict[int, list[tuple[str, UUID]]] = {}
    for row in connection.execute(_TOKENS, {"org": org_id, "ids": message_ids}):
        tokens.setdefault(row.message_id, []).append((row.address, row.ticket_id))
    return tokens


def _keys(row: Any) -> Iterator[Key]:
    for reason, ids in (
        (StitchReason.IN_REPLY_TO, row.in_reply_to),
        (StitchReason.REFERENCES, row.references),
        (StitchReason.REFERENCED_BY, [row.rfc_message_id] if row.rfc_message_id else []),
    ):
        for value in ids or ():
            yield Key(reason, digest("id", value), value[:200])
    if row.thread_id:
        shown = f"provider thread {row.thread_id[:100]}"
        yield Key(StitchReason.PROVIDER_THREAD, digest("thread", f"{row.mailbox_id}:{row.thread_id}"), shown)


def work(items: Sequence[Sighting], ports: Ports) -> Sequence[Group[UUID]]:
    """Give each occurrence the conversation it belongs to."""
    by_org: dict[UUID, list[Sighting]] = {}
    for item in items:
        by_org.setdefault(item.row.org_id, []).append(item)
    groups: dict[int, Group[UUID]] = {}
    for sightings in by_org.values():
        nodes = {item.node.message_id: _merged_node(item, sightings, ports) for item in sightings}
        for group in assemble(list(nodes.values()), sightings[0].known):
            groups.update({link.message_id: group for link in group.links})
    return [groups[item.node.message_id] for item in items]


def _merged_node(item: Sighting, sightings: Sequence[Sighting], ports: Ports) -> Node[UUID]:
    """Return one node for a message that stands in the batch several times: each sighting has its provider thread."""
    same = [other.node for other in sightings if other.node.message_id == item.node.message_id]
    keys = dict.fromkeys(key for node in same for key in node.keys)
    signed = (ticket_id for address, ticket_id in item.tokens if ports.reply_tokens.verify(address))
    return Node(item.node.message_id, item.node.at, tuple(keys), item.node.ticket, next(signed, None))


def save(connection: Connection, works: Sequence[Work[Sighting, Group[UUID]]]) -> Sequence[Emit]:
    """Open, join and merge tickets as the conversations say, and link every message once."""
    rows = {done.item.node.message_id: done.item.row for done in works}
    groups = {done.result.links[0].message_id: (done.job, done.result) for done in works}
    fresh_ids = _new_ids(connection, sum(not group.tickets for _, group in groups.values()))
    connection.execute(_LOCK_TICKETS, {"ids": [one for _, group in groups.values() for one in group.tickets]})
    plan = _Plan(rows)
    for job, group in groups.values():
        ticket_id = _resolve(connection, plan, job, group, fresh_ids)
        plan.link(job.org_id, ticket_id, group)
    plan.write(connection)
    for org_id in {row.org_id for row in rows.values()}:
        fingerprints = [row.fingerprint for row in rows.values() if row.org_id == org_id]
        connection.execute(_COLLISIONS, {"org": org_id, "fingerprints": fingerprints})
    connection.execute(_STITCHED, {"ids": [int(done.job.key) for done in works]})
    return [done.job.then("routing", done.job.key) for done in works]


def _new_ids(connection: Connection, count: int) -> Iterator[UUID]:
    rows = connection.execute(_NEW_IDS, {"count": count}) if count else ()
    return iter([row.id for row in rows])


def _resolve(connection: Connection, plan: _Plan, job: Job, group: Group[UUID], fresh_ids: Iterator[UUID]) -> UUID:
    if not group.tickets:
        ticket_id = next(fresh_ids)
        plan.open(job, ticket_id, group)
        return ticket_id
    if len(group.tickets) == 1:
        (ticket_id,) = group.tickets
    else:
        ticket_id = _merge(connection, plan, job, group)
    plan.touch(ticket_id, group)
    return ticket_id


def _merge(connection: Connection, plan: _Plan, job: Job, group: Group[UUID]) -> UUID:
    found = connection.execute(_RANK, {"ids": list(group.tickets)})
    ticket_id: UUID = winner(group.tickets, {row.id: (row.work, row.first_message_at) for row in found})
    losers = sorted(group.tickets - {ticket_id})
    for statement in _MERGE:
        connection.execute(statement, {"winner": ticket_id, "losers": losers})
    for loser in losers:
        plan.event(job, ticket_id, "ticket.merged", {"merged": str(loser), "because": group.links[-1].evidence})
    return ticket_id


class _Plan:
    """What a batch writes: gathered row by row, written set-wise."""

    def __init__(self, rows: Mapping[int, Any]) -> None:
        self._rows = rows
        self._tickets: list[tuple[Any, ...]] = []
        self._links: list[tuple[Any, ...]] = []
        self._keys: list[tuple[Any, ...]] = []
        self._events: list[tuple[Any, ...]] = []
        self._touched: list[dict[str, Any]] = []

    def open(self, job: Job, ticket_id: UUID, group: Group[UUID]) -> None:
        """Plan a new ticket, named and asked by its oldest message."""
        first, last = self._rows[group.links[0].message_id], self._rows[group.links[-1].message_id]
        code = ticket_codes.ticket_code(secrets.token_bytes(10))
        asked = (first.subject, first.subject_norm, first.from_address, first.from_name)
        times = (first.received_at, last.received_at, last.received_at)
        self._tickets.append((ticket_id, job.org_id, code, *asked, *times))
        self.event(job, ticket_id, "ticket.opened", {"code": code})

    def touch(self, ticket_id: UUID, group: Group[UUID]) -> None:
        """Plan what new messages mean for a ticket that exists."""
        rows = [self._rows[link.message_id] for link in group.links if self._rows[link.message_id].ticket_id is None]
        if not rows:
            return
        asked = [row.received_at for row in rows if row.machine is None and row.direction == "inbound"]
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

    def link(self, org_id: UUID, ticket_id: UUID, group: Group[UUID]) -> None:
        """Plan the links of messages that have none, and the keys nobody knew."""
        self._links += [
            (link.message_id, org_id, ticket_id, link.reason.value, link.confidence.value, link.evidence)
            for link in group.links
            if self._is_new(link)
        ]
        self._keys += [(org_id, found, ticket_id) for found in group.new_digests]

    def _is_new(self, link: Link) -> bool:
        return self._rows[link.message_id].ticket_id is None

    def event(self, job: Job, ticket_id: UUID, kind: str, data: Mapping[str, str]) -> None:
        """Plan a line in the ticket's history."""
        self._events.append((job.org_id, ticket_id, kind, orjson.dumps(data).decode(), job.trace_id))

    def write(self, connection: Connection) -> None:
        """Write everything, parents first."""
        copy_rows(connection, "tickets", _TICKET, self._tickets)
        if self._touched:
            connection.execute(_TOUCH, {name: [row[name] for row in self._touched] for name in self._touched[0]})
        columns = ("message_id", "org_id", "ticket_id", "reason", "confidence", "evidence")
        copy_rows(connection, "ticket_messages", columns, self._links)
        copy_rows(connection, "thread_keys", ("org_id", "digest", "ticket_id"), self._keys)
        copy_rows(connection, "events", ("org_id", "ticket_id", "kind", "data", "trace_id"), self._events)


STAGE = Stage(
    name="stitch",
    about="Joins messages to tickets, whatever order they came in.",
    load=load,
    work=work,
    save=save,
    emits=("routing",),
    batch=200,
    by_occurrence=True,
)
