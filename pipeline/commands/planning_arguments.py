"""What the commands of day plans take."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator

from pipeline.core.duty import zone
from pipeline.core.plans import Weights
from pipeline.runtime.plan_rows import MOST

#: Technicians of one plan at most; many more than one dispatcher has.
MOST_TECHNICIANS = 200
_DEFAULTS = Weights()
_Weight = Annotated[int, Field(ge=0, le=100_000)]


class WeightsBody(BaseModel):
    """What things cost when plans are compared, in tenths of a second of travel."""

    model_config = ConfigDict(extra="forbid")

    travel: _Weight = Field(default=_DEFAULTS.travel, description="For each second on the way.")
    lateness: _Weight = Field(default=_DEFAULTS.lateness, description="For each second that a visit begins late.")
    imbalance: _Weight = Field(
        default=_DEFAULTS.imbalance, description="For each second of work beyond a technician's fair share."
    )
    continuity: _Weight = Field(
        default=_DEFAULTS.continuity, description="When somebody comes who was not there before, though others were."
    )
    left_out: int = Field(
        default=_DEFAULTS.left_out,
        ge=1,
        le=1_000,
        description="Times four hours for each job left out; ten and a hundred times that for urgent ones and "
        "emergencies.",
    )

    @property
    def weights(self) -> Weights:
        """As planning has them."""
        return Weights(**self.model_dump())


class PlanWish(BaseModel):
    """Which day to plan, with what."""

    model_config = ConfigDict(extra="forbid")

    day: date
    ticket_ids: list[UUID] | None = Field(
        default=None,
        min_length=1,
        max_length=MOST,
        description="Those to plan; else all that wait for a time or a technician and are due, offered or agreed then.",
    )
    technician_ids: list[UUID] | None = Field(
        default=None, min_length=1, max_length=MOST_TECHNICIANS, description="Those to plan for; else all."
    )
    weights: WeightsBody = Field(default_factory=WeightsBody)
    time_limit_seconds: int = Field(default=10, ge=1, le=60, description="How long the solver may look.")
    timezone: str | None = Field(
        default=None, max_length=60, description="By whose midnight the day is; else that of most shifts, else UTC."
    )

    @field_validator("timezone")
    @classmethod
    def _known(cls, said: str | None) -> str | None:
        if said is not None:
            zone(said)
        return said


class Draft(BaseModel):
    """A plan that was made: what was asked for, and what came of it."""

    day: date
    asked: dict[str, Any]
    result: dict[str, Any]


class Apply(BaseModel):
    """Applying takes nothing more than the plan."""

    model_config = ConfigDict(extra="forbid")


class Booking(BaseModel):
    """One visit of a plan."""

    plan_id: UUID
    technician_id: UUID
    starts_at: AwareDatetime
    ends_at: AwareDatetime
