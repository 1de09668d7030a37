"""Questions that are passed on to a mailbox's provider while the client waits. They move no cursor."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from models.queries import comparisons, progress
from ops_api.answers import ErrorAnswer
from ops_api.dependencies import LiveMailbox, Provided, SignedIn
from ops_api.guard import GuardedRoute
from ops_api.labelling import compare
from ops_api.providers import refused
from ops_api.sync_answers import ConnectivityAnswer, LabelAnswer, LabelAnswers, connection_of
from ops_api.wording import line_of
from pipeline.runtime.errors import FieldpostError

router = APIRouter(route_class=GuardedRoute, tags=["sync"])

_REFUSALS: dict[int | str, dict[str, Any]] = {
    502: {"model": ErrorAnswer, "description": "The provider does not answer as it should; the detail has its words."},
    503: {"model": ErrorAnswer, "description": "The database does not answer, or the provider asks for patience."},
}


@router.get("/mailboxes/{mailbox_id}/sync/labels", responses=_REFUSALS)
def labels(mailbox: LiveMailbox, session: SignedIn, services: Provided) -> LabelAnswers:
    """Ask the provider for its count per label, and return it beside the ledger's."""
    mailbox_id = mailbox.ref.mailbox_id
    try:
        theirs = services.providers.labels(mailbox.ref)
    except FieldpostError as error:
        raise refused(error) from error
    with services.begin(session) as connection:
        ours = comparisons.by_label(connection, mailbox_id)
        left = progress.left(connection).get(mailbox_id, progress.Left())
    return LabelAnswers(
        mailbox_id=mailbox_id,
        to_fetch=left.fetches,
        items=[LabelAnswer.model_validate(one) for one in compare(theirs, ours)],
    )


@router.get("/mailboxes/{mailbox_id}/connectivity")
def connectivity(mailbox: LiveMailbox, services: Provided) -> ConnectivityAnswer:
    """Ask the provider, with one call, who the mailbox is; its refusal is the answer's `error`."""
    email, error = None, None
    try:
        email = services.providers.profile(mailbox.ref).address
    except FieldpostError as failure:
        error = line_of(str(failure))
    status = connection_of(mailbox.state, has_trouble=error is not None)
    return ConnectivityAnswer(status=status, profile_email=email, error=error or mailbox.state_reason)
