"""What people ask of the registry of assets and the patterns of its tags, with the bounds of each field."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, SkipValidation, StringConstraints, model_validator

from pipeline.commands.field_arguments import Name
from pipeline.commands.workshop_arguments import Label
from pipeline.core.asset_files import LONGEST_NAME, LONGEST_WORD, MOST_ALIASES, AssetRow
from pipeline.core.patterns import PATTERN_LIMIT

_ON_ONE_LINE = r"^[^\x00-\x1f\x7f]*$"
Word = Annotated[str, StringConstraints(strip_whitespace=True, max_length=LONGEST_WORD, pattern=_ON_ONE_LINE)]
Alias = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=LONGEST_NAME, pattern=_ON_ONE_LINE)
]
Aliases = Annotated[list[Alias], Field(max_length=MOST_ALIASES)]
Latitude = Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)]
Longitude = Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)]
Expression = Annotated[str, StringConstraints(min_length=1, max_length=PATTERN_LIMIT, pattern=_ON_ONE_LINE)]
Position = Annotated[int, Field(strict=True, ge=0, le=10_000)]
#: Those that may be taken away.
_NULLABLE = frozenset({"zone", "lat", "lon", "site_id"})


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewAsset(_Strict):
    """An asset that is entered."""

    tag: Name = Field(description="What it is called for good, like AUS_0123.")
    name: Label = ""
    aliases: Aliases = Field(default=[], description="What else people call it.")
    kind: Word = ""
    zone: Word | None = None
    lat: Latitude | None = None
    lon: Longitude | None = None
    site_id: UUID | None = None

    def columns(self) -> dict[str, Any]:
        """Return what is stored of it."""
        return self.model_dump()


class AssetChange(_Strict):
    """What is to change; what is left out stays. Zone, place and site may be null."""

    tag: Name | None = None
    name: Label | None = None
    aliases: Aliases | None = None
    kind: Word | None = None
    zone: Word | None = None
    lat: Latitude | None = None
    lon: Longitude | None = None
    site_id: UUID | None = None

    @model_validator(mode="before")
    @classmethod
    def _says_something(cls, said: Any) -> Any:
        return _telling(said, _NULLABLE)

    def columns(self) -> dict[str, Any]:
        """Return the columns that were named."""
        return self.model_dump(exclude_unset=True)


class AssetImport(BaseModel):
    """The rows of a file that was read and checked (`asset_files.read_assets`), and the columns it has."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    columns: frozenset[str]
    rows: SkipValidation[tuple[AssetRow, ...]]


class NewTagPattern(_Strict):
    """How an organization writes tags: an RE2 expression, and the tag that its groups make."""

    pattern: Expression = Field(description="Letter case does not matter.", examples=[r"charging point #?(\d{4})"])
    tag: Name = Field(description=r"With \1 for the first group, \0 for all.", examples=[r"AUS_\1"])
    position: Position = 100
    is_enabled: bool = Field(default=True, strict=True)


class TagPatternChange(_Strict):
    """What is to change of a pattern; what is left out stays."""

    pattern: Expression | None = None
    tag: Name | None = None
    position: Position | None = None
    is_enabled: bool | None = Field(default=None, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _says_something(cls, said: Any) -> Any:
        return _telling(said, frozenset())

    def columns(self) -> dict[str, Any]:
        """Return the columns that were named."""
        return self.model_dump(exclude_unset=True)


def _telling(said: Any, nullable: frozenset[str]) -> Any:
    if isinstance(said, dict):
        if not said:
            raise ValueError("name at least one field")
        for name, value in said.items():
            if value is None and name not in nullable:
                raise ValueError(f"{str(name)[:40]} may not be null; leave it out to leave it as it is")
    return said
