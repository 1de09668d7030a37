"""Whether what several people were answered at the same time can have happened one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.airplane.model import Answer, Server

#: Does the next thing of a run to a server, given the answers to those before it.
Deed = Callable[[Server, tuple[Answer, ...]], Answer]
_LEFT_OUT = (Answer(0, "never came"),)


@dataclass(frozen=True)
class Run:
    """Things done one after the other by one sender, and their answers; None: nobody heard any, if it came at all."""

    deeds: Sequence[Deed]
    heard: Sequence[Answer] | None
    #: For people, when it cannot have happened.
    name: str = ""


def possible(models: Sequence[Server], runs: Sequence[Run]) -> list[Server]:
    """Return every way that the server may be now; none when the answers contradict the model.

    Looks through all orders in which the deeds of several runs can follow each other (Wing and Gong, 1993).
    """
    found: dict[object, Server] = {}
    seen: set[object] = set()
    nothing: tuple[tuple[Answer, ...], ...] = tuple(() for _ in runs)
    open_ = [(model, nothing) for model in models]
    while open_:
        model, done = open_.pop()
        mark = (model.mark(), done)
        if mark in seen:
            continue
        seen.add(mark)
        if all(_is_over(run, so_far) for run, so_far in zip(runs, done, strict=True)):
            found[model.mark()] = model
        for number, run in enumerate(runs):
            open_ += [
                (after, (*done[:number], so_far, *done[number + 1 :]))
                for after, so_far in _next(model, run, done[number])
            ]
    return list(found.values())


def _is_over(run: Run, so_far: tuple[Answer, ...]) -> bool:
    return so_far == _LEFT_OUT or len(so_far) == len(run.deeds)


def _next(model: Server, run: Run, so_far: tuple[Answer, ...]) -> list[tuple[Server, tuple[Answer, ...]]]:
    if _is_over(run, so_far):
        return []
    after = model.copy()
    answer = run.deeds[len(so_far)](after, so_far)
    if run.heard is not None and run.heard[len(so_far)] != answer:
        return []
    found = [(after, (*so_far, answer))]
    if run.heard is None and not so_far:
        found.append((model, _LEFT_OUT))
    return found
