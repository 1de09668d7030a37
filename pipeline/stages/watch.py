"""Watch: asks the provider to announce a mailbox's changes, and renews that; polling goes on with or without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from pipeline.ports import Ports, Watch
from pipeline.runtime.errors import Forbidden, NeedsAuthorization, Permanent, Suspended, Throttled
from pipeline.runtime.jobs import Emit, Job
from pipeline.runtime.mailboxes import Mailbox, load_mailboxes
from pipeline.stage import Again, Blocked, Stage, Work, gate

_ATTEMPTS = 5
_LONGEST_ERROR = 500
_ONE_CLIENT = "only one user push notification client"
_ANOTHER_TOPIC = (
    "another topic of the same Cloud project is watching this mailbox, and Gmail allows one: give each installation a "
    "Cloud project of its own, or end the other watch (users.stop), and this one is tried again within the hour"
)

_CURRENT = text("""
    SELECT mailbox_id, topic FROM watches
     WHERE mailbox_id = ANY(CAST(:ids AS uuid[])) AND state <> 'failed' AND renew_at > now() AND expires_at > now()
""")
#: Renewed once a day (mission-peers, section 1.4), spread over eight hours, and never later than 48 hours before the
#: end. A silent watch stays silent until it is heard again.
_RENEWED = text("""
    INSERT INTO watches AS w (mailbox_id, state, topic, expires_at, renewed_at, renew_at)
    SELECT mailbox_id, 'active', topic, expires_at, now(),
           greatest(now() + interval '1 hour',
                    least(expires_at - interval '48 hours',
                          now() + interval '20 hours' + random() * interval '8 hours'))
      FROM unnest(CAST(:mailboxes AS uuid[]), CAST(:topics AS text[]), CAST(:ends AS timestamptz[]))
        AS t(mailbox_id, topic, expires_at)
     ORDER BY mailbox_id
        ON CONFLICT (mailbox_id) DO UPDATE
           SET state = CASE WHEN w.state = 'silent' AND w.topic = excluded.topic THEN w.state ELSE 'active' END,
               unannounced_since = CASE WHEN w.state <> 'failed' AND w.topic = excluded.topic
                                        THEN w.unannounced_since END,
               topic = excluded.topic, expires_at = excluded.expires_at, renewed_at = excluded.renewed_at,
               renew_at = excluded.renew_at, error = NULL
""")
#: What was promised before still holds until it expires.
_FAILED = text("""
    INSERT INTO watches AS w (mailbox_id, state, topic, error, renew_at)
    SELECT mailbox_id, 'failed', topic, error, now() + interval '45 minutes' + random() * interval '30 minutes'
      FROM unnest(CAST(:mailboxes AS uuid[]), CAST(:topics AS text[]), CAST(:errors AS text[]))
        AS t(mailbox_id, topic, error)
     ORDER BY mailbox_id
        ON CONFLICT (mailbox_id) DO UPDATE
           SET state = 'failed', topic = excluded.topic, error = excluded.error, renew_at = excluded.renew_at
""")


@dataclass(frozen=True, slots=True)
class Wish:
    """A mailbox to be watched on a topic; after the last try a failure is written down instead of tried again."""

    mailbox: Mailbox
    topic: str
    is_last_try: bool


@dataclass(frozen=True, slots=True)
class Failed:
    """The watch could not be had, and why: no dead letter, since polling does its work."""

    error: str


def load(connection: Connection, jobs: Sequence[Job]) -> Mapping[int, Wish]:
    """Return each job's mailbox and the topic of the job's args; one that is watched on it already has no wish left."""
    ids = [UUID(job.key) for job in jobs]
    mailboxes = load_mailboxes(connection, ids)
    watched = {(row.mailbox_id, row.topic) for row in connection.execute(_CURRENT, {"ids": ids})}
    return {
        job.job_id: Wish(mailboxes[mailbox_id], topic, job.failures + 1 >= _ATTEMPTS)
        for job, mailbox_id in zip(jobs, ids, strict=True)
        if mailbox_id in mailboxes and (topic := job.args.get("topic")) and (mailbox_id, topic) not in watched
    }


def work(items: Sequence[Wish], ports: Ports) -> Sequence[Watch | Failed | Again | Blocked | Exception]:
    """Ask the provider for each mailbox."""
    return [gate(wish.mailbox) or _ask(wish, ports) for wish in items]


def _ask(wish: Wish, ports: Ports) -> Watch | Failed | Exception:
    try:
        return ports.sources.open(wish.mailbox.ref).watch(wish.topic)
    except Throttled as error:
        return error
    except (Permanent, NeedsAuthorization, Forbidden, Suspended) as error:
        # It may concern the topic alone, as when Gmail may not publish to it: only reading may stop a mailbox.
        return Failed(_sentence(error))
    except Exception as error:  # noqa: BLE001 - one mailbox's trouble is that mailbox's outcome
        return Failed(_sentence(error)) if wish.is_last_try else error


def _sentence(error: Exception) -> str:
    return _ANOTHER_TOPIC if _ONE_CLIENT in str(error).lower() else str(error)[:_LONGEST_ERROR]


def save(connection: Connection, works: Sequence[Work[Wish, Watch | Failed]]) -> Sequence[Emit]:
    """Write down until when each mailbox is watched and when to renew, or why it is not and when to try again."""
    good = [(done.item, done.result) for done in works if isinstance(done.result, Watch)]
    bad = [(done.item, done.result) for done in works if isinstance(done.result, Failed)]
    if good:
        named = _named([wish for wish, _ in good])
        connection.execute(_RENEWED, named | {"ends": [watch.expires_at for _, watch in good]})
    if bad:
        named = _named([wish for wish, _ in bad])
        connection.execute(_FAILED, named | {"errors": [failed.error for _, failed in bad]})
    return ()


def _named(wishes: Sequence[Wish]) -> dict[str, Sequence[object]]:
    return {
        "mailboxes": [wish.mailbox.ref.mailbox_id for wish in wishes],
        "topics": [wish.topic for wish in wishes],
    }


STAGE = Stage(
    name="watch",
    about="Asks the provider to announce a mailbox's changes, and renews it.",
    load=load,
    work=work,
    save=save,
    io=True,
    batch=4,
    attempts=_ATTEMPTS,
)
