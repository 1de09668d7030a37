"""What stitching reads and keeps: the facts of messages, the keys that lead to tickets, and who may not be joined."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.enums import StitchReason
from pipeline.core import participants
from pipeline.core.policies import OrganizationPolicy
from pipeline.core.thread_keys import Facts, Rules, keys_of
from pipeline.core.threading import Node
from pipeline.runtime import field_regrouping
from pipeline.runtime.logs import get_logger

#: One stitcher at a time per organization: set-wise stitching without it gave another, wrong number of threads in
#: every concurrent run, and the lock costs about 20 us a message (perf-anchors, section 7).
_LOCK = text("SELECT pg_advisory_xact_lock(hashtext('stitch'), hashtext(CAST(:org AS text)))")

_RULES = text("""
    SELECT o.policy, array_agg(m.address) FILTER (WHERE m.address IS NOT NULL) AS addresses,
           ARRAY(SELECT from_email FROM send_identities WHERE org_id = o.id AND status = 'verified') AS identities
      FROM organizations o LEFT JOIN mailboxes m ON m.org_id = o.id
     WHERE o.id = :org GROUP BY o.id
""")
_FACTS = text("""
    SELECT m.id, m.rfc_message_id, m.received_at, m.subject, m.subject_norm, m.from_address, m.from_name, m.machine,
           m.direction, m.list_id, m.fingerprint, r.in_reply_to, r."references", r.reported, a.recipients, a.reply_to,
           a.recipients IS NULL AND NOT EXISTS (SELECT FROM occurrence_recipients e
                                                 WHERE e.message_id = m.id AND e.source <> 'unknown') AS is_unaddressed
      FROM messages m
      LEFT JOIN LATERAL (
          SELECT array_agg(reference ORDER BY position) FILTER (WHERE kind = 'in_reply_to') AS in_reply_to,
                 array_agg(reference ORDER BY position DESC) FILTER (WHERE kind = 'references') AS "references",
                 array_agg(reference ORDER BY position) FILTER (WHERE kind = 'reported') AS reported
            FROM message_references WHERE message_id = m.id) r ON true
      LEFT JOIN LATERAL (
          SELECT array_agg(address ORDER BY role DESC, position) FILTER (WHERE role IN ('to', 'cc')) AS recipients,
                 array_agg(address ORDER BY position) FILTER (WHERE role = 'reply_to') AS reply_to
            FROM message_addresses WHERE message_id = m.id AND position < 100) a ON true
     WHERE m.id = ANY(CAST(:ids AS bigint[]))
""")
_SIGHTINGS = text("""
    SELECT r.message_id, o.mailbox_id, o.thread_id
      FROM occurrence_recipients r JOIN occurrences o ON o.id = r.occurrence_id
     WHERE r.message_id = ANY(CAST(:ids AS bigint[])) AND o.thread_id IS NOT NULL
""")
_LINKED = text("SELECT message_id, ticket_id FROM ticket_messages WHERE message_id = ANY(CAST(:ids AS bigint[]))")
_KNOWN = text("""
    SELECT digest, ticket_id FROM thread_keys WHERE org_id = :org AND digest = ANY(CAST(:digests AS bytea[]))
""")
_TOKENS = text("""
    WITH ours AS MATERIALIZED (
        SELECT message_id, address, role, position, substring(address FROM '[+](tkt-[a-z2-7]{16})[.]') AS code
          FROM message_addresses
         WHERE message_id = ANY(CAST(:ids AS bigint[])) AND address LIKE '%+tkt-%'
    )
    SELECT o.message_id, o.address, coalesce(t.merged_into, t.id) AS ticket_id
      FROM ours o JOIN tickets t ON t.org_id = :org AND t.code = o.code
     ORDER BY o.message_id, o.role DESC, o.position
""")
#: Where messages with these ids stand: at most five each, for a hostile id may be anybody's.
_NAMED = text("""
    SELECT n.reference, found.ticket_id
      FROM unnest(CAST(:references AS text[])) AS n(reference)
      CROSS JOIN LATERAL (
          SELECT l.ticket_id FROM messages m JOIN ticket_messages l ON l.message_id = m.id
           WHERE m.org_id = :org AND m.rfc_message_id IS NOT NULL
             AND hashtextextended(m.rfc_message_id, 0) = hashtextextended(n.reference, 0)
             AND m.rfc_message_id = n.reference
           ORDER BY m.id LIMIT 5) AS found
""")
_APART = text("""
    SELECT one_id, other_id FROM held_apart
     WHERE one_id = ANY(CAST(:ids AS uuid[])) AND other_id = ANY(CAST(:ids AS uuid[]))
""")
_REGISTER = text("""
    INSERT INTO thread_keys (org_id, digest, ticket_id)
    SELECT :org, digest, :ticket FROM unnest(CAST(:digests AS bytea[])) AS t(digest) ORDER BY digest
        ON CONFLICT DO NOTHING
""")


_STANDING = text("""
    SELECT message_id, ticket_id FROM ticket_messages WHERE ticket_id = ANY(CAST(:ids AS uuid[])) ORDER BY message_id
""")
_FORGET = text("DELETE FROM thread_keys WHERE ticket_id = ANY(CAST(:ids AS uuid[]))")
_KEEP = text("""
    INSERT INTO thread_keys (org_id, digest, ticket_id)
    SELECT :org, digest, ticket_id
      FROM unnest(CAST(:digests AS bytea[]), CAST(:tickets AS uuid[])) AS t(digest, ticket_id)
     ORDER BY digest
        ON CONFLICT DO NOTHING
""")
_CHUNK = 1_000


@dataclass(frozen=True, slots=True)
class Message:
    """A message as stitching sees it: its row, and the facts that its keys are made of."""

    row: Row[Any]
    facts: Facts

    @property
    def references(self) -> tuple[str, ...]:
        """Return every id it names, strongest evidence first."""
        return tuple(dict.fromkeys((*self.facts.in_reply_to, *self.facts.references)))


@dataclass(frozen=True, slots=True)
class Surroundings:
    """An organization's part of a batch, and what it leads to in what is stored; read under the stitching lock."""

    how: Rules
    messages: Mapping[int, Message]
    nodes: Mapping[int, Node[UUID]]
    known: Mapping[bytes, UUID]
    apart: Sequence[tuple[UUID, UUID]]
    #: By message the addresses that look like ours, each with the ticket it names; still to be verified.
    tokens: Mapping[int, Sequence[tuple[str, UUID]]]
    named: Mapping[str, Sequence[UUID]]


def lock(connection: Connection, org_id: UUID) -> None:
    """Make the caller the organization's only stitcher until its transaction ends; before it locks any ticket."""
    connection.execute(_LOCK, {"org": org_id})


def rules(connection: Connection, org_id: UUID) -> Rules:
    """Return how an organization stitches: its mailboxes and sending addresses are "we"."""
    row = connection.execute(_RULES, {"org": org_id}).one()
    addresses = frozenset([*(row.addresses or ()), *row.identities])
    own = {participants.token(address) for address in addresses}
    try:
        policy = OrganizationPolicy.read(row.policy)
    except ValueError as error:  # written past `fieldpost policy`: no mail waits for its correction
        get_logger().error("policy.unreadable", org_id=str(org_id), error=str(error))
        return Rules(frozenset(own), addresses)
    own |= {f"@{domain}" for domain in policy.own_domains}
    return Rules(frozenset(own), addresses, policy.subject_window)


def sightings(connection: Connection, message_ids: Sequence[int]) -> dict[int, tuple[tuple[str, str], ...]]:
    """Return the provider threads that messages were seen in, by message."""
    found: dict[int, list[tuple[str, str]]] = {}
    for row in connection.execute(_SIGHTINGS, {"ids": list(message_ids)}):
        found.setdefault(row.message_id, []).append((str(row.mailbox_id), row.thread_id))
    return {message_id: tuple(threads) for message_id, threads in found.items()}


def read(
    connection: Connection, message_ids: Sequence[int], threads: Mapping[int, tuple[tuple[str, str], ...]]
) -> dict[int, Message]:
    """Return messages with their facts, by id; they never change, so no lock is needed."""
    rows = connection.execute(_FACTS, {"ids": list(message_ids)})
    return {row.id: Message(row, _facts(row, threads.get(row.id, ()))) for row in rows}


def _facts(row: Row[Any], threads: tuple[tuple[str, str], ...]) -> Facts:
    return Facts(
        message_id=row.id,
        at=row.received_at,
        rfc_message_id=row.rfc_message_id,
        in_reply_to=tuple(row.in_reply_to or ()),
        references=tuple(row.references or ()),
        reported=tuple(row.reported or ()) if row.machine == "bounce" else (),
        sender=row.from_address,
        recipients=tuple(row.recipients or ()),
        reply_to=tuple(row.reply_to or ()),
        subject_norm=row.subject_norm,
        is_outbound=row.direction == "outbound",
        is_list=row.machine == "mailing_list",
        list_id=row.list_id,
        is_unaddressed=row.is_unaddressed,
        threads=threads,
    )


def linked(connection: Connection, message_ids: Sequence[int]) -> dict[int, UUID]:
    """Return the ticket of each message that has one."""
    return {row.message_id: row.ticket_id for row in connection.execute(_LINKED, {"ids": list(message_ids)})}


def known(connection: Connection, org_id: UUID, keys: Iterable[bytes]) -> dict[bytes, UUID]:
    """Return the ticket of each key that some message had before."""
    found = connection.execute(_KNOWN, {"org": org_id, "digests": list(keys)})
    return {row.digest: row.ticket_id for row in found}


def tokens(connection: Connection, org_id: UUID, message_ids: Sequence[int]) -> dict[int, list[tuple[str, UUID]]]:
    """Return by message the addresses that look like ours, each with the ticket it names; still to be verified."""
    found: dict[int, list[tuple[str, UUID]]] = {}
    for row in connection.execute(_TOKENS, {"org": org_id, "ids": list(message_ids)}):
        found.setdefault(row.message_id, []).append((row.address, row.ticket_id))
    return found


def named(connection: Connection, org_id: UUID, references: Iterable[str]) -> dict[str, list[UUID]]:
    """Return where messages with these ids stand, whoever may speak of them."""
    wanted = list(dict.fromkeys(references))
    found: dict[str, list[UUID]] = {}
    if wanted:
        for row in connection.execute(_NAMED, {"org": org_id, "references": wanted}):
            found.setdefault(row.reference, []).append(row.ticket_id)
    return found


def apart(connection: Connection, tickets: Iterable[UUID]) -> list[tuple[UUID, UUID]]:
    """Return the pairs among tickets that a person took apart, or that people work on in the field."""
    ids = list(set(tickets))
    if len(ids) < 2:
        return []
    held = [(row.one_id, row.other_id) for row in connection.execute(_APART, {"ids": ids})]
    return [*held, *field_regrouping.pairs(connection, ids)]


def register(connection: Connection, org_id: UUID, ticket_id: UUID, message_ids: Sequence[int]) -> None:
    """Let answers to messages that were put into a ticket find it.

    Takes the organization's stitching lock: call it before any ticket is locked.
    """
    lock(connection, org_id)
    add_keys(connection, org_id, ticket_id, digests(connection, org_id, message_ids))


def digests(connection: Connection, org_id: UUID, message_ids: Sequence[int]) -> set[bytes]:
    """Return the keys of messages, by all their sightings."""
    how = rules(connection, org_id)
    messages = read(connection, message_ids, sightings(connection, message_ids)).values()
    return {key.digest for message in messages for key in keys_of(message.facts, how)}


def rekey(connection: Connection, org_id: UUID, ticket_ids: Sequence[UUID], *, but: Collection[int] = ()) -> None:
    """Give tickets the keys of the messages that stand in them, `but` some; what led to them otherwise leads nowhere.

    A key that messages of several have, which are held apart, leads to the one that carries its id, else to the oldest.
    """
    ids = list(ticket_ids)
    places = {row.message_id: row.ticket_id for row in connection.execute(_STANDING, {"ids": ids})}
    how = rules(connection, org_id)
    best: dict[bytes, tuple[tuple[bool, datetime, int], UUID]] = {}
    for message in _read_all(connection, [one for one in places if one not in but]):
        for key in keys_of(message.facts, how):
            rank = (key.reason is not StitchReason.REFERENCED_BY, message.facts.at, message.facts.message_id)
            if key.digest not in best or rank < best[key.digest][0]:
                best[key.digest] = (rank, places[message.facts.message_id])
    connection.execute(_FORGET, {"ids": ids})
    keep(connection, org_id, {found: ticket_id for found, (_, ticket_id) in best.items()})


def _read_all(connection: Connection, message_ids: Sequence[int]) -> Iterator[Message]:
    for start in range(0, len(message_ids), _CHUNK):
        chunk = message_ids[start : start + _CHUNK]
        yield from read(connection, chunk, sightings(connection, chunk)).values()


def register_all(connection: Connection, org_id: UUID, message_ids: Sequence[int]) -> None:
    """Add the keys that stored messages lack, each to its message's ticket. Takes the organization's stitching lock."""
    lock(connection, org_id)
    how = rules(connection, org_id)
    places = linked(connection, message_ids)
    for start in range(0, len(message_ids), _CHUNK):
        chunk = [one for one in message_ids[start : start + _CHUNK] if one in places]
        found = _read_all(connection, chunk)
        keep(
            connection,
            org_id,
            {key.digest: places[one.facts.message_id] for one in found for key in keys_of(one.facts, how)},
        )


def keep(connection: Connection, org_id: UUID, places: Mapping[bytes, UUID]) -> None:
    """Add keys with the tickets they lead to; those that lead somewhere already are left."""
    connection.execute(_KEEP, {"org": org_id, "digests": list(places), "tickets": list(places.values())})


def add_keys(connection: Connection, org_id: UUID, ticket_id: UUID, keys: Iterable[bytes]) -> None:
    """Add the keys that no message had before; the others lead where they led."""
    connection.execute(_REGISTER, {"org": org_id, "ticket": ticket_id, "digests": list(keys)})


def surroundings(connection: Connection, org_id: UUID, messages: Mapping[int, Message]) -> Surroundings:
    """Take the organization's stitching lock and return what its messages lead to."""
    how = rules(connection, org_id)
    keys = {message_id: keys_of(message.facts, how) for message_id, message in messages.items()}
    references = [one for message in messages.values() for one in message.references]
    lock(connection, org_id)
    links = linked(connection, list(messages))
    leads = known(connection, org_id, {key.digest for found in keys.values() for key in found})
    addressed = tokens(connection, org_id, list(messages))
    names = named(connection, org_id, references)
    nodes = {
        message_id: Node(message_id, message.facts.at, keys[message_id], links.get(message_id))
        for message_id, message in messages.items()
    }
    said = [ticket_id for found in addressed.values() for _, ticket_id in found]
    enemies = apart(connection, [*links.values(), *leads.values(), *said])
    return Surroundings(how, messages, nodes, leads, enemies, addressed, names)
