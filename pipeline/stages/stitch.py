"""Stitch: joins messages to tickets, whatever order they came in, with the reason kept; conversations that turn out
to be one are merged.

What joins is decided by `pipeline.core.thread_keys` and `pipeline.core.threading`; merging, and how it is undone, is in
`pipeline.runtime.regrouping`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from pipeline.core.threading import Group, Node, assemble, winner
from pipeline.ports import Ports
from pipeline.runtime import collisions, regrouping, stitching
from pipeline.runtime.jobs import Emit, Job
from pipeline.runtime.stitching import Message, Surroundings
from pipeline.runtime.ticket_locks import lock_tickets
from pipeline.runtime.ticket_plan import Plan
from pipeline.stage import Stage, Work

_LOAD = text("""
    SELECT o.id, o.org_id, o.message_id, o.mailbox_id, o.thread_id FROM occurrences o
     WHERE o.id = ANY(CAST(:ids AS bigint[])) AND o.message_id IS NOT NULL AND o.state IN ('parsed', 'quarantined')
""")
_NEW_IDS = text("SELECT uuidv7() AS id FROM generate_series(1, :count)")
_STITCHED = text("UPDATE occurrences SET state = 'stitched' WHERE id = ANY(CAST(:ids AS bigint[]))")


@dataclass(frozen=True, slots=True)
class Sighting:
    """One parsed occurrence's message, among the others of its batch."""

    message_id: int
    around: Surroundings


def load(connection: Connection, jobs: Sequence[Job]) -> Mapping[int, Sighting]:
    """Read the batch, take each organization's stitching lock, in order, and read what its keys lead to."""
    rows = {str(row.id): row for row in connection.execute(_LOAD, {"ids": [int(job.key) for job in jobs]})}
    by_org: dict[UUID, list[Any]] = {}
    for row in rows.values():
        by_org.setdefault(row.org_id, []).append(row)
    messages = {org_id: _messages(connection, found) for org_id, found in by_org.items()}
    around = {org_id: stitching.surroundings(connection, org_id, messages[org_id]) for org_id in sorted(by_org)}
    return {
        job.job_id: Sighting(rows[job.key].message_id, around[rows[job.key].org_id]) for job in jobs if job.key in rows
    }


def _messages(connection: Connection, rows: Sequence[Any]) -> dict[int, Message]:
    threads: dict[int, dict[tuple[str, str], None]] = {row.message_id: {} for row in rows}
    for row in rows:
        if row.thread_id:
            threads[row.message_id][str(row.mailbox_id), row.thread_id] = None
    return stitching.read(connection, list(threads), {found: tuple(seen) for found, seen in threads.items()})


def work(items: Sequence[Sighting], ports: Ports) -> Sequence[Group[UUID]]:
    """Give each occurrence the conversation it belongs to."""
    groups: dict[int, Group[UUID]] = {}
    for around in {id(item.around): item.around for item in items}.values():
        mine = {item.message_id for item in items if item.around is around}
        nodes = [_verified(around.nodes[message_id], around, ports) for message_id in mine]
        for group in assemble(nodes, around.known, around.apart):
            groups.update({link.message_id: group for link in group.links})
    return [groups[item.message_id] for item in items]


def _verified(node: Node[UUID], around: Surroundings, ports: Ports) -> Node[UUID]:
    """Return the node with the ticket that the first signed address of its message proves."""
    for address, ticket_id in around.tokens.get(node.message_id, ()):
        if ports.reply_tokens.verify(address):
            return replace(node, token=ticket_id, token_shown=address)
    return node


def save(connection: Connection, works: Sequence[Work[Sighting, Group[UUID]]]) -> Sequence[Emit]:
    """Open, join and merge tickets as the conversations say, and link every message once."""
    groups = {done.result.links[0].message_id: done for done in works}
    fresh_ids = _new_ids(connection, sum(not done.result.tickets for done in groups.values()))
    lock_tickets(connection, [one for done in groups.values() for one in done.result.tickets])
    plan = Plan({done.item.message_id: done.item.around for done in works})
    for done in groups.values():
        ticket_id = _resolve(connection, plan, done.job, done.result, fresh_ids)
        plan.link(done.job.org_id, ticket_id, done.result)
    plan.write(connection)
    for org_id in {done.job.org_id for done in works}:
        mine = {done.item.message_id: done.item.around for done in works if done.job.org_id == org_id}
        fingerprints = [around.messages[message_id].row.fingerprint for message_id, around in mine.items()]
        collisions.mark(connection, org_id, fingerprints)
    connection.execute(_STITCHED, {"ids": [int(done.job.key) for done in works]})
    return [done.job.then("routing", done.job.key) for done in works]


def _new_ids(connection: Connection, count: int) -> Iterator[UUID]:
    rows = connection.execute(_NEW_IDS, {"count": count}) if count else ()
    return iter([row.id for row in rows])


def _resolve(connection: Connection, plan: Plan, job: Job, group: Group[UUID], fresh_ids: Iterator[UUID]) -> UUID:
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


def _merge(connection: Connection, plan: Plan, job: Job, group: Group[UUID]) -> UUID:
    ticket_id: UUID = winner(group.tickets, regrouping.ranks(connection, group.tickets))
    losers = sorted(group.tickets - {ticket_id})
    because = group.links[-1].evidence
    regrouping_id = regrouping.merge(connection, job.org_id, ticket_id, losers, reason=because)
    for loser in losers:
        data = {"merged": str(loser), "because": because, "regrouping_id": regrouping_id}
        plan.event(job, ticket_id, "ticket.merged", data)
    plan.moved |= dict.fromkeys(losers, ticket_id)
    return ticket_id


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
