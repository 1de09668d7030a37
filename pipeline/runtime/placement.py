"""Stitching done again over everything an organization has: what would move, and moving it.

What a person placed or took apart, what we sent, and what a signed address proved stays where it is and draws the rest.
Reading needs no lock; moving takes the stitching lock for as long as it moves, and leaves alone whatever is not as it
was read. Takes about 1.5 KB of memory a message.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import StitchReason
from pipeline.core import ticket_codes
from pipeline.core.thread_keys import keys_of
from pipeline.core.threading import Forest
from pipeline.runtime import field_regrouping, regrouping, stitching
from pipeline.runtime.ticket_locks import lock_tickets

_CHUNK = 1_000
_LINKS = text("""
    SELECT l.message_id, l.ticket_id, l.reason, l.is_pinned
      FROM ticket_messages l JOIN messages m ON m.id = l.message_id
     WHERE l.org_id = :org ORDER BY m.received_at, m.id
""")
_APART = text("SELECT one_id, other_id FROM held_apart WHERE org_id = :org")
#: A merge by a person joins without evidence: one message of each ticket stands for it.
_BY_PEOPLE = text("""
    SELECT g.id, array_agg(first.message_id) AS message_ids
      FROM regroupings g
     CROSS JOIN LATERAL (SELECT min(r.message_id) AS message_id FROM regrouped r
                          WHERE r.regrouping_id = g.id AND r.message_id IS NOT NULL GROUP BY r.from_ticket_id) AS first
     WHERE g.org_id = :org AND g.kind = 'merge' AND g.undone_at IS NULL AND g.actor <> :system
       AND g.actor NOT LIKE :again || '%'
     GROUP BY g.id ORDER BY g.id
""")
_NOW = text("""
    SELECT l.ticket_id, array_agg(l.message_id) AS message_ids, bool_or(t.status = 'merged') AS is_merged
      FROM ticket_messages l JOIN tickets t ON t.id = l.ticket_id
     WHERE l.ticket_id = ANY(CAST(:ids AS uuid[])) GROUP BY l.ticket_id
""")
_NEW_ID = text("SELECT uuidv7()")
#: How the actor of a repetition begins.
AGAIN = "reprocess:"
#: These were proved by more than keys.
_PROVED = frozenset({StitchReason.OUTBOUND, StitchReason.REPLY_TOKEN})


@dataclass(frozen=True, slots=True)
class Conversation:
    """One conversation as the rules see it now, with at least one message that stands elsewhere.

    `members` are its messages by the ticket they stand in; `target` is the ticket it belongs in, None for a new one.
    """

    members: Mapping[UUID, tuple[int, ...]]
    target: UUID | None

    @property
    def moved(self) -> list[tuple[int, UUID]]:
        """Return the messages that stand in another ticket than this, and in which."""
        return [(one, ticket_id) for ticket_id, its in self.members.items() if ticket_id != self.target for one in its]


@dataclass(slots=True)
class _Standing:
    """What an organization's tickets hold."""

    whole: dict[UUID, set[int]] = field(default_factory=dict)
    tickets: dict[int, UUID] = field(default_factory=dict)
    proved: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Plan:
    """Every conversation that stands otherwise than the rules say, and what its tickets hold as they were read."""

    conversations: Sequence[Conversation]
    whole: Mapping[UUID, frozenset[int]]
    seen: int


def plan(connection: Connection, org_id: UUID) -> Plan:
    """Return what stitching everything again would change; changes nothing."""
    standing = _standing(connection, org_id)
    apart = [(row.one_id, row.other_id) for row in connection.execute(_APART, {"org": org_id})]
    forest = Forest([("ticket", one), ("ticket", other)] for one, other in apart)
    decided = {ticket_id for pair in apart for ticket_id in pair}
    for message_id, ticket_id in standing.tickets.items():
        if message_id in standing.proved or ticket_id in decided:
            forest.join(("message", message_id), ("ticket", ticket_id))
    for row in connection.execute(_BY_PEOPLE, {"org": org_id, "system": regrouping.SYSTEM, "again": AGAIN}):
        for message_id in row.message_ids[1:]:
            forest.join(("message", row.message_ids[0]), ("message", message_id))
    for message_id, digests in _digests(connection, org_id, list(standing.tickets)):
        for found in digests:
            forest.join(("message", message_id), ("key", found))
    conversations = _conversations(forest, standing)
    touched = {ticket_id for one in conversations for ticket_id in (*one.members, one.target) if ticket_id is not None}
    whole = {ticket_id: frozenset(standing.whole[ticket_id]) for ticket_id in touched}
    return Plan(conversations, whole, len(standing.tickets))


def _standing(connection: Connection, org_id: UUID) -> _Standing:
    found = _Standing()
    for row in connection.execute(_LINKS, {"org": org_id}):
        found.tickets[row.message_id] = row.ticket_id
        found.whole.setdefault(row.ticket_id, set()).add(row.message_id)
        if row.is_pinned or row.reason in _PROVED:
            found.proved.add(row.message_id)
    return found


def _digests(connection: Connection, org_id: UUID, message_ids: Sequence[int]) -> Iterator[tuple[int, list[bytes]]]:
    """Yield the keys of messages, the oldest message first."""
    how = stitching.rules(connection, org_id)
    for start in range(0, len(message_ids), _CHUNK):
        chunk = message_ids[start : start + _CHUNK]
        messages = stitching.read(connection, chunk, stitching.sightings(connection, chunk))
        for message_id in chunk:
            yield message_id, [key.digest for key in keys_of(messages[message_id].facts, how)]


def _conversations(forest: Forest, standing: _Standing) -> list[Conversation]:
    members: dict[Any, dict[UUID, list[int]]] = {}
    for message_id, ticket_id in standing.tickets.items():
        root = forest.find(("message", message_id))
        members.setdefault(root, {}).setdefault(ticket_id, []).append(message_id)
    chosen = _chosen(members, forest, standing)
    found = [
        Conversation({ticket_id: tuple(its) for ticket_id, its in by_ticket.items()}, chosen.get(root))
        for root, by_ticket in members.items()
    ]
    return [one for one in found if one.moved]


def _chosen(
    members: Mapping[Any, Mapping[UUID, Sequence[int]]], forest: Forest, standing: _Standing
) -> dict[Any, UUID]:
    """Return the ticket of each conversation: the one that something proved, else whose most messages it has.

    A ticket stays with one conversation, the largest part of it; of several that stay with one, the largest stands.
    """
    parts: dict[UUID, Counter[Any]] = {}
    for root, by_ticket in members.items():
        for ticket_id, its in by_ticket.items():
            parts.setdefault(ticket_id, Counter())[root] = len(its)
    homes: dict[Any, list[UUID]] = {}
    for ticket_id, counted in parts.items():
        own = forest.find(("ticket", ticket_id))
        home = own if own in members and ticket_id in members[own] else counted.most_common(1)[0][0]
        homes.setdefault(home, []).append(ticket_id)
    proved = {standing.tickets[message_id] for message_id in standing.proved}
    return {
        root: max(tickets, key=lambda one: (one in proved, len(members[root][one]), -one.int))
        for root, tickets in homes.items()
    }


@dataclass(frozen=True, slots=True)
class Applied:
    """Which messages were moved, and which were left: their tickets had changed since they were read."""

    moved: Mapping[int, UUID]
    left: Sequence[int]


def apply(connection: Connection, org_id: UUID, found: Plan, *, actor: str, reason: str) -> Applied:
    """Move what a plan says, each step a regrouping that can be undone; again moves nothing."""
    stitching.lock(connection, org_id)
    lock_tickets(connection, found.whole)
    rows = connection.execute(_NOW, {"ids": list(found.whole)})
    now = {row.ticket_id: frozenset(row.message_ids) for row in rows if not row.is_merged}
    moved: dict[int, UUID] = {}
    left: list[int] = []
    changed = {ticket_id for ticket_id, its in found.whole.items() if now.get(ticket_id) != its}
    for one in found.conversations:
        if changed & {*one.members, one.target}:
            left += [message_id for message_id, _ in one.moved]
        else:
            moved |= _move(connection, org_id, one, now, actor=actor, reason=reason)
    # Once for all: each ticket's messages are read once, however many conversations left it.
    touched = {*now, *moved.values()} if moved else set()
    stitching.rekey(connection, org_id, sorted(touched))
    return Applied(moved, left)


def _move(
    connection: Connection,
    org_id: UUID,
    one: Conversation,
    whole: dict[UUID, frozenset[int]],
    *,
    actor: str,
    reason: str,
) -> dict[int, UUID]:
    """Bring a conversation together: whole tickets merge, parts are split off first."""
    target, losers = one.target, []
    for ticket_id, its in one.members.items():
        if ticket_id == target:
            continue
        part = ticket_id
        if whole[ticket_id] != frozenset(its):
            part = _split(connection, org_id, ticket_id, its, whole, actor=actor, reason=reason)
        if target is None:
            target = part
        else:
            losers.append(part)
    assert target is not None
    if losers:
        target, losers = field_regrouping.chosen(connection, target, losers)
        regrouping.merge(connection, org_id, target, losers, actor=actor, reason=reason)
    whole[target] = frozenset().union(*one.members.values())
    return {message_id: target for message_id, _ in one.moved}


def _split(
    connection: Connection,
    org_id: UUID,
    ticket_id: UUID,
    message_ids: Sequence[int],
    whole: dict[UUID, frozenset[int]],
    *,
    actor: str,
    reason: str,
) -> UUID:
    new_id: UUID = connection.execute(_NEW_ID).scalar_one()
    fresh = (new_id, ticket_codes.ticket_code(secrets.token_bytes(ticket_codes.CODE_BYTES)))
    whole[ticket_id] -= frozenset(message_ids)
    regrouping.split(
        connection, org_id, ticket_id, fresh,
        message_ids=message_ids, actor=actor, reason=reason, is_final=False,
    )  # fmt: skip
    whole[new_id] = frozenset(message_ids)
    return new_id
