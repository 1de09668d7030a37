"""Stitching as union-find: which messages belong together, whatever order they came in.

A message and every key it names (its own Message-ID, In-Reply-To, References, the provider's thread) are nodes of one
forest; missing parents are nodes too. A group is a connected component, so the partition depends only on the set of
messages. Keys that were seen before carry the ticket they belong to; a group that touches several tickets merges them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from models.enums import Confidence, StitchReason

Ticket = TypeVar("Ticket", bound=Hashable)

#: Strongest evidence first; the first that leads to another message or ticket is the reason shown.
_CONFIDENCE = {
    StitchReason.REPLY_TOKEN: Confidence.HIGH,
    StitchReason.IN_REPLY_TO: Confidence.MEDIUM,
    StitchReason.REFERENCES: Confidence.MEDIUM,
    StitchReason.REFERENCED_BY: Confidence.MEDIUM,
    StitchReason.PROVIDER_THREAD: Confidence.LOW,
    StitchReason.NEW_TICKET: Confidence.LOW,
}


@dataclass(frozen=True, slots=True)
class Key:
    """One node beside a message: why it connects, its digest, and what it says in words."""

    reason: StitchReason
    digest: bytes
    shown: str


@dataclass(frozen=True, slots=True)
class Node(Generic[Ticket]):
    """One message with its keys, strongest first; `ticket` is where it is linked already, or what its token names."""

    message_id: int
    at: datetime
    keys: tuple[Key, ...]
    ticket: Ticket | None = None
    token: Ticket | None = None


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


def digest(kind: str, value: str) -> bytes:
    """Return the key of a named thing: 16 bytes whatever the length of a hostile id."""
    return hashlib.sha256(f"{kind}:{value}".encode("utf-8", "surrogatepass")).digest()[:16]


class _Forest:
    """Union-find with path halving over any hashable nodes."""

    def __init__(self) -> None:
        self._parent: dict[Hashable, Hashable] = {}

    def find(self, node: Hashable) -> Hashable:
        parent = self._parent
        parent.setdefault(node, node)
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    def join(self, one: Hashable, other: Hashable) -> None:
        self._parent[self.find(one)] = self.find(other)


def assemble(nodes: Sequence[Node[Ticket]], known: Mapping[bytes, Ticket]) -> list[Group[Ticket]]:
    """Return the conversations that the messages form with what is `known` (digest to ticket).

    Groups come in the order of their oldest message; nothing else depends on the order of `nodes`.
    """
    forest = _Forest()
    for node in nodes:
        for key in node.keys:
            forest.join(("message", node.message_id), ("key", key.digest))
        for ticket in (node.ticket, node.token):
            if ticket is not None:
                forest.join(("message", node.message_id), ("ticket", ticket))
    for found, ticket in known.items():
        forest.join(("key", found), ("ticket", ticket))
    members: dict[Hashable, list[Node[Ticket]]] = {}
    for node in sorted(nodes, key=lambda node: (node.at, node.message_id)):
        members.setdefault(forest.find(("message", node.message_id)), []).append(node)
    tickets = _tickets_by_root(forest, nodes, known)
    return [_group(group, tickets.get(root, frozenset()), known) for root, group in members.items()]


def _tickets_by_root(
    forest: _Forest, nodes: Iterable[Node[Ticket]], known: Mapping[bytes, Ticket]
) -> dict[Hashable, frozenset[Ticket]]:
    named = [ticket for node in nodes for ticket in (node.ticket, node.token) if ticket is not None]
    found: dict[Hashable, set[Ticket]] = {}
    for ticket in {*known.values(), *named}:
        found.setdefault(forest.find(("ticket", ticket)), set()).add(ticket)
    return {root: frozenset(tickets) for root, tickets in found.items()}


def _group(nodes: Sequence[Node[Ticket]], tickets: frozenset[Ticket], known: Mapping[bytes, Ticket]) -> Group[Ticket]:
    named: dict[bytes, set[int]] = {}
    for node in nodes:
        for key in node.keys:
            named.setdefault(key.digest, set()).add(node.message_id)
    links = [_link(node, named, known, is_first=not tickets and position == 0) for position, node in enumerate(nodes)]
    fresh = dict.fromkeys(key.digest for node in nodes for key in node.keys if key.digest not in known)
    return Group(tuple(links), tickets, tuple(fresh))


def _link(
    node: Node[Ticket], named: Mapping[bytes, set[int]], known: Mapping[bytes, Ticket], *, is_first: bool
) -> Link:
    if node.token is not None:
        return Link(node.message_id, StitchReason.REPLY_TOKEN, Confidence.HIGH, "signed token in the recipient address")
    if not is_first:
        for key in node.keys:
            if key.digest in known or named[key.digest] - {node.message_id}:
                return Link(node.message_id, key.reason, _CONFIDENCE[key.reason], key.shown)
    return Link(node.message_id, StitchReason.NEW_TICKET, Confidence.LOW, "first of its conversation")


def winner(tickets: Iterable[Ticket], rank: Mapping[Ticket, tuple[int, datetime]]) -> Ticket:
    """Return the ticket that the others merge into: most open work first, then the oldest first message.

    `rank` gives per ticket (number of open work orders, first_message_at); ties go to the smaller id.
    """
    return min(tickets, key=lambda ticket: (-rank[ticket][0], rank[ticket][1], str(ticket)))
