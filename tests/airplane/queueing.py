"""What a queue of actions is to do, as plain values: decision 43, told once more and apart from the product."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.airplane.linearizing import Deed
from tests.airplane.model import Answer, Server, Wish

#: An action as it is sent.
Action = dict[str, Any]
_SAID = {"return": "reason", "done": "fixNote"}


def wish_of(who: str, action: Action, version: int | None) -> Wish:
    """Return what an action asks for."""
    body = action.get("body") or {}
    said = body.get(_SAID.get(action["action"], ""))
    return Wish(who, action["action"], action["workOrderId"], action["clientId"], version, said)


def deeds(who: str, queue: Sequence[Action]) -> list[Deed]:
    """Return what a queue does, one after the other; each action knows what those before it were answered."""
    return [_deed(who, queue, number) for number in range(len(queue))]


def _deed(who: str, queue: Sequence[Action], number: int) -> Deed:
    action = queue[number]

    def do(server: Server, before: tuple[Answer, ...]) -> Answer:
        earlier = list(zip(queue[:number], before, strict=True))
        # An id belongs to the first that had it.
        first = next((one for one, _ in earlier if one["clientId"] == action["clientId"]), action)
        if _asks(first) != _asks(action):
            return Answer(409, "IDEMPOTENCY_PAYLOAD_MISMATCH")
        version = action.get("version")
        if "after" in action:
            ends = [pair for pair in earlier if pair[0]["clientId"] == action["after"]]
            if not ends:
                return Answer(422, "UNKNOWN_DEPENDENCY")
            one, answer = [pair for pair in ends if _asks(pair[0]) == _asks(ends[0][0])][-1]
            if not answer.is_good:
                return Answer(424, "DEPENDS_ON_FAILED")
            if version is None and one["workOrderId"] == action["workOrderId"]:
                version = answer.version
        if version is None:
            return Answer(428, "IF_MATCH_REQUIRED")
        return server.do(wish_of(who, action, version))

    return do


def _asks(action: Action) -> tuple[Any, ...]:
    return action["action"], action["workOrderId"], repr(action.get("body") or {})
