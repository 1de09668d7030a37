"""One day of a technician without a network, and a lead who goes on meanwhile: sent, cut, doubled, and compared."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx

from tests.airplane import uploading
from tests.airplane.linearizing import Run, possible
from tests.airplane.model import Answer, Wish
from tests.airplane.office import Office
from tests.airplane.phone import Belief, Phone, Shot
from tests.airplane.queueing import Action, deeds, wish_of

#: Something that happens at the same time as others: does it, and returns what was done and heard.
Happening = Callable[[], list[Run]]
_ROUNDS = 30


@dataclass
class Heard:
    """What the phone learns when a phase is over."""

    sent: Sequence[Action]
    answers: Sequence[Answer]


class Journey:
    """One random day; `models` are all the ways that the server may stand by what was heard."""

    def __init__(self, office: Office, rng: random.Random) -> None:
        self.office, self.rng, self.phone = office, rng, Phone(rng)
        self.models = [office.make(rng)]
        self.log: list[str] = []
        self._heard: list[Heard] = []
        self._ended: list[Shot] = []
        self._tech, self._lead = office.people["tech"], office.people["lead"]
        self._who = office.person_id("tech")

    def play(self, phases: int) -> None:
        """Live through the day, come back to the network, and compare."""
        for order in list(self.models[0].orders):
            self._phase([self._assign(order, self.rng.choice(("tech", "tech", "tech", "other_tech")))])
        for order, one in self.models[0].orders.items():
            if one.assignee == self._who:
                self.phone.beliefs[order] = Belief("assigned", one.version)
        for _ in range(phases):
            self._look_around()
            for _ in range(self.rng.randint(0, 4)):
                self.phone.work()
            self._phase(self._happenings())
        self._come_back()
        self._compare()

    def _happenings(self) -> list[Happening]:
        """Choose what happens at once."""
        found: list[Happening] = []
        if self.phone.queue and self.rng.random() < 0.8:
            found += self.rng.choice(
                (self._plain, self._lost, self._twins, self._cut, self._torn, self._alone, self._doubled)
            )()
        for shot in self.phone.shots[:2]:
            if self.rng.random() < 0.7:
                found += self._upload(shot) * self.rng.choice((1, 1, 1, 2))
        is_waiting = any(one.state == "returned" for one in self.models[0].orders.values())
        if self.rng.random() < (0.8 if is_waiting else 0.4):
            found.append(self._lead_acts())
        return found

    def _phase(self, happenings: Sequence[Happening]) -> None:
        """Let things happen at the same time, and find how the server may stand then."""
        with ThreadPoolExecutor(max(1, len(happenings))) as pool:
            runs = [run for some in pool.map(lambda one: one(), happenings) for run in some]
        self.office.wire.settle()
        self.log += [f"{run.name}: {run.heard}" for run in runs] + ["--"]
        self.models = possible(self.models, runs)
        assert self.models, "nothing that the model does explains this:\n" + "\n".join(self.log)
        for shot in self._ended:
            uploading.give_up(self.office.wire, self._tech, shot)
        self._ended.clear()
        heard, self._heard = self._heard, []
        for one in heard:
            for order in self.phone.hear(one.sent, one.answers):
                self._look(order)

    # The queue, on its way

    def _plain(self) -> list[Happening]:
        queue = self._copy()
        return [lambda: self._send("queue", queue, is_told=True)]

    def _lost(self) -> list[Happening]:
        queue = self._copy()
        return [lambda: self._send("queue, lost", queue)]

    def _twins(self) -> list[Happening]:
        queue, is_told = self._copy(), self.rng.random() < 0.5
        return [lambda: self._send("queue", queue, is_told=is_told), lambda: self._send("its twin", queue)]

    def _doubled(self) -> list[Happening]:
        queue = self._copy()
        queue.append(dict(self.rng.choice(queue)))
        return [lambda: self._send("queue, doubled", queue)]

    def _cut(self) -> list[Happening]:
        queue = self._copy()

        def go() -> list[Run]:
            self.office.wire.cut(self._tech, "POST", "/api/v1/me/actions", 1.0, json={"actions": queue})
            return [Run(deeds(self._who, queue), None, f"queue, cut: {_brief(queue)}")]

        return [go]

    def _torn(self) -> list[Happening]:
        queue, share = self._copy(), self.rng.random() * 0.99

        def go() -> list[Run]:
            self.office.wire.cut(self._tech, "POST", "/api/v1/me/actions", share, json={"actions": queue})
            return []

        return [go]

    def _alone(self) -> list[Happening]:
        """Send the first action by itself, under the same name."""
        action, is_told = self._copy()[0], self.rng.random() < 0.5
        if "version" not in action:
            return []
        path = f"/api/v1/work-orders/{action['workOrderId']}/{action['action']}"
        headers = {"If-Match": f'"{action["version"]}"', "Idempotency-Key": action["clientId"]}

        def go() -> list[Run]:
            said = self.office.wire.ask(self._tech, "PATCH", path, headers=headers, json=action.get("body") or {})
            answer = answer_of(said)
            if is_told:
                self._heard.append(Heard([action], [answer]))
            wish = wish_of(self._who, action, action["version"])
            return [Run([lambda server, _: server.do(wish)], [answer], f"alone: {_brief([action])}")]

        return [go]

    def _copy(self) -> list[Action]:
        return [dict(action) for action in self.phone.queue]

    def _send(self, name: str, queue: list[Action], *, is_told: bool = False) -> list[Run]:
        said = self.office.wire.ask(self._tech, "POST", "/api/v1/me/actions", json={"actions": queue})
        assert said.status_code == 200, said.text
        results = said.json()["results"]
        assert [one["clientId"] for one in results] == [one["clientId"] for one in queue]
        answers = [result_of(one) for one in results]
        if is_told:
            self._heard.append(Heard(queue, answers))
        return [Run(deeds(self._who, queue), answers, f"{name}: {_brief(queue)}")]

    # Photos, on their way

    def _upload(self, shot: Shot) -> list[Happening]:
        way = self.rng.choice(uploading.WAYS)
        seed = self.rng.random()

        def go() -> list[Run]:
            runs, is_over = way(self.office.wire, self._tech, self._who, shot, random.Random(seed))
            if is_over and shot in self.phone.shots:
                self.phone.shots.remove(shot)
                self._ended.append(shot)
            return runs

        return [go]

    # The lead

    def _lead_acts(self) -> Happening:
        orders = self.models[0].orders
        waiting = [name for name, one in orders.items() if one.state == "returned"]
        if waiting and self.rng.random() < 0.8:
            return self._assign(self.rng.choice(waiting), "tech")
        order = self.rng.choice(list(orders))
        if self.rng.random() < 0.2:
            return self._change(order, "cancel", "not needed")
        return self._assign(order, self.rng.choice(("tech", "tech", "other_tech")))

    def _assign(self, order: str, name: str) -> Happening:
        return self._change(order, "assign", self.office.person_id(name))

    def _change(self, order: str, what: str, said: str) -> Happening:
        version = self.models[0].orders[order].version
        body = {"technicianId": said} if what == "assign" else {"reason": said}

        def go() -> list[Run]:
            path, headers = f"/api/v1/work-orders/{order}/{what}", {"If-Match": f'"{version}"'}
            answer = answer_of(self.office.wire.ask(self._lead, "PATCH", path, headers=headers, json=body))
            wish = Wish(self.office.person_id("lead"), what, order, None, version, said)
            return [Run([lambda server, _: server.do(wish)], [answer], f"lead: {what} {order[-4:]} v{version}")]

        return go

    # The end of the day

    def _look(self, order: str) -> None:
        said = self.office.wire.ask(self._tech, "GET", f"/api/v1/work-orders/{order}")
        assert said.status_code in {200, 403, 404}, said.text
        found = said.json()
        is_mine = said.status_code == 200
        self.phone.look(order, found["state"].lower() if is_mine else None, found["version"] if is_mine else 0)

    def _look_around(self) -> None:
        """Learn of orders that nothing is queued for, as an app does when there is a network for a moment."""
        busy = {one["workOrderId"] for one in self.phone.queue}
        for order in self.models[0].orders:
            if order not in busy and self.rng.random() < 0.4:
                self._look(order)

    def _come_back(self) -> None:
        """Send everything until nothing is left."""
        for _ in range(_ROUNDS):
            if not self.phone.queue and not self.phone.shots:
                return
            for shot in list(self.phone.shots):
                self._phase(self._upload(shot))
            if self.phone.queue:
                self._phase(self._plain())
        raise AssertionError("the phone is never done:\n" + "\n".join(self.log))

    def _compare(self) -> None:
        seen = self.office.seen(self.models[0])
        said = "\n".join((*self.log, repr(seen), *(repr(model.seen()) for model in self.models)))
        assert seen in [model.seen() for model in self.models], f"the server is not as the model:\n{said}"
        assert self.office.unaudited(self.models[0]) == 0
        for _, (state, _, _, attempt, steps, photos, _) in seen[0]:
            is_proved = any(one == attempt for one, _ in photos)
            assert is_proved or state != "done", f"called done without proof: {steps}"


def _brief(queue: Sequence[Action]) -> list[str]:
    return [
        f"{one['action']} {one['workOrderId'][-4:]} v{one.get('version')} #{one['clientId'][:4]}"
        + (f" after {one['after'][:4]}" if "after" in one else "")
        for one in queue
    ]


def result_of(result: dict[str, Any]) -> Answer:
    """Return what one action of a queue was answered."""
    if result.get("error"):
        return Answer(result["status"], result["error"]["code"])
    body = result["body"]
    return Answer(result["status"], None, body["version"], body.get("parentReleased", False), result["replayed"])


def answer_of(said: httpx.Response) -> Answer:
    """Return what a request of its own was answered."""
    if said.status_code >= 400:
        return Answer(said.status_code, said.json()["error"]["code"])
    body, is_replayed = said.json(), said.headers.get("idempotency-replayed") == "true"
    return Answer(said.status_code, None, body["version"], body.get("parentReleased", False), is_replayed)
