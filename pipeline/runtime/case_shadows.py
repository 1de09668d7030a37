"""What a policy in the shadow says of each case beside the one in force: kept for comparison, decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from pipeline.core import scoring
from pipeline.core.scoring import Signal, Verdict
from pipeline.runtime.triage_policies import Version

if TYPE_CHECKING:
    from pipeline.runtime.case_rows import Assessed

_KEEP = text("""
    INSERT INTO case_shadows (policy_id, case_id, org_id, priority_score, sla_hours, confidence, recommended_action,
                              is_other)
    SELECT * FROM unnest(CAST(:policies AS uuid[]), CAST(:cases AS uuid[]), CAST(:orgs AS uuid[]),
                         CAST(:priorities AS int[]), CAST(:hours AS int[]), CAST(:confidences AS numeric[]),
                         CAST(:actions AS text[]), CAST(:others AS bool[]))
        ON CONFLICT (policy_id, case_id) DO UPDATE SET
            priority_score = excluded.priority_score, sla_hours = excluded.sla_hours, confidence = excluded.confidence,
            recommended_action = excluded.recommended_action, is_other = excluded.is_other, at = now()
""")


def keep(
    connection: Connection,
    judged: Sequence[tuple[Version | None, Sequence[Signal], Verdict | None]],
    leading: Sequence[Assessed],
) -> None:
    """Keep what the policies in the shadow say; `judged` and `leading` tell of the same assets in the same order."""
    pairs = []
    for (shadow, evidence, verdict), one in zip(judged, leading, strict=True):
        if shadow is not None:
            said = scoring.assess(evidence, shadow.policy, asset=one.case.asset, verdict=verdict)
            pairs.append((shadow.policy_id, one, said))
    if not pairs:
        return
    values = {
        "policies": [policy_id for policy_id, _, _ in pairs],
        "cases": [one.case_id for _, one, _ in pairs],
        "orgs": [one.org_id for _, one, _ in pairs],
        "priorities": [said.priority_score for _, _, said in pairs],
        "hours": [said.sla_hours for _, _, said in pairs],
        "confidences": [said.confidence for _, _, said in pairs],
        "actions": [said.recommended_action.value for _, _, said in pairs],
        "others": [said.recommended_action is not one.case.recommended_action for _, one, said in pairs],
    }
    connection.execute(_KEEP, values)
