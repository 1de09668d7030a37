"""How faults change the way an answer reaches its client."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from tests.gmail_server.clock import TimeSource
from tests.gmail_server.faults import Fault, FaultKind
from tests.gmail_server.http11 import Answer, Ending

_PIECES_PER_SECOND = 4


def shaped(answer: Answer, faults: Iterable[Fault], clock: TimeSource, latency: float = 0.0) -> Answer:
    """The answer delayed, slowed, cut short or replaced by a reset; `latency` is in seconds of the server's clock."""
    delay, pace, ending, body = latency, answer.pace, answer.ending, answer.body
    for fault in faults:
        if fault.kind is FaultKind.SLOW:
            delay += fault.delay
        elif fault.kind is FaultKind.SLOW_BODY:
            size = max(1, fault.bytes_per_second // _PIECES_PER_SECOND)
            pace = (size, clock.real(size / fault.bytes_per_second))
        elif fault.kind is FaultKind.TRUNCATED_JSON:
            body = body[: len(body) * 2 // 3]
        elif fault.kind is FaultKind.CUT_BODY:
            ending = Ending.CUT
        elif fault.kind in {FaultKind.RESET, FaultKind.LOST_REPLY}:
            ending = Ending.RESET
    return replace(answer, body=body, delay=answer.delay + clock.real(delay), pace=pace, ending=ending)


def refuses_unheard(faults: Iterable[Fault]) -> bool:
    """Whether the connection is reset before the call has any effect."""
    return any(fault.kind is FaultKind.RESET for fault in faults)


def raise_refusal(faults: Iterable[Fault], clock: TimeSource) -> None:
    """Raise the ApiError of the first fault that has one."""
    for fault in faults:
        if error := fault.error(clock):
            raise error
