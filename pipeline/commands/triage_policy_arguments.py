"""What is said with the commands on policies of triage."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

#: The largest number that a version can have.
LARGEST = 2**31 - 1

_WORDS = StringConstraints(strip_whitespace=True, max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")
Why: TypeAlias = Annotated[str, _WORDS, Field(min_length=1, description="For whoever reads it in a year.")]
PerhapsWhy: TypeAlias = Annotated[str, _WORDS]
Number: TypeAlias = Annotated[int, Field(strict=True, ge=0, le=LARGEST)]


class PolicyDraft(BaseModel):
    """What changes, by part (`{"verification": {"below": 70}}`); what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid")

    policy: dict[str, Any] = Field(max_length=20, description="Parts with the rules that change, and their new values.")
    from_version: Number | None = Field(
        default=None,
        description="The version that it begins with; the one in force unless said, 0 is the built-in one.",
    )
    reason: Why


class PolicyNote(BaseModel):
    """Why, if anybody is to know."""

    model_config = ConfigDict(extra="forbid")

    reason: PerhapsWhy = ""


class PolicyActivation(BaseModel):
    """Which version it takes the place of, where `If-Match` does not say it."""

    model_config = ConfigDict(extra="forbid")

    replaces: Number | None = Field(default=None, description="The version that is in force; 0 is the built-in one.")
    reason: PerhapsWhy = ""


class PolicyRollback(BaseModel):
    """Why that version holds again."""

    model_config = ConfigDict(extra="forbid")

    reason: Why
