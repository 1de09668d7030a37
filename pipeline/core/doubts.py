"""How certain reports make a case, and why not more: the table of contract 003, with an organization's numbers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import StrEnum
from itertools import pairwise

from models.enums import SignalStatus
from pipeline.core.triage_policy import TriagePolicy


class Reason(StrEnum):
    """Why a case is uncertain."""

    NO_EVIDENCE = "no_evidence"
    ONE_SIGNAL = "low_evidence_volume"
    TWO_SIGNALS = "limited_evidence_volume"
    DISAGREEMENT = "cross_source_disagreement"
    CONFLICT = "status_conflict_recent"
    AMBIGUOUS = "ambiguous_unknown_status"
    FLAPPING = "status_flapping"


def certainty(
    statuses: Sequence[SignalStatus], sources: Collection[str], policy: TriagePolicy
) -> tuple[int, tuple[Reason, ...]]:
    """Return the formula's confidence in hundredths, and its reasons; `statuses` stand oldest first."""
    if not statuses:
        return 0, (Reason.NO_EVIDENCE,)
    rules = policy.doubts
    hundredths, reasons = rules.start, []
    for holds, change, reason in _findings(statuses, sources, policy):
        if holds:
            hundredths += change
            if reason is not None:
                reasons.append(reason)
    return max(rules.lowest, min(rules.highest, hundredths)), tuple(reasons)


def _findings(
    told: Sequence[SignalStatus], sources: Collection[str], policy: TriagePolicy
) -> tuple[tuple[bool, int, Reason | None], ...]:
    """Return the rows of the confidence table: does it hold, change in hundredths, reason it leaves."""
    rules, statuses = policy.doubts, set(told)
    count, mixed = len(told), len(statuses) > 1
    changes = sum(before != after for before, after in pairwise(told)) if mixed else 0
    faulty = SignalStatus.DOWN in statuses or SignalStatus.DEGRADED in statuses
    return (
        (count == 1, rules.low_evidence_volume, Reason.ONE_SIGNAL),
        (count == 2, rules.limited_evidence_volume, Reason.TWO_SIGNALS),
        # The contract counts statuses, also those of one source (seed-behaviours, 4.6 no. 8): its vectors want it so.
        (mixed, rules.cross_source_disagreement, Reason.DISAGREEMENT),
        (SignalStatus.ONLINE in statuses and faulty, rules.status_conflict_recent, Reason.CONFLICT),
        (mixed and SignalStatus.UNKNOWN in statuses, rules.ambiguous_unknown_status, Reason.AMBIGUOUS),
        (changes >= 2, rules.status_flapping, Reason.FLAPPING),
        (not mixed and SignalStatus.DOWN in statuses, rules.all_down, None),
        (count >= 3 and not mixed, rules.many_alike, None),
        (len(sources) >= 2, rules.several_sources, None),
        (bool(rules.sources), _trust(sources, policy), None),
    )


def _trust(sources: Collection[str], policy: TriagePolicy) -> int:
    """Return the change of the most trusted source; `mail:ann@example.org` is the source mail."""
    known = policy.doubts.sources
    if not known:
        return 0
    changes = {kind.value: change for kind, change in known.items()}
    return max(changes.get(source.partition(":")[0], 0) for source in sources)
