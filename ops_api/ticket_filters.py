"""Which tickets a request means: one set of filters for addresses and for saved views (contract 001, and beyond it)."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from models.enums import TicketPriority, TicketStatus
from models.queries.ticket_clauses import Sla, Wanted

_Words = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
_Tag = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, to_lower=True, min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$"
    ),
]


class TicketFilter(BaseModel):
    """What tickets have in common; what is left out does not narrow, and an unknown name is refused."""

    model_config = ConfigDict(extra="forbid")

    q: _Words | None = Field(
        default=None,
        description="In any case: stands in the subject or the requester's address, or is a ticket's code or the "
        "beginning of one, with or without `tkt-` (without it, three letters or more).",
    )
    status: list[TicketStatus] = Field(
        default=[], max_length=len(TicketStatus), description="One of these; merged tickets come only when named."
    )
    assignee_user_id: UUID | None = None
    assignee_queue_id: UUID | None = None
    unassigned: bool = Field(default=False, description="Neither a person's nor a queue's.")
    tag: list[_Tag] = Field(default=[], max_length=20, description="All of these.")
    since: AwareDatetime | None = Field(default=None, description="Last activity then or later.")
    until: AwareDatetime | None = Field(default=None, description="Last activity before then.")
    created_after: AwareDatetime | None = Field(default=None, description="Opened then or later.")
    created_before: AwareDatetime | None = Field(default=None, description="Opened before then.")
    mailbox_id: UUID | None = Field(default=None, description="It came in by this mailbox.")
    priority: TicketPriority | None = None
    sla: Sla | None = Field(default=None, description="How its next deadline stands.")
    account_id: UUID | None = None
    site_id: UUID | None = None

    def wanted(self) -> Wanted:
        """Return what the query narrows by."""
        return Wanted(
            statuses=tuple(dict.fromkeys(self.status)),
            words=self.q or None,
            assignee_user_id=self.assignee_user_id,
            queue_id=self.assignee_queue_id,
            is_unassigned=self.unassigned,
            tags=tuple(dict.fromkeys(self.tag)),
            since=self.since,
            before=self.until,
            created_since=self.created_after,
            created_before=self.created_before,
            mailbox_id=self.mailbox_id,
            priority=self.priority,
            sla=self.sla,
            account_id=self.account_id,
            site_id=self.site_id,
        )


class TicketQuery(TicketFilter):
    """The filters in an address, beside which others may stand."""

    model_config = ConfigDict(extra="ignore")


class ViewFilter(TicketFilter):
    """What a saved view keeps: the filters that are set, and how many tickets a page has."""

    limit: Annotated[int, Field(ge=1, le=100)] | None = None
