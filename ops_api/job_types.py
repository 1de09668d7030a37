"""The names that contract 001 gives to jobs, and the stages behind them; stages it does not know are named alike."""

from __future__ import annotations

from collections.abc import Mapping

_TYPES = {
    "backfill": "mailbox_backfill",
    "history": "mailbox_history_sync",
    "reconcile": "mailbox_reconcile",
    "watch": "mailbox_watch",
    "fetch": "occurrence_fetch_raw",
    "parse": "occurrence_parse",
    "stitch": "occurrence_stitch",
    "routing": "ticket_apply_routing",
}
_STAGES = {job_type: stage for stage, job_type in _TYPES.items()}


def type_of(stage: str) -> str:
    """Return the contract's name of a stage's jobs; a stage that the contract does not know keeps its own."""
    return _TYPES.get(stage, stage)


def stage_of(name: str) -> str:
    """Return the stage that is meant by its own name or the contract's."""
    return _STAGES.get(name, name)


def by_type(counts: Mapping[str, int]) -> dict[str, int]:
    """Return counts by stage as counts by the contract's names."""
    return {type_of(stage): count for stage, count in counts.items()}
