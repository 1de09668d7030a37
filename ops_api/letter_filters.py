"""Which dead letters a request means: one set of filters for addresses and for bodies."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from dlq.reading import Which
from models.enums import Cause, Resolution
from ops_api.job_types import stage_of

Reason = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, min_length=1, max_length=500, pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"
    ),
]
_Stage = Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,64}$")]
_Group = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{1,64}$")]
_Class = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_.]{0,199}$")]
_Text = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")
]


class LetterState(StrEnum):
    """Which letters a list shows."""

    OPEN = "open"
    REPLAYED = "replayed"
    DISCARDED = "discarded"
    ALL = "all"

    def which(self) -> Which:
        """Return what `dlq.reading` narrows by."""
        if self is LetterState.ALL:
            return Which(is_open=None)
        if self is LetterState.OPEN:
            return Which(is_open=True)
        return Which(is_open=False, resolution=Resolution(self.value))


class LetterFilter(BaseModel):
    """What letters have in common; what is left out does not narrow, and an unknown name is refused."""

    model_config = ConfigDict(extra="forbid")

    stage: _Stage | None = Field(default=None, description="A stage, or a job type.")
    mailbox_id: UUID | None = None
    cause: Cause | None = None
    error_group: _Group | None = Field(default=None, description="A kind of error, as listed by groups.")
    error_class: _Class | None = Field(default=None, description="The error's class, exactly.")
    text: _Text | None = Field(
        default=None,
        description="In any case: stands in the error, key, subject, provider's id or mailbox's address.",
    )
    since: AwareDatetime | None = Field(default=None, description="Became a dead letter then or later.")
    until: AwareDatetime | None = Field(default=None, description="Became a dead letter before then.")

    def which(self, org_id: UUID) -> Which:
        """Return what `dlq.reading` narrows by, inside an organization."""
        return Which(
            org_id=org_id,
            stage=stage_of(self.stage) if self.stage else None,
            mailbox_id=self.mailbox_id,
            cause=self.cause,
            group=self.error_group,
            error_class=self.error_class,
            text=self.text,
            since=self.since,
            until=self.until,
        )


class LetterQuery(LetterFilter):
    """The filters in an address, beside which others may stand."""

    model_config = ConfigDict(extra="ignore")
