"""What people send to the ticket desk's commands, and the gates over it: pure rules on one ticket."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from models.enums import TicketPriority, TicketStatus
from pipeline.command import Ask
from pipeline.core.refusing import Because, Refusal

#: Merged is not said by hand: merging is (`ticket.merge`), and can be undone.
Status = Literal["new", "open", "pending", "resolved", "closed", "spam"]
MOST_TAGS = 50
_NOTE_LENGTH = 20_000

Markdown = Annotated[
    str,
    StringConstraints(
        min_length=1,
        max_length=_NOTE_LENGTH,
        pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$",
    ),
]
Tag = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True,
        to_lower=True,
        min_length=1,
        max_length=64,
        pattern=r"^[^\x00-\x1f\x7f,\s]+( [^\x00-\x1f\x7f,\s]+)*$",
    ),
]


class TicketUpdate(BaseModel):
    """What changes; what is not named stays. A null assignee leaves the ticket to nobody."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"minProperties": 1})

    # Null is no status: what is not said has a value that nobody reads.
    status: Status = Field(default_factory=lambda: "new", description="Closed and spam end it.")
    priority: TicketPriority = Field(default_factory=lambda: TicketPriority.NORMAL)
    assignee_user_id: UUID | None = Field(default=None, description="A person, and so no queue.")
    assignee_queue_id: UUID | None = Field(default=None, description="A queue, and so no person.")
    account_id: UUID | None = None
    site_id: UUID | None = Field(default=None, description="A place of the account; brings its account along.")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("name at least one thing to change")
        if self.assignee_user_id is not None and self.assignee_queue_id is not None:
            raise ValueError("a ticket is a person's or a queue's: name one assignee")
        return self


class NewNote(BaseModel):
    """A note for colleagues; nobody outside sees it."""

    model_config = ConfigDict(extra="forbid")

    body_markdown: Markdown


class TagChange(BaseModel):
    """Tags to put on and to take off; they are kept in lower case."""

    model_config = ConfigDict(extra="forbid")

    add: list[Tag] = Field(default=[], max_length=MOST_TAGS)
    remove: list[Tag] = Field(default=[], max_length=MOST_TAGS)

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.add and not self.remove:
            raise ValueError("name tags to add or to remove")
        if both := sorted({*self.add} & {*self.remove}):
            raise ValueError(f"{both[0]!r} cannot be added and removed at once")
        return self


@dataclass(frozen=True, slots=True)
class Known:
    """What the organization has of the things that an update names."""

    is_member: bool = False
    is_queue: bool = False
    is_account: bool = False
    #: The account of the site that the ticket will have.
    site_account_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Ticket:
    """A ticket as it is before a command."""

    ticket_id: UUID
    status: TicketStatus
    assignee_user_id: UUID | None
    queue_id: UUID | None
    priority: TicketPriority
    account_id: UUID | None
    site_id: UUID | None
    tags: tuple[str, ...]
    version: int
    closed_at: datetime | None
    known: Known = Known()
    #: Of the mail or request that began it.
    trace_id: str | None = None


def wanted_status(asked: TicketUpdate) -> str | None:
    """Return the status that an update asks for."""
    return asked.status if "status" in asked.model_fields_set else None


def changes_of(asked: TicketUpdate, ticket: Ticket) -> dict[str, Any]:
    """Return the columns that an update sets to something else than they hold."""
    given = asked.model_fields_set
    wanted: dict[str, Any] = {
        name: getattr(asked, name) for name in ("priority", "account_id", "site_id") if name in given
    }
    if "status" in given:
        wanted["status"] = TicketStatus(asked.status)
    if given & {"assignee_user_id", "assignee_queue_id"}:
        wanted |= {"assignee_user_id": asked.assignee_user_id, "queue_id": asked.assignee_queue_id}
    if "site_id" in given and "account_id" not in given and asked.site_id is not None:
        wanted["account_id"] = ticket.known.site_account_id
    return {name: value for name, value in wanted.items() if value != getattr(ticket, name)}


def tags_after(asked: TagChange, tags: tuple[str, ...]) -> list[str]:
    """Return a ticket's tags after a change, each once, in the order in which they came."""
    kept = [tag for tag in tags if tag.lower() not in asked.remove]
    there = {tag.lower() for tag in kept}
    return [*kept, *(tag for tag in dict.fromkeys(asked.add) if tag not in there)]


def assignee_exists(ask: Ask[TicketUpdate], ticket: Ticket) -> Refusal | None:
    """Refuse people who are no active members of the organization, and queues of another one."""
    if ask.arguments.assignee_user_id is not None and not ticket.known.is_member:
        return _invalid("UNKNOWN_ASSIGNEE", "this person is no active member of your organization")
    if ask.arguments.assignee_queue_id is not None and not ticket.known.is_queue:
        return _invalid("UNKNOWN_QUEUE", "your organization has no such queue")
    return None


def place_exists(ask: Ask[TicketUpdate], ticket: Ticket) -> Refusal | None:
    """Refuse accounts and sites of another organization, and a site of another account."""
    asked = ask.arguments
    if asked.account_id is not None and not ticket.known.is_account:
        return _invalid("UNKNOWN_ACCOUNT", "your organization has no such account")
    if asked.site_id is not None and ticket.known.site_account_id is None:
        return _invalid("UNKNOWN_SITE", "your organization has no such site")
    after = _place_after(asked, ticket)
    if after["site_id"] is not None and after["account_id"] != ticket.known.site_account_id:
        return _invalid("SITE_OF_ANOTHER_ACCOUNT", "the site belongs to another account; name both, or a null site")
    return None


def place_is_reached(ask: Ask[TicketUpdate], ticket: Ticket) -> Refusal | None:
    """Refuse to move a ticket to where the one who asks does not reach (contract 000, FORBIDDEN_SCOPE)."""
    scope, after = ask.principal.scope, _place_after(ask.arguments, ticket)
    for name, reached in (("account_id", scope.account_ids), ("site_id", scope.site_ids)):
        is_moved = after[name] != getattr(ticket, name)
        if is_moved and reached is not None and after[name] not in reached:
            said = f"this {name.removesuffix('_id')} is out of your reach"
            details = {"scope_field": name, "target_id": str(after[name])}
            return Refusal("FORBIDDEN_SCOPE", said, Because.FORBIDDEN, details)
    return None


def tags_fit(ask: Ask[TagChange], ticket: Ticket) -> Refusal | None:
    """Refuse more tags than a ticket may have."""
    after = tags_after(ask.arguments, ticket.tags)
    if len(after) > MOST_TAGS and len(after) > len(ticket.tags):
        return _invalid("TOO_MANY_TAGS", f"a ticket has at most {MOST_TAGS} tags; remove some")
    return None


def _place_after(asked: TicketUpdate, ticket: Ticket) -> Mapping[str, UUID | None]:
    now: dict[str, UUID | None] = {"account_id": ticket.account_id, "site_id": ticket.site_id}
    return now | {name: value for name, value in changes_of(asked, ticket).items() if name in now}


def _invalid(code: str, said: str) -> Refusal:
    return Refusal(code, said, Because.INVALID)
