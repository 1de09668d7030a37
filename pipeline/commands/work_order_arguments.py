"""What bodies of contract 004's changes hold, and the rules on them that look at nothing else."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

from models.enums import TicketPriority
from pipeline.command import Ask
from pipeline.commands.field_arguments import Line, Moment, Name, Words
from pipeline.core.findings import Finding
from pipeline.core.orders import Order
from pipeline.core.refusing import Because, Refusal

#: Text that may be left out or blank; whether it must say something is judged with the order at hand.
Said = Annotated[Words, StringConstraints(strip_whitespace=True, max_length=2_000)]
_EARLIEST, _LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


def _lower(said: Any) -> Any:
    return said.strip().lower() if isinstance(said, str) else said


def _plausible(at: datetime) -> datetime:
    if not _EARLIEST <= at < _LATEST:
        raise ValueError("it lies between 2000 and 2200")
    return at


class Wish(BaseModel):
    """A body of contract 004: names as the contract writes them, and no others."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=True)


class Nothing(Wish):
    """Nothing but the wish."""


class Finish(Wish):
    """The work is done."""

    fix_note: Said | None = Field(default=None, description="What was done.")
    finding: Finding | None = Field(
        default=None, description="Whether a fault was found; without it one that was fixed is assumed, and noted so."
    )


class Reasoned(Wish):
    """Why; blank is refused with 422 `fields.reason`."""

    reason: Said | None = None


class Assignment(Wish):
    """To whom it is given."""

    technician_id: UUID


class Outsourcing(Wish):
    """Who does it instead of us."""

    vendor: Name
    reason: Said | None = None


class OutsourcedEnd(Wish):
    """The vendor has done it."""

    note: Said | None = None
    finding: Finding | None = Field(
        default=None, description="Whether a fault was found; without it nothing is assumed, since nothing proves it."
    )


class SourceChecklist(Wish):
    """The checklist that found it: by its id, or by its name the round that is held, else a new one."""

    id: UUID | None = None
    name: Name | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.id is None) == (self.name is None):
            raise ValueError("name its id or its name, and one of them only")
        return self


class FailedItem(Wish):
    """What failed on it."""

    id: Name = Field(description="What the checklist's app calls the item.")
    text: Line
    note: Said | None = None


class NewOrder(Wish):
    """What is to be done, where, and what found it."""

    game_zone_id: UUID
    ride_id: UUID | None = None
    source_checklist: SourceChecklist
    a_item: FailedItem
    title: Line | None = Field(default=None, description="Without one, what failed.")
    priority: Annotated[TicketPriority, BeforeValidator(_lower)] = TicketPriority.NORMAL
    due_at: Annotated[Moment, AfterValidator(_plausible)] | None = Field(
        default=None, description="Without one, by its priority: 1, 4, 24 or 48 hours from now."
    )
    instructions: Annotated[Words, StringConstraints(strip_whitespace=True, max_length=4_000)] | None = None


def says_why(ask: Ask[Reasoned], _order: Order) -> Refusal | None:
    """Refuse a change without a reason that somebody could read (contract 004, the return gate)."""
    if _is_readable(ask.arguments.reason or ""):
        return None
    return invalid("reason", "say why, in words")


def invalid(name: str, said: str, code: str = "INVALID_REQUEST") -> Refusal:
    """Return the refusal of one value of the body, 422 with `fields` in contract 004's envelope."""
    return Refusal(code, f"{name}: {said}", Because.INVALID, {"fields": {name: said}})


def _is_readable(said: str) -> bool:
    return any(one.isprintable() and not one.isspace() for one in said)
