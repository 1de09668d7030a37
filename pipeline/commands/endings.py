"""The ends of a ticket's field work, and the ways back from them: cancel, close, reopen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from models.enums import DispatchState
from models.permissions import Permission
from pipeline.command import Ask, Command, Effect
from pipeline.commands.field import TICKET, changed, lifecycle, not_merged, ticket_target
from pipeline.commands.field_arguments import GivenReason, Reason
from pipeline.core.field_work import FieldTicket
from pipeline.core.refusing import Because, Refusal
from pipeline.runtime import approval_rows, clocks, field_endings

_S = DispatchState
_CLEARED: dict[str, Any] = dict.fromkeys(field_endings.UNASSIGNED)


class Ending(GivenReason):
    """Why it ends, or goes on after all."""


class Closing(BaseModel):
    """The last word on a ticket."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason | None = Field(default=None, description="Why nothing is billed; needed where there is no invoice.")


def says_why_unbilled(ask: Ask[Closing], ticket: FieldTicket) -> Refusal | None:
    """Refuse to close work that was not billed without a reason."""
    if ticket.state is not _S.VERIFIED or ask.arguments.reason is not None:
        return None
    said = "nothing was billed: say why in `reason`, or generate the invoice first"
    return Refusal("INVALID_REQUEST", said, Because.INVALID, {"fields": {"reason": said}})


def _look(connection: Connection, _ask: Ask[Ending], ticket: FieldTicket) -> Mapping[str, Any]:
    return {"back": approval_rows.leads_back_to(connection, ticket.ticket_id)}


def is_not_done(_ask: Ask[Ending], ticket: FieldTicket) -> Refusal | None:
    """Refuse to cancel work that was verified and waits for a higher limit: it was done."""
    if ticket.known["back"] is not _S.VERIFIED:
        return None
    said = "the work is verified and waits for a higher limit: decide the approval, then invoice or close it"
    details = {"from_state": ticket.state.value, "to_state": _S.CANCELLED.value}
    return Refusal("INVALID_STATE_TRANSITION", said, details=details)


def _cancel(connection: Connection, ask: Ask[Ending], ticket: FieldTicket) -> Effect:
    reason = ask.arguments.reason
    ended = field_endings.end(connection, ticket, by=ask.principal.actor_id, because=reason)
    path, details = [_S.CANCELLED], {"reason": reason}
    effect = changed(connection, ask, ticket, "ticket.cancel", _CLEARED, path=path, details=details, jobs=ended.jobs)
    if ended.left_desk:
        clocks.note_status(connection, [ticket.ticket_id], because="cancelled")
    return effect


def _close(connection: Connection, ask: Ask[Closing], ticket: FieldTicket) -> Effect:
    reason = ask.arguments.reason
    ended = field_endings.end(connection, ticket, by=ask.principal.actor_id, because=reason or "closed")
    details = {"reason": reason, "is_billed": ticket.state is _S.INVOICED}
    effect = changed(connection, ask, ticket, "ticket.close", path=[_S.CLOSED], details=details, jobs=ended.jobs)
    if ended.left_desk:
        clocks.note_status(connection, [ticket.ticket_id], because="closed")
    return effect


def _reopen(connection: Connection, ask: Ask[Ending], ticket: FieldTicket) -> Effect:
    reason, returns = ask.arguments.reason, False
    changes: dict[str, Any] = {}
    if ticket.state is _S.VERIFIED:
        to, changes = _S.IN_PROGRESS, {"rework_reason": reason}
        field_endings.send_again(connection, ticket, by=ask.principal.actor_id)
    else:
        to = _S.NEW if ticket.incident_type is None else _S.TRIAGED
        returns = field_endings.begin_again(connection, ticket)
    effect = changed(connection, ask, ticket, "ticket.reopen", changes, path=[to], details={"reason": reason})
    if returns:
        clocks.note_status(connection, [ticket.ticket_id], because="reopened")
    return effect


CANCEL = Command(
    **lifecycle("ticket.cancel"),
    about="Gives the work up, with whatever was planned and asked for it.",
    arguments=Ending,
    permission=Permission.TICKET_CANCEL,
    target=ticket_target(_look),
    effect=_cancel,
    gates=(not_merged, is_not_done),
)
REOPEN = Command(
    **lifecycle("ticket.reopen"),
    about="Takes up again what was cancelled, or verified and not yet billed.",
    arguments=Ending,
    permission=Permission.TICKET_REOPEN,
    target=TICKET,
    effect=_reopen,
    gates=(not_merged,),
)
CLOSE = Command(
    **lifecycle("ticket.close"),
    about="Ends it for good: billed, or with the reason why not.",
    arguments=Closing,
    permission=Permission.TICKET_CLOSE,
    target=TICKET,
    effect=_close,
    gates=(not_merged, says_why_unbilled),
)
#: What `pipeline.table` finds here.
COMMANDS = (CANCEL, REOPEN, CLOSE)
