"""What contract 000 counts of commands: errors, changes of state, keys that came again, and who was sent."""

from __future__ import annotations

from itertools import product
from typing import Any

from prometheus_client import CollectorRegistry, Counter

from models.enums import TruthSource
from ops_api.request_facts import Facts

_CONFLICT = "IDEMPOTENCY_PAYLOAD_MISMATCH"
_BEGINNING = ""
_REAL = {True: "true", False: "false"}
_Samples = dict[str, list[dict[str, Any]]]


class CommandMetrics:
    """The counters of one process. Their labels are codes, states and templates of our own: bounded, whoever asks."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._errors = Counter("fieldpost_errors", "Requests refused, by code.", ["code"], registry=registry)
        self._transitions = Counter(
            "fieldpost_transitions",
            "Changes of the state of field work that commands made over HTTP.",
            ["from_state", "to_state"],
            registry=registry,
        )
        self._replays = Counter(
            "fieldpost_idempotency_replays", "Requests that came again and had the same answer.", registry=registry
        )
        self._conflicts = Counter(
            "fieldpost_idempotency_conflicts", "Keys that came again with another body.", registry=registry
        )
        self._assignments = Counter(
            "fieldpost_dispatch_assignments",
            "Technicians sent, by whether a recommendation stood behind it (with, without).",
            ["snapshot"],
            registry=registry,
        )
        for snapshot in ("with", "without"):
            self._assignments.labels(snapshot)
        self._truths = Counter(
            "fieldpost_case_truths",
            "Findings about cases that were told over HTTP, by source and whether something was wrong.",
            ["source", "real"],
            registry=registry,
        )
        for source, real in product(TruthSource, _REAL.values()):
            self._truths.labels(source.value, real)

    def note(self, facts: Facts) -> None:
        """Count an answered request."""
        if facts.code is not None:
            self._errors.labels(facts.code).inc()
            self._conflicts.inc(int(facts.code == _CONFLICT))
        done = facts.commanded
        if done is None or facts.status >= 400:
            return
        if done.is_replayed:
            self._replays.inc()
            return
        for move in done.moves:
            if move.before != move.after:
                self._transitions.labels(move.before or _BEGINNING, move.after).inc()
        if done.has_snapshot is not None:
            self._assignments.labels("with" if done.has_snapshot else "without").inc()
        if done.truth is not None:
            source, is_real = done.truth
            self._truths.labels(source, _REAL[is_real]).inc()


def contract_snapshot(samples: _Samples) -> dict[str, Any]:
    """Return what contract 000 names, from every sample by name; a ticket that was made has no state before."""
    sent = {one["labels"]["snapshot"]: int(one["value"]) for one in samples.get(_named("dispatch_assignments"), [])}
    return {
        "requests_total": _counted(
            samples, "http_requests", {"method": "method", "endpoint": "route", "status": "status"}
        ),
        "errors_total": _counted(samples, "errors", {"code": "code"}),
        "transitions_total": _counted(samples, "transitions", {"from_state": "from_state", "to_state": "to_state"}),
        "idempotency_replay_total": _single(samples, "idempotency_replays"),
        "idempotency_conflict_total": _single(samples, "idempotency_conflicts"),
        "dispatch_assignments_with_snapshot_total": sent.get("with", 0),
        "dispatch_assignments_without_snapshot_total": sent.get("without", 0),
    }


def _counted(samples: _Samples, name: str, labels: dict[str, str]) -> list[dict[str, Any]]:
    return [
        {**{said: one["labels"][label] or None for said, label in labels.items()}, "count": int(one["value"])}
        for one in samples.get(_named(name), [])
    ]


def _single(samples: _Samples, name: str) -> int:
    return sum(int(one["value"]) for one in samples.get(_named(name), []))


def _named(name: str) -> str:
    return f"fieldpost_{name}_total"
