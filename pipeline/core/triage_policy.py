"""How an organization triages, as a value: weights, doubts, thresholds, words, questions; checked when it changes.

Contract 003; the built-in values are those of seed-behaviours, 4.2. Decision 48 tells what is ours. Certainties are
whole hundredths, and sums of them exact, so that no order of signals shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from models.enums import GridStress, RootCause, SignalSource, SignalStatus, TriageMode
from pipeline.core.canonical_json import canonical, sha256_of

Percent = Annotated[int, Field(ge=0, le=100)]
Change = Annotated[int, Field(ge=-100, le=100)]
Hours = Annotated[int, Field(ge=1, le=8_760)]
Minutes = Annotated[int, Field(ge=0, le=525_600)]
#: One word, in lower case: what a text is compared with as a whole.
Keyword = Annotated[str, StringConstraints(strip_whitespace=True, to_lower=True, pattern=r"^[^\W_]{2,40}$")]
Line = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")
]
#: The place of the asset in a question.
ASSET = "{asset}"


def _asks_about(said: str) -> str:
    if said.replace(ASSET, "").count("{") or said.replace(ASSET, "").count("}"):
        raise ValueError("only {asset} may stand in braces")
    return said


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Weights(_Part):
    """What a report of each status weighs in the priority, and what their breadth adds."""

    down: Percent = 100
    degraded: Percent = 65
    unknown: Percent = 40
    online: Percent = 0
    worst: Percent = 70
    mean: Percent = 20
    source: Percent = 3
    most_sources: Annotated[int, Field(ge=1, le=100)] = 3
    signal: Percent = 2
    most_signals: Annotated[int, Field(ge=1, le=100)] = 5

    def of(self, status: SignalStatus) -> int:
        """Return what a report of this status weighs, in hundredths."""
        return int(getattr(self, status.value))


class Doubts(_Part):
    """What makes a case more or less certain, in hundredths; the names are those of the contract's reasons."""

    start: Percent = 88
    low_evidence_volume: Change = -24
    limited_evidence_volume: Change = -10
    cross_source_disagreement: Change = -16
    status_conflict_recent: Change = -24
    ambiguous_unknown_status: Change = -8
    status_flapping: Change = -20
    all_down: Change = 7
    many_alike: Change = 5
    several_sources: Change = 3
    lowest: Percent = 5
    highest: Percent = 99
    #: By the most trusted source that reported; a source that is not named changes nothing.
    sources: dict[SignalSource, Change] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.lowest > self.highest:
            raise ValueError("lowest must not be more than highest")
        return self


class Step(_Part):
    """From a priority on: within how many hours somebody must have come."""

    priority: Percent
    hours: Hours


class Deadlines(_Part):
    """How soon somebody comes, by priority, and when a grid is called stressed."""

    steps: tuple[Step, ...] = Field(
        default=(Step(priority=85, hours=2), Step(priority=70, hours=4), Step(priority=50, hours=8)), max_length=20
    )
    otherwise_hours: Hours = 24
    elevated_from: Percent = 60
    high_from: Percent = 80

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        floors = [step.priority for step in self.steps]
        if floors != sorted(set(floors), reverse=True):
            raise ValueError("steps stand from the highest priority down, each once")
        if self.elevated_from > self.high_from:
            raise ValueError("elevated_from must not be more than high_from")
        return self

    def hours(self, priority: int) -> int:
        """Return the hours for a priority."""
        return next((step.hours for step in self.steps if priority >= step.priority), self.otherwise_hours)

    def stress(self, priority: int) -> GridStress:
        """Return the stress level that the contract derives from the priority."""
        if priority >= self.high_from:
            return GridStress.HIGH
        return GridStress.ELEVATED if priority >= self.elevated_from else GridStress.NORMAL


class Evidence(_Part):
    """Which signals count, and how much their age takes from them; minutes, 0: not at all."""

    #: Reports weigh half as much for each of these that they are older than the newest one.
    half_life_minutes: Minutes = 0
    #: A report of the same source and status within these repeats the one before, and tells nothing new.
    duplicate_minutes: Minutes = 0
    #: What is older than the newest report by more does not count.
    most_days: Annotated[int, Field(ge=1, le=365)] = 30

    @property
    def half_life(self) -> timedelta | None:
        """The half-life; None: age takes nothing."""
        return timedelta(minutes=self.half_life_minutes) or None

    @property
    def duplicates(self) -> timedelta | None:
        """Within what a report is a repetition; None: each counts."""
        return timedelta(minutes=self.duplicate_minutes) or None

    @property
    def reach(self) -> timedelta:
        """How far back evidence counts."""
        return timedelta(days=self.most_days)


class Verification(_Part):
    """When somebody is asked before anybody is sent, what, and who."""

    #: A case less certain than this, in hundredths, waits for an answer.
    below: Percent = 65
    question: Annotated[Line, AfterValidator(_asks_about)] = f"Is charger {ASSET} physically offline right now?"
    owner: Line = "FieldOps"
    #: How certain an answered case is.
    certainty: Percent = 97


class Dispatch(_Part):
    """What is dispatched, and what of it without a person."""

    from_priority: Percent = 65
    automatic: bool = True
    least_certainty: Percent = 65
    least_priority: Percent = 65


class Keywords(_Part):
    """Words that point to a cause, beside the contract's own."""

    payment_terminal: tuple[Keyword, ...] = Field(default=(), max_length=200)
    connector: tuple[Keyword, ...] = Field(default=(), max_length=200)
    network: tuple[Keyword, ...] = Field(default=(), max_length=200)

    def of(self, cause: RootCause) -> tuple[str, ...]:
        """Return the words of a cause."""
        return tuple(getattr(self, cause.value, ()))


class Calibration(_Part):
    """What a certainty by the formula has turned out to mean: straight lines between points, in hundredths.

    Without points the formula's own number is told.
    """

    points: tuple[tuple[Percent, Percent], ...] = Field(default=(), max_length=101)

    @model_validator(mode="after")
    def _rises(self) -> Self:
        said, meant = [point[0] for point in self.points], [point[1] for point in self.points]
        if said != sorted(set(said)) or meant != sorted(meant):
            raise ValueError("points stand by rising certainty, and what they mean never falls")
        return self

    def meaning(self, hundredths: int) -> int:
        """Return what a certainty means, in whole hundredths, halves to even; beyond the points like the nearest."""
        if not self.points:
            return hundredths
        if hundredths <= self.points[0][0]:
            return self.points[0][1]
        for (low, low_is), (high, high_is) in zip(self.points, self.points[1:], strict=False):
            if hundredths <= high:
                return round(low_is + (high_is - low_is) * (hundredths - low) / (high - low))
        return self.points[-1][1]


class TriagePolicy(_Part):
    """All rules of one organization's triage."""

    mode: TriageMode = TriageMode.CERTAINTY
    weights: Weights = Weights()
    doubts: Doubts = Doubts()
    deadlines: Deadlines = Deadlines()
    evidence: Evidence = Evidence()
    verification: Verification = Verification()
    dispatch: Dispatch = Dispatch()
    keywords: Keywords = Keywords()
    calibration: Calibration = Calibration()
    #: A case of which nothing was heard for so long, and for which no work is open, is closed.
    quiet_days: Annotated[int, Field(ge=1, le=365)] = 30

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> TriagePolicy:
        """Return a stored policy; what an older version did not know has its default."""
        return cls.model_validate_json(canonical(dict(stored)))

    @classmethod
    def change(cls, before: TriagePolicy, said: Mapping[str, Any]) -> TriagePolicy:
        """Return a policy with what somebody says of it; what is left out stays.

        Raises ValueError with words that name the rule: an unknown one, and a value that it cannot have.
        """
        whole = before.stored()
        for part, values in said.items():
            is_part = isinstance(whole.get(part), dict) and isinstance(values, Mapping)
            whole[part] = {**whole[part], **values} if is_part else values
        try:
            return cls.model_validate_json(canonical(whole))
        except ValidationError as error:
            raise ValueError(_in_words(error)) from None
        except RecursionError:
            raise ValueError("policy: it is nested too deep") from None

    def as_mode(self, mode: TriageMode) -> TriagePolicy:
        """Return the same rules in a mode."""
        return self if mode is self.mode else self.model_copy(update={"mode": mode})

    def in_modes(self) -> dict[TriageMode, TriagePolicy]:
        """Return the same rules in every mode."""
        return {mode: self.as_mode(mode) for mode in TriageMode}

    def scores_like(self, other: TriagePolicy) -> bool:
        """Say whether the formula says the same by both, and means the same by it: certainties can be compared."""
        return (self.weights, self.doubts, self.evidence, self.dispatch.from_priority) == (
            other.weights, other.doubts, other.evidence, other.dispatch.from_priority,
        )  # fmt: skip

    def stored(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return self.model_dump(mode="json")

    @property
    def checksum(self) -> str:
        """SHA-256, as hex, over the canonical form."""
        return sha256_of(self.stored()).hex()

    @cached_property
    def cause_of(self) -> Mapping[str, RootCause]:
        """The organization's own words, and what they point to; one that stands in two lists points to the earlier."""
        causes = (cause for cause in RootCause if cause is not RootCause.UNKNOWN)
        pairs = [(word, cause) for cause in causes for word in self.keywords.of(cause)]
        return dict(reversed(pairs))


#: What holds until somebody changes it.
BUILT_IN = TriagePolicy()
BASELINE = BUILT_IN.as_mode(TriageMode.BASELINE)


def difference(before: TriagePolicy, after: TriagePolicy) -> dict[str, dict[str, Any]]:
    """Return what differs, by rule (`verification.below`): how it was before and is after."""
    old, new = _flat(before), _flat(after)
    return {name: {"before": old[name], "after": new[name]} for name in sorted(new) if old[name] != new[name]}


def _flat(policy: TriagePolicy) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for part, values in policy.stored().items():
        if isinstance(values, dict):
            flat |= {f"{part}.{name}": value for name, value in values.items()}
        else:
            flat[part] = values
    return flat


def _in_words(error: ValidationError) -> str:
    """Return the first trouble in one line; what was said is not repeated."""
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, first["loc"]))[:100]
    if first["type"] == "extra_forbidden":
        return f"there is no rule {place!a}"
    return f"{place or 'policy'}: {first['msg'].removeprefix('Value error, ')}"
