"""Notify: sends people what concerns themselves, a new password or an invitation, through the installation's relay.

It may reach somebody twice when the answer of the relay is lost, with the same Message-ID; never after it is of no use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import NoticeKind
from pipeline.core.handing_over import Handed, HandOver
from pipeline.core.notices import VALID
from pipeline.ports import Notice, Notifier, Ports
from pipeline.runtime.errors import Permanent, Transient
from pipeline.runtime.jobs import Emit, Job
from pipeline.stage import Again, Stage, Work, caught

_NO_RELAY = Again(
    timedelta(minutes=1),
    "there is no mail relay: set FIELDPOST_MAIL_RELAY_URL, or give out a link by `fieldpost people reset-link`",
)
_REFUSED_FOR_NOW = timedelta(seconds=30)
_TOO_LATE = "it was of no use any more before it could be sent"

_LOAD = text("""
    SELECT id, kind, recipient, sealed, now() - created_at AS age FROM notices
     WHERE id = ANY(CAST(:ids AS uuid[])) AND sent_at IS NULL AND sealed IS NOT NULL
""")
_SENT = text("""
    UPDATE notices SET sent_at = now(), sealed = NULL, last_error = NULL WHERE id = ANY(CAST(:ids AS uuid[]))
""")
_OVER = text("UPDATE notices SET sealed = NULL, last_error = :why WHERE id = ANY(CAST(:ids AS uuid[]))")


@dataclass(frozen=True, slots=True)
class Telling:
    """A notice that was not sent yet, and whether it is still of use."""

    notice: Notice
    is_of_use: bool


@dataclass(frozen=True, slots=True)
class Told:
    """What became of a notice: sent, or of no use any more."""

    is_sent: bool


def load(connection: Connection, jobs: Sequence[Job]) -> Mapping[int, Telling]:
    """Return the notices that are still to be sent."""
    rows = {str(row.id): row for row in connection.execute(_LOAD, {"ids": [UUID(job.key) for job in jobs]})}
    return {
        job.job_id: Telling(Notice(row.id, row.recipient, row.sealed), row.age < VALID[NoticeKind(row.kind)])
        for job in jobs
        if (row := rows.get(job.key)) is not None
    }


def work(items: Sequence[Telling], ports: Ports) -> Sequence[Told | Again | Exception]:
    """Hand each over to the relay."""
    tell = caught(_tell)
    return [tell(item, ports.notifier) for item in items]


def _tell(item: Telling, notifier: Notifier) -> Told | Again:
    if not item.is_of_use:
        return Told(is_sent=False)
    return _outcome(notifier.send(item.notice)) if notifier.is_ready else _NO_RELAY


def _outcome(handed: Handed) -> Told | Again:
    match handed.how:
        case HandOver.ACCEPTED:
            return Told(is_sent=True)
        case HandOver.LATER:
            return Again(_REFUSED_FOR_NOW, handed.said)
        case HandOver.REFUSED:
            raise Permanent(handed.said)
        case HandOver.DOUBTFUL:
            raise Transient(handed.said)


def save(connection: Connection, works: Sequence[Work[Telling, Told]]) -> Sequence[Emit]:
    """Note what was sent, and take away what it said: it may let somebody in."""
    sent = [done.item.notice.notice_id for done in works if done.result.is_sent]
    over = [done.item.notice.notice_id for done in works if not done.result.is_sent]
    if sent:
        connection.execute(_SENT, {"ids": sent})
    if over:
        connection.execute(_OVER, {"ids": over, "why": _TOO_LATE})
    return ()


STAGE = Stage(
    name="notify",
    about="Sends people a link for a new password, or an invitation.",
    load=load,
    work=work,
    save=save,
    io=True,
    batch=10,
    attempts=5,
    backoff=timedelta(seconds=10),
    lease=timedelta(seconds=60),
)
