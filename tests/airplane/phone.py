"""A technician's app: what it believes of its orders, what it has queued, and which photos it still holds."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from tests.airplane.model import MOVES, Answer
from tests.airplane.office import digest, picture
from tests.airplane.queueing import Action

#: What people do, by the state that they believe in; some of it is wrong.
_HABITS = {
    "assigned": ("start",) * 6 + ("shoot", "shoot and return", "return", "done"),
    "in_progress": ("shoot and done",) * 4 + ("shoot and return",) * 2 + ("shoot", "done", "done", "return", "start"),
}


@dataclass
class Belief:
    """What the app thinks of an order; with the action of its queue that led there."""

    state: str
    version: int
    after: str | None = None


@dataclass(frozen=True)
class Shot:
    """A photo that the server may not have yet."""

    order: str
    client_id: str
    content: bytes
    #: Where uploads of it were begun.
    places: list[str] = field(default_factory=list, compare=False)

    @property
    def digest(self) -> str:
        return digest(self.content)


@dataclass
class Phone:
    """The app of one technician."""

    rng: random.Random
    beliefs: dict[str, Belief] = field(default_factory=dict)
    queue: list[Action] = field(default_factory=list)
    shots: list[Shot] = field(default_factory=list)

    def name(self) -> str:
        """Return a new id of the app's own."""
        return str(UUID(int=self.rng.getrandbits(128), version=4))

    def work(self) -> None:
        """Do something without a network."""
        open_ = [order for order, belief in self.beliefs.items() if belief.state in _HABITS]
        if not open_ or self.rng.random() < 0.1:
            self.blunder()
            return
        order = self.rng.choice(open_)
        deed = self.rng.choice(_HABITS[self.beliefs[order].state])
        if "shoot" in deed:
            self.shoot(order)
        if deed != "shoot":
            self.enqueue(order, deed.rpartition(" ")[2])

    def shoot(self, order: str) -> None:
        """Take a photo; sometimes one that was taken before."""
        before = [shot.content for shot in self.shots if shot.order == order]
        again = before and self.rng.random() < 0.3
        content = self.rng.choice(before) if again else picture(self.rng.randrange(65_536))
        self.shots.append(Shot(order, self.name(), content))

    def enqueue(self, order: str, deed: str) -> None:
        """Queue an action that rests on what the app believes."""
        belief = self.beliefs[order]
        action: Action = {"clientId": self.name(), "action": deed, "workOrderId": order}
        if deed == "return":
            action["body"] = {"reason": self.rng.choice(("no part", "no part", "wrong tool", " "))}
        if deed == "done" and self.rng.random() < 0.5:
            action["body"] = {"fixNote": "tightened"}
        if belief.after is None:
            action["version"] = belief.version
        else:
            action["after"] = belief.after
        self.queue.append(action)
        belief.state, belief.after = MOVES[deed][1], action["clientId"]

    def blunder(self) -> None:
        """Queue what an app with a fault would send."""
        orders = [*self.beliefs, self.name()]
        action: Action = {"clientId": self.name(), "action": "start", "workOrderId": self.rng.choice(orders)}
        action |= self.rng.choice(({}, {"version": 0}, {"after": self.name()}, {"version": 99}))
        if self.queue and self.rng.random() < 0.2:
            action["clientId"] = self.rng.choice(self.queue)["clientId"]
        self.queue.append(action)

    def hear(self, sent: Sequence[Action], answers: Sequence[Answer]) -> set[str]:
        """Learn what actions came to; return the orders that must be looked at again."""
        doubtful = set()
        for action, answer in zip(sent, answers, strict=True):
            queued = next((one for one in self.queue if _named(one) == _named(action)), None)
            if queued is None or answer.code == "DEPENDS_ON_FAILED":
                continue
            if answer.code == "FIX_PHOTO_MISSING":
                self.shoot(action["workOrderId"])
                continue
            self.queue.remove(queued)
            if answer.is_good:
                self._done(action, answer)
            else:
                doubtful.add(action["workOrderId"])
        return doubtful

    def look(self, order: str, state: str | None, version: int) -> None:
        """Learn how an order stands; None when it is not theirs any more. What was queued for it is given up."""
        self.queue = [one for one in self.queue if one["workOrderId"] != order]
        if state is None:
            self.beliefs.pop(order, None)
        else:
            self.beliefs[order] = Belief(state, version)

    def _done(self, action: Action, answer: Answer) -> None:
        order = action["workOrderId"]
        for one in self.queue:
            if one.get("after") == action["clientId"] and one["workOrderId"] == order:
                del one["after"]
                one["version"] = answer.version
        belief = self.beliefs.get(order)
        if belief is not None and answer.version is not None and answer.version >= belief.version:
            belief.version = answer.version
            belief.after = None if belief.after == action["clientId"] else belief.after


def _named(action: Action) -> tuple[str, str, str]:
    return action["clientId"], action["action"], action["workOrderId"]
