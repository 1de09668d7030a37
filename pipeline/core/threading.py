"""Stitching as union-find: which messages belong together, whatever order they came in.

A message and its keys (`pipeline.core.thread_keys`) are nodes of one forest; a group is a connected component, so the
partition depends only on the set of messages. Keys that were seen before carry the ticket they belong to; a group that
touches several tickets merges them, unless a person took them apart.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from models.enums import Confidence, StitchReason
from pipeline.core.thread_keys import Key

Ticket = TypeVar("Ticket", bound=Hashable)

#: Written on every link; a new number makes stored links worth comparing again.
RULES_VERSION = 2

_CONFIDENCE = {
    StitchReason.REPLY_TOKEN: Confidence.HIGH,
    StitchReason.DELIVERY_REPORT: Confidence.HIGH,
    StitchReason.IN_REPLY_TO: Confidence.MEDIUM,
    StitchReason.REFERENCES: Confidence.MEDIUM,
    StitchReason.REFERENCED_BY: Confidence.MEDIUM,
    StitchReason.PROVIDER_THREAD: Confidence.LOW,
    StitchReason.SUBJECT: Confidence.LOW,
    StitchReason.NEW_TICKET: Confidence.LOW,
}


@dataclass(frozen=True, slots=True)
class Node(Generic[Ticket]):
    """One message with its keys, strongest first.

    `ticket` is where it is linked already, `token` the ticket that a signed address (`token_shown`) names.
    """

    message_id: int
    at: datetime
    keys: tuple[Key, ...]
    ticket: Ticket | None = None
    token: Ticket | None = None
    token_shown: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """Why one message stands in its group."""

    message_id: int
    reason: StitchReason
    confidence: Confidence
    evidence: str


@dataclass(frozen=True, slots=True)
class Group(Generic[Ticket]):
    """One conversation: its messages of this batch oldest first, the tickets it touches, and the keys not yet known."""

    links: tuple[Link, ...]
    tickets: frozenset[Ticket]
    new_digests: tuple[bytes, ...]


class Forest:
    """Union-find with path halving over any hashable nodes; roots of tickets held apart are never joined."""

    def __init__(self, apart: Iterable[Collection[Hashable]] = ()) -> None:
        self._parent: dict[Hashable, Hashable] = {}
        #: By root: the roots it must not be joined with.
        self._enemies: dict[Hashable, set[Hashable]] = {}
        for one, other in apart:
            self._enemies.setdefault(one, set()).add(other)
            self._enemies.setdefault(other, set()).add(one)

    def find(self, node: Hashable) -> Hashable:
        """Return the root of a node."""
        parent = self._parent
        parent.setdefault(node, node)
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    def join(self, one: Hashable, other: Hashable) -> bool:
        """Join the trees of two nodes; False when they are held apart."""
        child, root = self.find(one), self.find(other)
        if child == root:
            return True
        if self._enemies and not self._befriend(child, root):
            return False
        self._parent[child] = root
        return True

    def _befriend(self, child: Hashable, root: Hashable) -> bool:
        enemies = {self.find(enemy) for enemy in self._enemies.get(child, ())}
        if root in enemies:
            return False
        self._enemies.setdefault(root, set()).update(enemies)
        for enemy in enemies:
            self._enemies.setdefault(enemy, set()).add(root)
        return True


def assemble(
    nodes: Sequence[Node[Ticket]], known: Mapping[bytes, Ticket], apart: Iterable[Collection[Ticket]] = ()
) -> list[Group[Ticket]]:
    """Return the conversations that the messages form with what is `known` (digest to ticket).

    Groups come in the order of their oldest message. Without pairs of tickets held `apart` nothing else depends on the
    order of `nodes`; with them each message, oldest first, follows its strongest evidence.
    """
    forest = Forest([("ticket", one), ("ticket", other)] for one, other in apart)
    for found, ticket in known.items():
        forest.join(("key", found), ("ticket", ticket))
    ordered = sorted(nodes, key=lambda node: (node.at, node.message_id))
    for node in ordered:
        for said in (node.ticket, node.token):
            if said is not None:
                forest.join(("message", node.message_id), ("ticket", said))
    for node in ordered:
        for key in node.keys:
            forest.join(("message", node.message_id), ("key", key.digest))
    members: dict[Hashable, list[Node[Ticket]]] = {}
    for node in ordered:
        members.setdefault(forest.find(("message", node.message_id)), []).append(node)
    tickets = _tickets_by_root(forest, nodes, known)
    return [_group(group, tickets.get(root, frozenset()), known, forest) for root, group in members.items()]


def _tickets_by_root(
    forest: Forest, nodes: Iterable[Node[Ticket]], known: Mapping[bytes, Ticket]
) -> dict[Hashable, frozenset[Ticket]]:
    said = [ticket for node in nodes for ticket in (node.ticket, node.token) if ticket is not None]
    found: dict[Hashable, set[Ticket]] = {}
    for ticket in {*known.values(), *said}:
        found.setdefault(forest.find(("ticket", ticket)), set()).add(ticket)
    return {root: frozenset(tickets) for root, tickets in found.items()}


def _group(
    nodes: Sequence[Node[Ticket]], tickets: frozenset[Ticket], known: Mapping[bytes, Ticket], forest: Forest
) -> Group[Ticket]:
    root = forest.find(("message", nodes[0].message_id))
    named: dict[bytes, set[int]] = {}
    for node in nodes:
        for key in node.keys:
            if forest.find(("key", key.digest)) == root:
                named.setdefault(key.digest, set()).add(node.message_id)
    believed = {found for found in named if known.get(found, None) in tickets}
    links = [_link(node, named, believed, tickets, is_first=not tickets and at == 0) for at, node in enumerate(nodes)]
    return Group(tuple(links), tickets, tuple(found for found in named if found not in known))


def _link(
    node: Node[Ticket],
    named: Mapping[bytes, set[int]],
    believed: Collection[bytes],
    tickets: frozenset[Ticket],
    *,
    is_first: bool,
) -> Link:
    if node.token in tickets and node.token is not None:
        return _because(node, StitchReason.REPLY_TOKEN, node.token_shown)
    if not is_first:
        for key in node.keys:
            if key.digest in believed or named.get(key.digest, set()) - {node.message_id}:
                return _because(node, key.reason, key.shown)
    return _because(node, StitchReason.NEW_TICKET, "first of its conversation")


def _because(node: Node[Ticket], reason: StitchReason, evidence: str) -> Link:
    return Link(node.message_id, reason, _CONFIDENCE[reason], evidence)


def winner(tickets: Iterable[Ticket], rank: Mapping[Ticket, tuple[int, datetime]]) -> Ticket:
    """Return the ticket that the others merge into: most open work first, then the oldest first message.

    `rank` gives per ticket (number of open work orders, first_message_at); ties go to the smaller id.
    """
    return min(tickets, key=lambda ticket: (-rank[ticket][0], rank[ticket][1], str(ticket)))
