"""Whether a case becomes a work order, for which team, and until when."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from models.enums import RecommendedAction
from pipeline.core.scoring import Case
from pipeline.core.triage_policy import Dispatch


@dataclass(frozen=True, slots=True)
class Team:
    """Who may take work; no skills means all-round, no zones everywhere, no capacity unlimited."""

    team_id: UUID
    name: str
    skills: frozenset[str]
    zones: frozenset[str]
    open_orders: int
    capacity: int | None
    is_active: bool


@dataclass(frozen=True, slots=True)
class Candidate:
    """One team as it was weighed: with a score when it could take the work, and why in words."""

    team_id: UUID
    name: str
    score: int | None
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen team (None when no team can take the work) and every candidate, best first."""

    team_id: UUID | None
    candidates: tuple[Candidate, ...]

    def why(self, team_id: UUID) -> tuple[str, ...]:
        """Return why this team was or was not chosen; KeyError when it was no candidate."""
        for candidate in self.candidates:
            if candidate.team_id == team_id:
                return candidate.reasons
        raise KeyError(team_id)


_SKILL_POINTS = 40
_ZONE_POINTS = 30
_LOAD_POINTS = 30


def choose_team(teams: Iterable[Team], *, skill: str | None, zone: str | None) -> Choice:
    """Return the best team that is active, has room, and serves the skill and the zone (None: not asked for).

    Among those, a named skill counts 40, a named zone 30, free room up to 30. Ties go to fewer open orders, then to
    the lower id, so the answer does not depend on the order of `teams`. Case of skills and zones does not matter.
    """
    weighed = [(team, _weigh(team, skill, zone)) for team in teams]
    weighed.sort(key=lambda pair: (*_rank(pair[1]), pair[0].open_orders, pair[0].team_id))
    ordered = tuple(candidate for _, candidate in weighed)
    chosen = ordered[0].team_id if ordered and ordered[0].score is not None else None
    return Choice(chosen, ordered)


def due_at(now: datetime, sla_hours: int) -> datetime:
    """Return when work ordered at `now` is due."""
    if sla_hours <= 0:
        raise ValueError(f"sla_hours must be positive: {sla_hours}")
    return now + timedelta(hours=sla_hours)


def should_dispatch(case: Case, policy: Dispatch, *, is_confirmed: bool = False) -> tuple[bool, str]:
    """Return whether `case` becomes a work order by itself, and the first reason that decides it, in words.

    A trouble that a person has confirmed needs no priority: somebody must go.
    """
    least = policy.least_certainty / 100
    refusals = (
        (not policy.automatic, "automatic dispatch is switched off"),
        (case.verification_required, "verification is open"),
        (
            case.recommended_action != RecommendedAction.DISPATCH,
            f"the recommended action is {case.recommended_action}",
        ),
        (case.confidence < least, f"confidence {case.confidence:.2f} is below {least:.2f}"),
        (
            not is_confirmed and case.priority_score < policy.least_priority,
            f"priority {case.priority_score} is below {policy.least_priority}",
        ),
    )
    for refused, reason in refusals:
        if refused:
            return False, reason
    return True, f"priority {case.priority_score}, confidence {case.confidence:.2f}"


def _weigh(team: Team, skill: str | None, zone: str | None) -> Candidate:
    refusals = _refusals(team, skill, zone)
    if refusals:
        return Candidate(team.team_id, team.name, None, refusals)
    score, reasons = _load(team)
    for wanted, offered, points, word in (
        (skill, team.skills, _SKILL_POINTS, "skill"),
        (zone, team.zones, _ZONE_POINTS, "zone"),
    ):
        if wanted is not None and _names(offered, wanted):
            score += points
            reasons = (*reasons, f"{word} {wanted}: {points}")
    return Candidate(team.team_id, team.name, score, reasons)


def _refusals(team: Team, skill: str | None, zone: str | None) -> tuple[str, ...]:
    """Return every reason for which this team cannot take the work; none means it can."""
    full = team.capacity is not None and team.open_orders >= team.capacity
    checks = (
        (not team.is_active, "is not active"),
        (full, f"is full: {team.open_orders} of {team.capacity} orders"),
        (skill is not None and team.skills and not _names(team.skills, skill), f"lacks the skill {skill}"),
        (zone is not None and team.zones and not _names(team.zones, zone), f"does not serve the zone {zone}"),
    )
    return tuple(reason for holds, reason in checks if holds)


def _load(team: Team) -> tuple[int, tuple[str, ...]]:
    if team.capacity is None:
        points = _LOAD_POINTS // (1 + max(0, team.open_orders))
        return points, (f"{team.open_orders} open orders: {points}",)
    free = team.capacity - max(0, team.open_orders)
    points = _LOAD_POINTS * free // team.capacity
    return points, (f"{free} of {team.capacity} places free: {points}",)


def _names(offered: frozenset[str], wanted: str) -> bool:
    folded = wanted.casefold()
    return any(item.casefold() == folded for item in offered)


def _rank(candidate: Candidate) -> tuple[bool, int]:
    """Order: those that can take the work first, then the higher score."""
    return candidate.score is None, -(candidate.score or 0)
