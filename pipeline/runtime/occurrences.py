"""The completeness ledger: every id a provider named becomes an occurrence before any cursor moves past it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import Lane, OccurrenceState, Provider
from pipeline.core.labels import is_ignored
from pipeline.ports import Listed
from pipeline.runtime.fairness import take_places
from pipeline.runtime.jobs import Emit
from pipeline.runtime.mailboxes import Mailbox

#: The stages whose jobs share a lane's line with what a listing finds.
CHAIN = ("fetch", "parse", "stitch", "routing", "triage", "dispatch")
#: A move looks like a deletion first: a tombstone is set this long after an id vanished.
GRACE = timedelta(minutes=2)
#: What says that an id is gone: the provider's own word is enough, listings without it must agree twice.
TOLD, ENOUGH = 2, 2
#: Whose fetches wait for a budget; files cost nothing.
_METERED = frozenset({Provider.GMAIL.value, Provider.IMAP.value})

#: What is named again was not gone. A tombstone that was never fetched is read after all.
_REOPEN = text("""
    UPDATE occurrences o SET vanished_at = NULL, absences = 0, deleted_at = NULL,
                             locator = coalesce(t.locator, o.locator),
                             state = CASE WHEN o.state = 'gone' THEN 'seen' ELSE o.state END
      FROM (SELECT id, state, t.locator
              FROM unnest(CAST(:provider_ids AS text[]), CAST(:locators AS text[])) AS t(provider_id, locator)
              JOIN occurrences USING (provider_id)
             WHERE mailbox_id = :mailbox AND (state = 'gone' OR vanished_at IS NOT NULL)
             ORDER BY id FOR UPDATE OF occurrences) AS t
     WHERE o.id = t.id RETURNING o.id, o.provider_id, t.state = 'gone' AS was_gone
""")
_INSERT = text("""
    INSERT INTO occurrences (org_id, mailbox_id, provider_id, thread_id, locator, labels, state)
    SELECT :org, :mailbox, provider_id, thread_id, locator, string_to_array(labels, chr(31)), state
      FROM unnest(CAST(:provider_ids AS text[]), CAST(:thread_ids AS text[]), CAST(:locators AS text[]),
                  CAST(:labels AS text[]), CAST(:states AS text[])) AS t(provider_id, thread_id, locator, labels, state)
     ORDER BY provider_id
        ON CONFLICT (mailbox_id, provider_id) DO NOTHING
    RETURNING id, provider_id, state
""")
_RELABEL = text("""
    UPDATE occurrences o SET labels = string_to_array(t.labels, chr(31)),
                             state = CASE WHEN o.state = 'ignored' AND NOT t.is_ignored THEN 'seen' ELSE o.state END
      FROM (SELECT id, state, t.labels, t.is_ignored
              FROM unnest(CAST(:provider_ids AS text[]), CAST(:labels AS text[]), CAST(:ignored AS bool[]))
                AS t(provider_id, labels, is_ignored)
              JOIN occurrences USING (provider_id)
             WHERE mailbox_id = :mailbox ORDER BY id FOR UPDATE OF occurrences) AS t
     WHERE o.id = t.id RETURNING o.id, t.state = 'ignored' AND NOT t.is_ignored AS is_opened
""")
#: An id that is named only by its deletion is accounted for, too: no listing will name it any more.
_TOMBSTONES = text("""
    INSERT INTO occurrences (org_id, mailbox_id, provider_id, state, absences, vanished_at, deleted_at)
    SELECT :org, :mailbox, provider_id, 'gone', 2, now(), now()
      FROM unnest(CAST(:provider_ids AS text[])) AS t(provider_id)
     ORDER BY provider_id ON CONFLICT (mailbox_id, provider_id) DO NOTHING
""")
_VANISH = text("""
    UPDATE occurrences o SET vanished_at = coalesce(o.vanished_at, now()), absences = least(o.absences + :weight, 9),
                             state = CASE WHEN o.state IN ('seen', 'ignored') AND o.absences + :weight >= 2 THEN 'gone'
                                          ELSE o.state END
      FROM (SELECT id FROM occurrences WHERE mailbox_id = :mailbox AND provider_id = ANY(CAST(:provider_ids AS text[]))
             ORDER BY id FOR UPDATE) AS t
     WHERE o.id = t.id
""")
_SETTLE = text("""
    UPDATE occurrences SET deleted_at = now()
     WHERE mailbox_id = :mailbox AND vanished_at IS NOT NULL AND deleted_at IS NULL AND absences >= :enough
       AND vanished_at <= now() - :grace
""")


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a listing brought: the steps it makes necessary, and how many ids the ledger did not know."""

    emits: list[Emit] = field(default_factory=list)
    fresh: int = 0


def record(connection: Connection, mailbox: Mailbox, listed: Sequence[Listed], *, lane: Lane) -> Recorded:
    """Write the ids that are new, and return a fetch for each of them in the order listed.

    Each gets its place in the lane and a trace of its own, which goes along the whole chain. An id whose labels say
    that it is nobody's request is counted as ignored; one that was thought gone is there again.
    """
    mailbox_id = mailbox.ref.mailbox_id
    unique = list({item.provider_id: item for item in listed}.values())
    if not unique:
        return Recorded()
    values = _columns(unique)
    again = connection.execute(_REOPEN, {"mailbox": mailbox_id} | values).all()
    rows = connection.execute(_INSERT, {"org": mailbox.org_id, "mailbox": mailbox_id} | values).all()
    wanted = {row.provider_id: row.id for row in again if row.was_gone}
    wanted |= {row.provider_id: row.id for row in rows if row.state == OccurrenceState.SEEN}
    ids = [wanted[item.provider_id] for item in unique if item.provider_id in wanted]
    return Recorded(fetches(connection, mailbox, ids, lane), len(rows))


def fetches(connection: Connection, mailbox: Mailbox, occurrence_ids: Sequence[int], lane: Lane) -> list[Emit]:
    """Return a fetch for each occurrence, in order; outside the live lane it waits for the mailbox's budget."""
    mailbox_id = mailbox.ref.mailbox_id
    places = take_places(connection, mailbox_id, lane, len(occurrence_ids), list(CHAIN))
    is_held = lane is not Lane.LIVE and mailbox.ref.provider in _METERED
    return [
        Emit(
            "fetch",
            str(occurrence_id),
            mailbox.org_id,
            mailbox_id,
            lane,
            place,
            secrets.token_hex(16),
            is_held=is_held,
        )
        for occurrence_id, place in zip(occurrence_ids, places, strict=True)
    ]


def relabel(connection: Connection, mailbox: Mailbox, labels: Mapping[str, Sequence[str]], *, lane: Lane) -> list[Emit]:
    """Write the labels of known ids; return a fetch for each that was ignored and is somebody's request now."""
    if not labels:
        return []
    rows = connection.execute(
        _RELABEL,
        {
            "mailbox": mailbox.ref.mailbox_id,
            "provider_ids": list(labels),
            "labels": ["\x1f".join(some) for some in labels.values()],
            "ignored": [is_ignored(some) for some in labels.values()],
        },
    )
    return fetches(connection, mailbox, sorted(row.id for row in rows if row.is_opened), lane)


def vanish(connection: Connection, mailbox: Mailbox, provider_ids: Sequence[str], *, weight: int = TOLD) -> None:
    """Note that ids are not there any more: by the provider's word, or (weight 1) by a complete listing without them.

    What was fetched stays; its tombstone is set by `settle_vanished` after a grace. The provider's word makes an id
    that nobody knew a tombstone at once.
    """
    if not provider_ids:
        return
    values = {"org": mailbox.org_id, "mailbox": mailbox.ref.mailbox_id, "provider_ids": sorted(provider_ids)}
    if weight >= ENOUGH:
        connection.execute(_TOMBSTONES, values)
    connection.execute(_VANISH, values | {"weight": weight})


def settle_vanished(connection: Connection, mailbox_id: UUID, grace: timedelta = GRACE) -> int:
    """Set the tombstones that are due; return how many."""
    return connection.execute(_SETTLE, {"mailbox": mailbox_id, "enough": ENOUGH, "grace": grace}).rowcount


def _columns(listed: Sequence[Listed]) -> dict[str, list[str | None]]:
    return {
        "provider_ids": [item.provider_id for item in listed],
        "thread_ids": [item.thread_id for item in listed],
        "locators": [item.locator for item in listed],
        "labels": ["\x1f".join(item.labels) for item in listed],
        "states": [
            (OccurrenceState.IGNORED if is_ignored(item.labels) else OccurrenceState.SEEN).value for item in listed
        ],
    }
