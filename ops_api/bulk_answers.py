"""Wishes about many dead letters as the API takes and answers them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dlq.bulk_reading import Bulk
from dlq.bulks import Started
from dlq.history import Action
from dlq.reading import Which
from models.enums import BulkAction, BulkState, ItemState
from ops_api.bulk_wishes import Counted
from ops_api.letter_answers import ActionAnswer
from ops_api.letter_filters import LetterFilter, Reason

LARGEST_ID = 2**63 - 1
#: More is said by a filter.
MOST_IDS = 10_000
MOST_CANARIES = 1_000
MOST_PER_SECOND = 1_000

_Id = Annotated[int, Field(strict=True, ge=1, le=LARGEST_ID)]


class CountedBefore(BaseModel):
    """What the count of these filters answered: letters that came after it are not meant."""

    model_config = ConfigDict(extra="forbid")

    count: int = Field(strict=True, ge=0, le=LARGEST_ID)
    newest_letter_id: _Id | None

    def value(self) -> Counted:
        """Return it as a value."""
        return Counted(self.count, self.newest_letter_id)


class BulkRequest(BaseModel):
    """Which letters, said in one of two ways, and why: filters with their count, or ids."""

    model_config = ConfigDict(extra="forbid")

    filter: LetterFilter | None = None
    letter_ids: Annotated[list[_Id], Field(min_length=1, max_length=MOST_IDS)] | None = None
    counted: CountedBefore | None = Field(default=None, description="Needed with a filter: the answer of .../count.")
    reason: Reason

    @model_validator(mode="after")
    def _said_once(self) -> Self:
        if (self.filter is None) == (self.letter_ids is None):
            raise ValueError("say which letters with either filter or letter_ids")
        if (self.filter is None) != (self.counted is None):
            raise ValueError("send what GET /ops/jobs/dlq/count answered as counted, with a filter and only then")
        return self

    def which(self, org_id: UUID) -> Which:
        """Return what `dlq.reading` narrows by, inside an organization."""
        if self.filter is not None:
            return self.filter.which(org_id)
        return Which(org_id=org_id, letter_ids=self.letter_ids)


class BulkReplayRequest(BulkRequest):
    """Which letters, why, and how carefully."""

    canary: int = Field(
        default=0, strict=True, ge=0, le=MOST_CANARIES, description="So many go first; it stops when one fails again."
    )
    per_second: float | None = Field(
        default=None, gt=0, le=MOST_PER_SECOND, allow_inf_nan=False, description="Null: as fast as live mail allows."
    )


class CancelRequest(BaseModel):
    """Why; kept with the bulk."""

    reason: Reason


class BulkAnswer(BaseModel):
    """One wish about many letters, and how far it is."""

    model_config = ConfigDict(from_attributes=True)

    id: int = Field(validation_alias="bulk_id")
    action: BulkAction
    state: BulkState
    selection: dict[str, Any]
    canaries: int
    per_second: float | None
    total: int
    waiting: int
    released: int = Field(description="Let go, and not ended yet.")
    passed: int
    failed: int = Field(description="Failed again.")
    skipped: int
    forgotten: int = Field(description="Taken by retention after their time, whatever became of them.")
    actor: str
    reason: str
    created_at: datetime
    finished_at: datetime | None
    ended_because: str | None = Field(description="Why it ended before its last letter.")
    eta_seconds: float | None = Field(description="About how long it still takes; null when nobody can tell.")


class BulkDetailAnswer(BulkAnswer):
    """One wish with who did what to it."""

    history: list[ActionAnswer] = Field(description="What was done to the bulk itself, the newest first.")

    @classmethod
    def whole(cls, bulk: Bulk, actions: Sequence[Action]) -> Self:
        """Return the answer for a wish with its history."""
        history = [ActionAnswer.model_validate(action) for action in actions]
        known = BulkAnswer.model_validate(bulk).model_dump(exclude={"id"})
        return cls.model_validate(known | {"bulk_id": bulk.bulk_id, "history": history})


class StartedAnswer(BaseModel):
    """The wish that goes on: a new one, or the equal one that was going on already."""

    id: int | None = Field(description="Null when no letter was taken: none is open, or other wishes have them.")
    total: int = Field(description="Letters that it took.")
    is_new: bool = Field(description="False: an equal wish goes on already, and this is it; or there is none.")
    left_out: int = Field(
        description="Letters that were meant and are not in it: another wish has them under way, or they were named by "
        "id and are not open, or they came after the equal wish had begun."
    )
    under_way: int = Field(description="Those of left_out that another wish has under way; 0 with an equal wish.")
    bulk: BulkAnswer | None

    @classmethod
    def of(cls, started: Started, found: Bulk | None) -> StartedAnswer:
        """Return the answer for a wish and its bulk; None when no letter was taken."""
        return cls(
            id=started.bulk_id,
            total=started.total,
            is_new=started.is_new,
            left_out=started.left_out,
            under_way=started.under_way,
            bulk=None if found is None else BulkAnswer.model_validate(found),
        )


class Bulks(BaseModel):
    """One page, the newest first."""

    items: list[BulkAnswer]
    next_cursor: str | None = Field(description="Null on the last page.")


class ItemAnswer(BaseModel):
    """What became of one letter of a wish."""

    model_config = ConfigDict(from_attributes=True)

    place: int
    letter_id: int
    job_id: int
    state: ItemState
    stage: str
    key: str
    mailbox: str | None
    subject: str | None
    note: str | None = Field(description="What was said when it failed again, or why it was left out.")
    again_id: int | None = Field(description="The letter it became when it failed again.")
    released_at: datetime | None
    ended_at: datetime | None


class Items(BaseModel):
    """One page, in the order in which they go."""

    items: list[ItemAnswer]
    next_cursor: str | None = Field(description="Null on the last page.")
