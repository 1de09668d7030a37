"""Stitching as union-find: the same conversations whatever the order and the batches; reasons, confidence, merges."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.enums import Confidence, StitchReason
from pipeline.core.thread_keys import Key
from pipeline.core.thread_keys import digest as digest_for
from pipeline.core.threading import Forest, Group, Node, assemble, winner

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def digest(kind: str, value: str) -> bytes:
    return digest_for(kind, value, "@x", "@x")


def key(reason: StitchReason, value: str) -> Key:
    kind = "thread" if reason is StitchReason.PROVIDER_THREAD else "id"
    return Key(reason, digest(kind, value), value)


def node(number: int, *keys: Key, ticket: str | None = None, token: str | None = None) -> Node[str]:
    return Node(number, NOON + timedelta(minutes=number), keys, ticket, token)


def own(value: str) -> Key:
    return key(StitchReason.REFERENCED_BY, value)


def reply(value: str) -> Key:
    return key(StitchReason.IN_REPLY_TO, value)


class Memory:
    """What stitch.save keeps, in memory: which ticket each key and each message belongs to."""

    def __init__(self) -> None:
        self.keys: dict[bytes, str] = {}
        self.links: dict[int, str] = {}
        self.first: dict[str, datetime] = {}

    def take(self, batch: Sequence[Node[str]]) -> None:
        nodes = [replace(one, ticket=self.links.get(one.message_id)) for one in batch]
        digests = {found.digest for one in nodes for found in one.keys}
        known = {found: self.keys[found] for found in digests if found in self.keys}
        at = {one.message_id: one.at for one in nodes}
        for group in assemble(nodes, known):
            ticket = self._ticket(group, at)
            self.links |= {link.message_id: ticket for link in group.links}
            self.keys |= dict.fromkeys(group.new_digests, ticket)

    def _ticket(self, group: Group[str], at: Mapping[int, datetime]) -> str:
        oldest = min(at[link.message_id] for link in group.links)
        if not group.tickets:
            ticket = f"ticket {len(self.first)}"
            self.first[ticket] = oldest
            return ticket
        ticket = winner(group.tickets, {one: (0, self.first[one]) for one in group.tickets})
        for moved in (self.keys, self.links):
            moved.update({name: ticket for name, its in moved.items() if its in group.tickets})
        self.first[ticket] = min(oldest, *(self.first[one] for one in group.tickets))
        return ticket

    def partition(self) -> set[frozenset[int]]:
        return {frozenset(m for m, its in self.links.items() if its == ticket) for ticket in self.links.values()}


def reference_partition(nodes: Iterable[Node[str]]) -> set[frozenset[int]]:
    """Grow conversations one message at a time: every one that shares a key with the message joins it."""
    components: list[tuple[set[int], set[bytes]]] = []
    for one in nodes:
        members, digests = {one.message_id}, {found.digest for found in one.keys}
        apart = []
        for other in components:
            if digests & other[1]:
                members |= other[0]
                digests |= other[1]
            else:
                apart.append(other)
        components = [*apart, (members, digests)]
    return {frozenset(members) for members, _ in components}


@st.composite
def forests(draw: st.DrawFn) -> list[Node[str]]:
    """Draw messages that name each other, themselves, each other in circles, missing parents, and ids twice."""
    ids = st.sampled_from([f"<{number}@x>" for number in range(draw(st.integers(2, 14)))])
    threads = st.none() | st.sampled_from(["t1", "t2", "t3"])
    nodes = []
    for number in range(draw(st.integers(1, 12))):
        keys = [reply(value) for value in draw(st.lists(ids, max_size=1))]
        keys += [key(StitchReason.REFERENCES, value) for value in draw(st.lists(ids, max_size=2))]
        keys += [own(value) for value in draw(st.lists(ids, max_size=1))]
        thread = draw(threads) if draw(st.integers(0, 3)) == 0 else None
        keys += [key(StitchReason.PROVIDER_THREAD, thread)] if thread else []
        nodes.append(node(number, *keys))
    return nodes


@settings(max_examples=300, deadline=None)
@given(st.data(), forests())
def test_any_order_and_any_batches_give_the_conversations_of_a_plain_union(data: st.DataObject, nodes: list[Node[str]]):
    again = data.draw(st.lists(st.sampled_from(nodes), max_size=3), label="seen a second time")
    order = data.draw(st.permutations([*nodes, *again]), label="order")
    memory = Memory()
    while order:
        size = data.draw(st.integers(1, len(order)), label="batch")
        batch = list({one.message_id: one for one in order[:size]}.values())
        order = order[size:]
        memory.take(batch)
    assert memory.partition() == reference_partition(nodes)


@settings(max_examples=150, deadline=None)
@given(st.data(), forests())
def test_within_a_batch_nothing_at_all_depends_on_the_order(data: st.DataObject, nodes: list[Node[str]]):
    shuffled = data.draw(st.permutations(nodes))
    known = {found.digest: "known" for found in nodes[0].keys[:1]}
    assert assemble(shuffled, known) == assemble(nodes, known)


REASONS = [
    (StitchReason.IN_REPLY_TO, Confidence.MEDIUM),
    (StitchReason.REFERENCES, Confidence.MEDIUM),
    (StitchReason.REFERENCED_BY, Confidence.MEDIUM),
    (StitchReason.PROVIDER_THREAD, Confidence.LOW),
]


@pytest.mark.parametrize(("reason", "confidence"), REASONS)
def test_a_key_that_is_known_gives_the_reason_and_its_confidence(reason: StitchReason, confidence: Confidence):
    found = key(reason, "<a@x>")
    (group,) = assemble([node(1, found)], {found.digest: "old"})
    (link,) = group.links
    assert (link.reason, link.confidence, link.evidence) == (reason, confidence, "<a@x>")
    assert group.tickets == {"old"}
    assert group.new_digests == ()


@pytest.mark.parametrize(("reason", "confidence"), REASONS)
def test_a_key_of_another_message_in_the_batch_gives_the_reason(reason: StitchReason, confidence: Confidence):
    found = key(reason, "<a@x>")
    (group,) = assemble([node(1, found), node(2, found)], {})
    assert [(link.reason, link.confidence) for link in group.links] == [
        (StitchReason.NEW_TICKET, Confidence.LOW),
        (reason, confidence),
    ]
    assert group.new_digests == (found.digest,)


def test_the_strongest_of_several_keys_is_the_reason_shown():
    keys = (reply("<missing@x>"), key(StitchReason.REFERENCES, "<root@x>"), own("<me@x>"))
    (group,) = assemble([node(2, *keys)], {digest("id", "<root@x>"): "old"})
    assert group.links[0].reason is StitchReason.REFERENCES
    assert set(group.new_digests) == {digest("id", "<missing@x>"), digest("id", "<me@x>")}


def test_a_signed_token_is_the_highest_confidence_and_joins_without_any_key():
    (group,) = assemble([node(1, own("<me@x>"), token="named")], {})
    assert group.tickets == {"named"}
    assert (group.links[0].reason, group.links[0].confidence) == (StitchReason.REPLY_TOKEN, Confidence.HIGH)


def test_a_message_that_answers_only_itself_opens_a_ticket():
    (group,) = assemble([node(1, reply("<me@x>"), own("<me@x>"))], {})
    assert group.links[0].reason is StitchReason.NEW_TICKET
    assert group.tickets == frozenset()


def test_messages_without_any_key_stay_apart():
    assert [len(group.links) for group in assemble([node(1), node(2)], {})] == [1, 1]


def test_a_bridge_touches_every_ticket_it_connects():
    known = {digest("id", "<a@x>"): "one", digest("id", "<b@x>"): "two", digest("id", "<c@x>"): "three"}
    (group,) = assemble([node(9, reply("<a@x>"), key(StitchReason.REFERENCES, "<b@x>"))], {**known})
    assert group.tickets == {"one", "two"}


def test_a_message_seen_again_brings_its_ticket_along():
    (group,) = assemble([node(1, own("<me@x>"), ticket="linked"), node(2, reply("<me@x>"))], {})
    assert group.tickets == {"linked"}
    assert [link.message_id for link in group.links] == [1, 2]


def test_groups_and_their_messages_come_oldest_first():
    groups = assemble([node(3, own("<b@x>")), node(2, own("<a@x>")), node(1, own("<b@x>"))], {})
    assert [[link.message_id for link in group.links] for group in groups] == [[1, 3], [2]]


def test_a_provider_thread_is_another_key_than_a_message_id_of_the_same_letters():
    assert digest("thread", "same") != digest("id", "same")
    assert len(digest("id", "x" * 1_000_000)) == 16
    assert digest("id", "\udcff") != digest("id", "?")


@pytest.mark.parametrize(
    ("ranks", "expected"),
    [
        ({"a": (0, NOON), "b": (1, NOON + timedelta(days=9))}, "b"),
        ({"a": (2, NOON), "b": (1, NOON - timedelta(days=9))}, "a"),
        ({"a": (1, NOON), "b": (1, NOON - timedelta(seconds=1))}, "b"),
        ({"b": (0, NOON), "a": (0, NOON)}, "a"),
        ({"only": (0, NOON)}, "only"),
    ],
)
def test_most_open_work_wins_then_the_older_then_the_smaller_id(ranks: dict[str, tuple[int, datetime]], expected: str):
    assert winner(ranks, ranks) == expected
    assert winner(reversed(list(ranks)), ranks) == expected


def test_tickets_held_apart_stay_apart_and_a_message_follows_its_strongest_evidence():
    known = {digest("id", "<a@x>"): "one", digest("id", "<b@x>"): "two"}
    bridge = node(9, reply("<b@x>"), key(StitchReason.REFERENCES, "<a@x>"), own("<c@x>"))
    (group,) = assemble([bridge], known, [("one", "two")])
    assert group.tickets == {"two"}
    assert (group.links[0].reason, group.links[0].evidence) == (StitchReason.IN_REPLY_TO, "<b@x>")
    assert group.new_digests == (digest("id", "<c@x>"),)


def test_what_answers_both_sides_of_a_cut_is_divided_message_by_message():
    known = {digest("id", "<a@x>"): "one", digest("id", "<b@x>"): "two"}
    to_one = node(1, reply("<a@x>"), own("<c@x>"))
    to_two = node(2, reply("<b@x>"), key(StitchReason.REFERENCES, "<c@x>"))
    after = node(3, reply("<c@x>"))
    groups = assemble([after, to_two, to_one], known, [("two", "one")])
    assert [(group.tickets, [link.message_id for link in group.links]) for group in groups] == [
        ({"one"}, [1, 3]),
        ({"two"}, [2]),
    ]


def test_a_signed_token_outweighs_every_key_across_a_cut():
    known = {digest("id", "<a@x>"): "one"}
    (group,) = assemble([node(1, reply("<a@x>"), token="two")], known, [("one", "two")])
    assert (group.tickets, group.links[0].reason) == ({"two"}, StitchReason.REPLY_TOKEN)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_forest_never_joins_enemies_and_joins_everything_else(data: st.DataObject):
    names = st.integers(0, 9)
    apart = data.draw(st.lists(st.tuples(names, names).filter(lambda pair: pair[0] != pair[1]), max_size=4))
    forest = Forest(apart)
    for one, other in data.draw(st.lists(st.tuples(names, names), max_size=20)):
        joined = forest.join(one, other)
        assert joined == (forest.find(one) == forest.find(other))
    for one, other in apart:
        assert forest.find(one) != forest.find(other)
    if not apart:
        assert forest.join(0, 9)
