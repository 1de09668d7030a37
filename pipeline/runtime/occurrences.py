"""The completeness ledger: every id a provider named becomes an occurrence before any cursor moves past it."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from sqlalchemy import Connection, text

from models.enums import Lane
from pipeline.ports import Listed
from pipeline.runtime.fairness import take_places
from pipeline.runtime.jobs import Emit
from pipeline.runtime.mailboxes import Mailbox

#: The stages whose jobs share a lane's line with what a listing finds.
CHAIN = ("fetch", "parse", "stitch", "routing", "triage", "dispatch")

_INSERT = text("""
    INSERT INTO occurrences (org_id, mailbox_id, provider_id, thread_id, locator, labels)
    SELECT :org, :mailbox, provider_id, thread_id, locator, string_to_array(labels, chr(31))
      FROM unnest(CAST(:provider_ids AS text[]), CAST(:thread_ids AS text[]), CAST(:locators AS text[]),
                  CAST(:labels AS text[])) AS t(provider_id, thread_id, locator, labels)
        ON CONFLICT (mailbox_id, provider_id) DO NOTHING
    RETURNING id, provider_id
""")


def record(
    connection: Connection, mailbox: Mailbox, listed: Sequence[Listed], *, lane: Lane, stages: Sequence[str]
) -> list[Emit]:
    """Write the ids that are new, and return a fetch for each of them in the order listed.

    Each gets its place in the lane and a trace of its own, which goes along the whole chain.
    """
    org_id, mailbox_id = mailbox.org_id, mailbox.ref.mailbox_id
    unique = list({item.provider_id: item for item in listed}.values())
    if not unique:
        return []
    rows = connection.execute(
        _INSERT,
        {
            "org": org_id,
            "mailbox": mailbox_id,
            "provider_ids": [item.provider_id for item in unique],
            "thread_ids": [item.thread_id for item in unique],
            "locators": [item.locator for item in unique],
            "labels": ["\x1f".join(item.labels) for item in unique],
        },
    )
    ids = {row.provider_id: row.id for row in rows}
    fresh = [ids[item.provider_id] for item in unique if item.provider_id in ids]
    places = take_places(connection, mailbox_id, lane, len(fresh), list(stages))
    return [
        Emit("fetch", str(occurrence_id), org_id, mailbox_id, lane, place, secrets.token_hex(16))
        for occurrence_id, place in zip(fresh, places, strict=True)
    ]
