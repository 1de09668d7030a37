"""What people ask of the workshop: intake, review, metrics, assignment, an end; with the bounds of each field."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from models.enums import FlagColor
from pipeline.commands.field_arguments import Flag, Reason
from pipeline.core.repairs import PartSpec
from pipeline.core.serials import normal

_ON_ONE_LINE = r"^[^\x00-\x1f\x7f]*$"
_PLAIN = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"
#: No part takes longer than a week without a break; sums of all stay within 32 bits.
MOST_MINUTES = 10_080
MOST_PARTS = 200
MOST_XP = 1_000_000
_BOTH = "a manual override needs both flag_color and xp_amount"

#: One line, empty where nothing is to be said.
Label = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200, pattern=_ON_ONE_LINE)]
Comment = Annotated[str, StringConstraints(strip_whitespace=True, max_length=2_000, pattern=_PLAIN)]
#: As somebody types it; what is kept has no white space and capitals alone.
Typed = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
Minutes = Annotated[int, Field(strict=True, ge=1, le=MOST_MINUTES)]
Points = Annotated[int, Field(strict=True, ge=0, le=MOST_XP)]


class Nothing(BaseModel):
    """A wish that says all by its address; what else it holds is not read."""


class PartSpecWish(BaseModel):
    """What is to be done to one part."""

    part_id: UUID
    color: FlagColor
    comment: Comment = ""
    minutes: Minutes

    def spec(self) -> PartSpec:
        """Return it as a value."""
        return PartSpec(self.part_id, self.color, self.comment, self.minutes)


class NewRepair(BaseModel):
    """A thing that comes in, and what is to be done to it; fields of other clients are passed over (contract 002)."""

    serial_number: Typed
    title: Label = ""
    part_specs: list[PartSpecWish] = Field(min_length=1, max_length=MOST_PARTS)
    flag_color: FlagColor | None = Field(default=None, description="With xp_amount alone, in place of the rules.")
    xp_amount: Points | None = None
    confirm_create_inventory_item: Flag = Field(default=False, description="The serial number is unknown, and right.")
    inventory_item_creation_reason: Comment | None = Field(default=None, description="Why the thing was not known.")
    approve_review: Flag = Field(default=False, description="Refused: somebody else reviews what one takes in.")

    @field_validator("serial_number")
    @classmethod
    def _is_normal(cls, said: str) -> str:
        serial = normal(said)
        if not serial:
            raise ValueError("write the serial number")
        return serial

    @field_validator("part_specs")
    @classmethod
    def _is_each_once(cls, said: list[PartSpecWish]) -> list[PartSpecWish]:
        if len({one.part_id for one in said}) != len(said):
            raise ValueError("each part may be named once")
        return said

    @model_validator(mode="after")
    def _has_both(self) -> NewRepair:
        if (self.flag_color is None) != (self.xp_amount is None):
            raise ValueError(_BOTH)
        return self

    @property
    def minutes(self) -> int:
        """The sum over the parts."""
        return sum(one.minutes for one in self.part_specs)


class ManualMetrics(BaseModel):
    """How large a repair is called and what it is worth, as a person says."""

    flag_color: FlagColor
    xp_amount: Points

    @model_validator(mode="before")
    @classmethod
    def _has_both(cls, said: Any) -> Any:
        if isinstance(said, dict) and ("flag_color" in said) != ("xp_amount" in said):
            raise ValueError(_BOTH)
        return said


class RepairAssignment(BaseModel):
    """Who is to do it."""

    technician_id: UUID


class Cancelling(BaseModel):
    """Why it is given up."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason
