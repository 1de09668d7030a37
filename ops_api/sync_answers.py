"""The shapes of answers about a mailbox's synchronisation, and how they are filled."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from models.enums import BackfillState, GapCause, GapState, MailboxState, OccurrenceState, ReconcileScope


class _Read(BaseModel):
    """An answer that is read from a value's fields."""

    model_config = ConfigDict(from_attributes=True)


class WindowAnswer(_Read):
    """The stretch of time that a listing is in; null: open on that side."""

    number: int
    after_at: datetime | None
    before_at: datetime | None
    pages: int
    listed: int


class BackfillAnswer(_Read):
    """A listing under way: ids named so far, those that were new, the provider's estimate of all."""

    since: datetime | None
    listed: int
    fresh: int
    estimate: int | None
    started_at: datetime
    windows_done: int
    restarts: int = Field(description="How often the provider forgot where the listing was.")
    window: WindowAnswer | None


class Completeness(BaseModel):
    """Where every id that the provider named stands. `unaccounted` is the promise: 0."""

    by_state: dict[OccurrenceState, int]
    ids: int = Field(description="All states together.")
    stranded: int = Field(description="On their way without a job that would take them on.")
    missing: int = Field(description="Ids that the provider has and the ledger lacks, as gaps that are not filled say.")
    unaccounted: int

    @classmethod
    def of(cls, by_state: dict[str, int], stranded: int, missing: int) -> Self:
        """Return the counts with their sums."""
        return cls(
            by_state={OccurrenceState(state): number for state, number in by_state.items()},
            ids=sum(by_state.values()),
            stranded=stranded,
            missing=missing,
            unaccounted=stranded + missing,
        )


class ReconcileAnswer(_Read):
    """A comparison with the provider: how far back it reads (null: everything), and what it found."""

    reconcile_id: UUID
    scope: ReconcileScope
    state: BackfillState
    since: datetime | None
    asked_by: str
    started_at: datetime
    finished_at: datetime | None
    listed: int = Field(description="Ids that the provider named.")
    missing: int = Field(description="Ids that the ledger lacked.")
    vanished: int = Field(description="Occurrences that the provider named no more.")
    relabelled: int
    is_doubted: bool = Field(description="It lacked messages that are still there; nothing was marked as gone.")
    label: str = Field(description="The label under way; empty while all mail is listed, and at the end.")
    labels_left: int


class AuditAnswer(BaseModel):
    """The completeness proof, and what the last comparison of every id said; null before the first.

    What an audit found missing counts until its gap is filled; any other comparison has fetched it.
    """

    mailbox_id: UUID
    completeness: Completeness
    provider_ids: int | None
    missing: int | None
    vanished: int | None
    compared_at: datetime | None
    scope: ReconcileScope | None
    is_proved: bool = Field(description="Every id was compared, and nothing is unaccounted for.")
    recent: list[ReconcileAnswer] = Field(description="The newest comparisons, the one under way first.")


class AskedAnswer(BaseModel):
    """The comparison that was asked for, or the one under way that it joined."""

    mailbox_id: UUID
    reconcile_id: UUID


class GapAnswer(_Read):
    """A stretch of time in which ids were, or may have been, missing."""

    gap_id: UUID
    cause: GapCause
    state: GapState
    from_at: datetime | None = Field(description="Null: since ever.")
    to_at: datetime
    missing: int | None = Field(description="Null while nobody has counted.")
    sample_ids: list[str]
    found_at: datetime
    filled_at: datetime | None
    filled_by: str | None


class GapAnswers(BaseModel):
    """The newest gaps, filled ones too."""

    items: list[GapAnswer]


class FillingAnswer(BaseModel):
    """How many gaps are being filled because of this request; asking again finds none."""

    gaps_filling: int


class LabelAnswer(_Read):
    """One label: the provider's count beside the ledger's; the difference is what the ledger has more."""

    label_id: str
    name: str
    provider: int
    ledger: int
    difference: int


class LabelAnswers(BaseModel):
    """Every label that the provider counts. Labels of a message are known here once it is fetched."""

    mailbox_id: UUID
    to_fetch: int = Field(description="Messages whose labels are not known yet.")
    items: list[LabelAnswer]


class Connection(StrEnum):
    """How a mailbox is connected."""

    CONNECTED = "connected"
    DEGRADED = "degraded"  #: the provider does not answer as it should, or did not lately
    PAUSED = "paused"  #: nothing is read until a time
    DISABLED = "disabled"  #: a person must act


class ConnectivityAnswer(BaseModel):
    """Whether the provider answers for the mailbox now."""

    status: Connection
    profile_email: str | None = Field(description="Who the provider says the mailbox is; null without an answer.")
    error: str | None


def connection_of(state: MailboxState, *, has_trouble: bool) -> Connection:
    """Return how a mailbox in a state is connected."""
    if state in (MailboxState.AUTH_REQUIRED, MailboxState.BLOCKED):
        return Connection.DISABLED
    if state in (MailboxState.PAUSED, MailboxState.SUSPENDED):
        return Connection.PAUSED
    return Connection.DEGRADED if has_trouble or state is MailboxState.PROBING else Connection.CONNECTED
