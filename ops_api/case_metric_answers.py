"""What triage was worth, as HTTP tells it: contract 003's three numbers, and what stands behind them (additive)."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field

from models.enums import TruthSource
from ops_api.case_answers import CancelledOrder, CaseAnswer


class Share(BaseModel):
    """A share in percent, and between what it lies with 95 % confidence (Wilson)."""

    value: float
    low: float
    high: float


class OfModes(BaseModel):
    """A count of each mode."""

    baseline: int
    certainty: int


class MinutesOfModes(BaseModel):
    """Minutes of each mode, over all cases."""

    baseline: float
    certainty: float


class SharesOfModes(BaseModel):
    """A share of each mode."""

    baseline: Share
    certainty: Share


class Known(BaseModel):
    """How many cases there are, and of how many something is known."""

    cases: int
    known: int = Field(description="It was found out whether something was wrong.")
    assumed: int = Field(description="Of these, what nobody said: the work was completed with evidence, or passed.")
    real: int
    not_real: int
    criticals: int = Field(description="Real, and of priority 80 or more.")
    measured: int = Field(description="Minutes to the decision were measured.")


class CompareCounts(Known):
    """What the three numbers were counted from."""

    false_dispatches: OfModes
    criticals_caught: OfModes
    minutes: MinutesOfModes


class CompareIntervals(BaseModel):
    """How sure the shares behind the numbers are."""

    false_dispatch_rate_pct: SharesOfModes
    critical_catch_rate_pct: SharesOfModes


class CompareMetrics(BaseModel):
    """Certainty beside baseline on the same cases, by what turned out to be true (contract 003, CompareMetrics)."""

    false_dispatch_reduction_pct: float
    triage_time_reduction_pct: float
    critical_catch_rate_delta_pct: float
    since: datetime
    is_whole: bool = Field(description="False: only the newest 20,000 cases were counted.")
    counts: CompareCounts
    intervals: CompareIntervals


class ReliabilityBin(BaseModel):
    """Certainties of one tenth: how many, what they said on average, how often they were right."""

    low: float
    count: int
    said: float
    was: float


class PolicyWorth(Known):
    """What one version of the triage policy was worth, by the mode that led."""

    policy_version: int
    false_dispatches: int
    false_dispatch_rate_pct: Share
    missed_criticals: int = Field(description="Criticals to which nobody was sent within the SLA.")
    triage_minutes_p50: float
    triage_minutes_p95: float
    expected_calibration_error: float
    brier_score: float
    reliability: list[ReliabilityBin]


class TruthMetrics(Known):
    """How triage stood to what turned out to be true, by version of the policy, the newest first."""

    since: datetime
    is_whole: bool = Field(description="False: only the newest 20,000 cases were counted.")
    policies: list[PolicyWorth]


class ToldTruth(BaseModel):
    """What somebody says was true."""

    source: TruthSource
    is_real: bool
    note: str
    actor_id: str
    at: datetime


class CaseCorrected(BaseModel):
    """What was said, and the case as it is now."""

    case: CaseAnswer
    truth: ToldTruth
    cancelled_work_orders: list[CancelledOrder]
