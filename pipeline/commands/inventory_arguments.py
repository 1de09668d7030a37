"""What people ask of the inventory: things, categories and parts, with the bounds of each field."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from models.enums import InventoryState
from pipeline.commands.field_arguments import Flag, Name
from pipeline.commands.workshop_arguments import Label, Typed
from pipeline.core.serials import is_well_formed, normal


def _serial(said: str) -> str:
    serial = normal(said)
    if not is_well_formed(serial):
        raise ValueError("a serial number is RM- with 4 to 29 letters, digits or hyphens after it")
    return serial


#: In any case of letters and with any white space; kept without and in capitals.
Serial = Annotated[Typed, AfterValidator(_serial)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Change(_Strict):
    """What is to change; what is left out stays as it is, and null is no value."""

    @model_validator(mode="before")
    @classmethod
    def _says_something(cls, said: Any) -> Any:
        if isinstance(said, dict) and (not said or None in said.values()):
            raise ValueError("name at least one field, each with a value")
        return said


class NewItem(_Strict):
    """A thing that is made known."""

    serial_number: Serial
    name: Label = Field(default="", description="The serial number where it has none.")
    category_id: UUID | None = None
    status: InventoryState = InventoryState.READY


class ItemChange(_Change):
    """What is to change of a thing."""

    serial_number: Serial | None = None
    name: Name | None = None
    category_id: UUID | None = None
    status: InventoryState | None = None

    def changes(self) -> dict[str, Any]:
        """Return the columns that were named."""
        said = self.model_dump(exclude_unset=True)
        return {"state" if name == "status" else name: value for name, value in said.items()}


class NewCategory(_Strict):
    """A kind of things."""

    name: Name


class NewStockPart(_Strict):
    """A part of the things of a category."""

    name: Name
    category_id: UUID


class PartChange(_Change):
    """What is to change of a part."""

    name: Name | None = None
    is_active: Flag | None = None
