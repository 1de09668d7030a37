"""What work orders of the field are to do, as plain values: contract 004 and decisions 40 to 43, told once more.

Nothing here is the product's: the server is right when it equals this.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

#: Command -> the states that it is done in, and the state that it leads to.
MOVES = {
    "start": (("assigned",), "in_progress"),
    "done": (("in_progress",), "done"),
    "return": (("assigned", "in_progress"), "returned"),
    "assign": (("created", "assigned", "in_progress", "returned", "outsourced"), "assigned"),
    "cancel": (("created", "assigned", "in_progress", "returned", "outsourced"), "cancelled"),
}
_OVER = ("done", "cancelled")
_IN_HAND = ("assigned", "in_progress")


@dataclass(frozen=True, slots=True)
class Answer:
    """What somebody was told: a status, the code of a refusal, the version, whether the parent was released by it."""

    status: int
    code: str | None = None
    version: int | None = None
    released: bool = False
    replayed: bool = False

    @property
    def is_good(self) -> bool:
        return self.status < 400


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody asks for: done once for its key."""

    who: str
    what: str
    order: str
    key: str | None = None
    version: int | None = None
    #: Of an assignment: to whom. Of a return: why. Of the end: what was done.
    said: str | None = None


@dataclass(slots=True)
class Order:
    """One order. `steps` are (command, before, after, attempt); `photos` are (attempt, digest)."""

    checklist: str
    state: str = "created"
    version: int = 0
    assignee: str | None = None
    attempt: int = 0
    lead: str | None = None
    steps: tuple[tuple[str, str, str, int], ...] = ()
    photos: frozenset[tuple[int, str]] = frozenset()
    told: Counter[tuple[str, str]] = field(default_factory=Counter)

    def seen(self) -> tuple[Any, ...]:
        """Return all that the server must agree with."""
        told = tuple(sorted(self.told.items()))
        return self.state, self.version, self.assignee, self.attempt, self.steps, tuple(sorted(self.photos)), told


@dataclass(slots=True)
class Server:
    """Orders, what holds their checklists, and the answers that were kept by key."""

    orders: dict[str, Order]
    held: dict[str, bool]
    kept: dict[tuple[str, ...], tuple[str | None, Answer]] = field(default_factory=dict)
    #: Uploads that were begun, by their client's name: the attempt then, and whether they became a photo.
    uploads: dict[str, tuple[int, bool]] = field(default_factory=dict)

    def copy(self) -> Server:
        orders = {name: replace(one, told=Counter(one.told)) for name, one in self.orders.items()}
        return Server(orders, dict(self.held), dict(self.kept), dict(self.uploads))

    def seen(self) -> tuple[Any, ...]:
        """Return all that the server must agree with."""
        return tuple((name, one.seen()) for name, one in sorted(self.orders.items())), tuple(sorted(self.held.items()))

    def mark(self) -> object:
        """Return what tells this model from others, kept answers too."""
        return self.seen(), frozenset(self.kept.items()), frozenset(self.uploads.items())

    def do(self, wish: Wish) -> Answer:
        """Do what somebody asks for, or refuse it; the order of checks is the executor's (decision 40)."""
        key = (wish.who, wish.what, wish.order, wish.key or "")
        if wish.key is not None and key in self.kept:
            said, answer = self.kept[key]
            return replace(answer, replayed=True) if said == wish.said else Answer(409, "IDEMPOTENCY_PAYLOAD_MISMATCH")
        refused = self._refused(wish)
        if refused is not None:
            return refused
        answer = self._done(wish, self.orders[wish.order])
        if wish.key is not None:
            self.kept[key] = (wish.said, answer)
        return answer

    def photo(self, who: str, name: str, digest: str) -> Answer:
        """Take a photo of an order at once."""
        order = self.orders[name]
        return self._shot_refused(who, order) or self._take(order, order.attempt, digest)

    def begin(self, who: str, name: str, client: str) -> Answer:
        """Begin an upload: what it shows is of the attempt at which it began."""
        order = self.orders[name]
        refused = self._shot_refused(who, order)
        _, is_whole = self.uploads.get(client, (0, False))
        if refused is not None and refused.code == "forbidden":
            return refused
        if client in self.uploads and is_whole:
            return Answer(200)
        if refused is None:
            refused = self._not_under_way(order)
        if refused is not None:
            return refused
        is_again = client in self.uploads
        self.uploads.setdefault(client, (order.attempt, False))
        return Answer(200 if is_again else 201)

    def finish(self, who: str, name: str, client: str, digest: str) -> Answer:
        """End an upload: its last bytes have come."""
        order = self.orders[name]
        attempt, is_whole = self.uploads[client]
        refused = self._shot_refused(who, order)
        answer = refused or (Answer(200) if is_whole else self._take(order, attempt, digest))
        if answer.is_good:
            self.uploads[client] = (attempt, True)
        return answer

    def _shot_refused(self, who: str, order: Order) -> Answer | None:
        return None if order.assignee == who else Answer(403, "forbidden")

    def _not_under_way(self, order: Order) -> Answer | None:
        if order.state in _IN_HAND:
            return None
        return Answer(409, "ORDER_CLOSED" if order.state in _OVER else "ORDER_NOT_UNDER_WAY")

    def _take(self, order: Order, attempt: int, digest: str) -> Answer:
        """Keep a photo; the same one is there already, whatever the order is by now, and proves no other attempt."""
        if any(digest == known for _, known in order.photos):
            return Answer(200)
        refused = self._not_under_way(order)
        if refused is None:
            order.photos |= {(attempt, digest)}
        return refused or Answer(201)

    def _refused(self, wish: Wish) -> Answer | None:
        order = self.orders.get(wish.order)
        if order is None:
            return Answer(404, "WORK_ORDER_NOT_FOUND")
        if wish.what in {"start", "done", "return"} and order.assignee != wish.who:
            return Answer(403, "forbidden")
        if wish.version != order.version:
            return Answer(409, "STALE_VERSION")
        if order.state not in MOVES[wish.what][0]:
            return Answer(409, "INVALID_STATE_TRANSITION")
        if wish.what == "done" and not any(attempt == order.attempt for attempt, _ in order.photos):
            return Answer(422, "FIX_PHOTO_MISSING")
        if wish.what in {"return", "cancel"} and not (wish.said or "").strip():
            return Answer(422, "invalid")
        return None

    def _done(self, wish: Wish, order: Order) -> Answer:
        before, after = order.state, MOVES[wish.what][1]
        if wish.what == "assign" and order.assignee == wish.said and before in _IN_HAND:
            order.steps += ((f"work_order.{wish.what}", before, before, order.attempt),)
            return Answer(200, None, order.version)
        self._tell(wish, order)
        if wish.what == "assign":
            order.assignee, order.lead, order.attempt = wish.said, wish.who, order.attempt + 1
        order.state, order.version = after, order.version + 1
        order.steps += ((f"work_order.{wish.what}", before, after, order.attempt),)
        return Answer(200, None, order.version, after in _OVER and self._released(order))

    def _tell(self, wish: Wish, order: Order) -> None:
        if wish.what == "assign":
            assert wish.said is not None
            order.told[wish.said, "WO_ASSIGNED"] += 1
            if order.assignee not in {None, wish.said}:
                order.told[str(order.assignee), "WO_REASSIGNED"] += 1
        elif wish.what == "return" and order.lead is not None:
            order.told[order.lead, "WO_RETURNED"] += 1
        elif wish.what == "cancel" and order.assignee is not None:
            order.told[order.assignee, "WO_CANCELLED"] += 1

    def _released(self, order: Order) -> bool:
        """Let go of what the order held when it was the last open one: told to one alone."""
        others = [one for one in self.orders.values() if one.checklist == order.checklist and one is not order]
        if not self.held[order.checklist] or any(one.state not in _OVER for one in others):
            return False
        self.held[order.checklist] = False
        return True
