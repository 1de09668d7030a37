"""Mails that tests hand over to senders."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID, uuid4

from pipeline.core.composing import compose, draft
from pipeline.core.handing_over import Outgoing
from pipeline.core.moments import Moment
from pipeline.runtime.outgoing import message_id_of
from pipeline.runtime.secrets import Secrets, SignedReplyTokens

#: No limit.
ALWAYS = Moment(float("inf"), datetime.max.replace(tzinfo=UTC))
TOKENS = SignedReplyTokens(Secrets("a long secret key that only tests know"))
FROM = "support@example.org"


def outgoing(
    at: datetime,
    *,
    begin_by: Moment = ALWAYS,
    to: tuple[str, ...] = ("ann@customer.example",),
    body: str = "We come tomorrow.",
    outbound_id: UUID | None = None,
) -> Outgoing:
    """Return a mail, as the stage hands it over."""
    outbound_id = outbound_id or uuid4()
    mail = draft(
        message_id=message_id_of(outbound_id, FROM), at=at, from_address=FROM, from_name="Support", to=to,
        subject="Re: It is broken", body=body, proof=TOKENS.proof(outbound_id),
    )  # fmt: skip
    return Outgoing(compose(mail), mail.message_id, mail.proof, FROM, mail.to, at, begin_by)
