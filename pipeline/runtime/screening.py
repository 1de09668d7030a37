"""Screening of live mail before it reaches a ticket: what circles, or answers our automatic answers, is set aside.

It costs one look per batch where nothing was ever sent. Only live mail is judged: what a listing finds is old, and
nobody answers it automatically.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import Direction, Lane, MachineKind, QuarantineCause
from pipeline.core import loops
from pipeline.core.answered import canonical
from pipeline.core.policies import OrganizationPolicy
from pipeline.runtime import quarantine
from pipeline.runtime.jobs import Job
from pipeline.runtime.message_rows import Sighting
from pipeline.runtime.quarantine import Held

_STANDS = text("""
    SELECT t.org, EXISTS (SELECT FROM outbound b WHERE b.org_id = t.org) AS has_sent,
           EXISTS (SELECT FROM quarantines q WHERE q.org_id = t.org AND q.released_at IS NULL) AS holds
      FROM unnest(CAST(:orgs AS uuid[])) AS t(org)
""")
#: Open quarantines of the same messages, seen in other mailboxes.
_HELD = text("""
    SELECT o.message_id, q.cause, q.evidence, q.stage FROM quarantines q JOIN occurrences o ON o.id = q.occurrence_id
     WHERE q.org_id = ANY(CAST(:orgs AS uuid[])) AND q.released_at IS NULL
       AND o.message_id = ANY(CAST(:messages AS bigint[]))
""")
_TOLD = text("""
    SELECT b.org_id, b.recipient, c.body_text
      FROM (SELECT DISTINCT org, sender
              FROM unnest(CAST(:orgs AS uuid[]), CAST(:senders AS text[])) AS t(org, sender)) AS t
      JOIN outbound b ON b.org_id = t.org AND b.recipient = t.sender
      JOIN message_contents c ON c.message_id = b.message_id
     WHERE b.kind = 'acknowledgement' AND b.state <> 'cancelled' AND b.created_at > now() - interval '1 hour'
""")
#: Ids grow with time: the newest twenty thousand hold what matters here, and need no index of their own.
_LATELY = text("""
    SELECT m.id, m.org_id, m.from_address, m.subject, left(coalesce(c.fresh_text, c.body_text), 4000) AS said
      FROM messages m JOIN message_contents c ON c.message_id = m.id
     WHERE m.id > (SELECT coalesce(max(id), 0) - 20000 FROM messages) AND m.created_at > now() - interval '1 hour'
       AND m.org_id = ANY(CAST(:orgs AS uuid[])) AND m.from_address = ANY(CAST(:senders AS text[]))
       AND m.direction = 'inbound'
     ORDER BY m.id DESC LIMIT 5000
""")
#: By this name alone: a policy with another fault must not stop the mail.
_LIMITS = text("""
    SELECT id, policy ->> 'automatic_answers_per_hour' AS per_hour FROM organizations
     WHERE id = ANY(CAST(:orgs AS uuid[]))
""")
_TURNS = text("""
    SELECT t.id, array_agg(m.direction ORDER BY m.received_at, m.id) AS directions
      FROM unnest(CAST(:tickets AS uuid[])) AS t(id)
      JOIN ticket_messages l ON l.ticket_id = t.id JOIN messages m ON m.id = l.message_id
     WHERE l.linked_at > now() - CAST(:within AS interval) AND m.received_at > now() - CAST(:within AS interval)
     GROUP BY t.id HAVING count(*) > :most
""")
#: Mail of these kinds opens no ticket and is never answered: it cannot keep a circle going.
_HARMLESS = frozenset({MachineKind.AUTO_REPLY.value, MachineKind.BOUNCE.value})

Sender = tuple[UUID, str]


@dataclass(frozen=True, slots=True)
class Arrival:
    """One occurrence as it was understood, with its message and its job."""

    job: Job
    sighting: Sighting
    message_id: int

    @property
    def sender(self) -> Sender | None:
        """Return whom an automatic answer to it would reach."""
        found = self.sighting.result.parsed.from_
        return (self.sighting.org_id, found[0].address.lower()) if found and found[0].address else None

    def held(self, cause: QuarantineCause, evidence: str, stage: str = "stitch") -> Held:
        """Return it as set aside."""
        sighting = self.sighting
        return Held(sighting.org_id, sighting.occurrence_id, cause, evidence, stage, self.job.trace_id)


def screen(connection: Connection, arrivals: Iterable[Arrival]) -> set[int]:
    """Set aside what circles or answers back, and return those occurrences: they must not be stitched.

    Only live mail is judged; but what is set aside already is so in every mailbox, however it was found there.
    """
    inbound = [one for one in arrivals if one.sighting.result.direction is Direction.INBOUND]
    held = {one.sighting.occurrence_id: _looped(one) for one in inbound if _is_live(one) and _is_loop(one)}
    rest = [one for one in inbound if one.sighting.occurrence_id not in held]
    held |= _by_database(connection, rest) if rest else {}
    quarantine.hold(connection, list(held.values()))
    return set(held)


def _is_live(one: Arrival) -> bool:
    return one.job.lane is Lane.LIVE


def _is_loop(one: Arrival) -> bool:
    return one.sighting.result.machine == MachineKind.LOOP


def _looped(one: Arrival) -> Held:
    return one.held(QuarantineCause.LOOP, one.sighting.result.marker or "it circles")


def _by_database(connection: Connection, arrivals: Sequence[Arrival]) -> dict[int, Held]:
    """Return what is set aside for what we sent before, or because the same message is set aside already."""
    orgs = sorted({one.sighting.org_id for one in arrivals})
    stands = {row.org: row for row in connection.execute(_STANDS, {"orgs": orgs})}
    watched = [one for one in arrivals if stands[one.sighting.org_id].holds]
    held = _again(connection, watched) if watched else {}
    open_ones = [
        one
        for one in arrivals
        if _is_live(one)
        and stands[one.sighting.org_id].has_sent
        and one.sighting.occurrence_id not in held
        and one.sighting.result.machine not in _HARMLESS
    ]
    return held | (_answering_back(connection, open_ones) if open_ones else {})


def _again(connection: Connection, arrivals: Sequence[Arrival]) -> dict[int, Held]:
    values = {
        "orgs": list({one.sighting.org_id for one in arrivals}),
        "messages": [one.message_id for one in arrivals],
    }
    known = {row.message_id: row for row in connection.execute(_HELD, values)}
    return {
        one.sighting.occurrence_id: one.held(QuarantineCause(row.cause), row.evidence, row.stage)
        for one in arrivals
        if (row := known.get(one.message_id)) is not None
    }


def _answering_back(connection: Connection, arrivals: Sequence[Arrival]) -> dict[int, Held]:
    senders = sorted({one.sender for one in arrivals if one.sender is not None})
    # As outbound messages name them: who writes from a domain with other letters was written to in its ASCII form.
    names = [canonical(sender) for _, sender in senders]
    values = {"orgs": [org for org, _ in senders], "senders": names}
    found = _grouped((row.org_id, row.recipient, row.body_text) for row in connection.execute(_TOLD, values))
    told = {one: found[one[0], name] for one, name in zip(senders, names, strict=True) if (one[0], name) in found}
    if not told:
        return {}
    suspects = [one for one in arrivals if one.sender in told]
    limits = _limits(connection, {one.sighting.org_id for one in suspects})
    at_limit = [one for one in suspects if one.sender and len(told[one.sender]) >= limits[one.sighting.org_id]]
    lately = _lately(connection, at_limit) if at_limit else {}
    judged = ((one, _why(one, told, lately, limits[one.sighting.org_id])) for one in suspects)
    return {
        one.sighting.occurrence_id: one.held(QuarantineCause.ANSWERS_BACK, why)
        for one, why in judged
        if why is not None
    }


def _why(
    one: Arrival, told: Mapping[Sender, list[str]], lately: Mapping[Sender, list[tuple[int, str]]], per_hour: int
) -> str | None:
    assert one.sender is not None
    others = [other for message_id, other in lately.get(one.sender, ()) if message_id != one.message_id]
    parsed = one.sighting.result.parsed
    exchange = loops.Exchange(told[one.sender], others)
    said = f"{parsed.subject}\n{parsed.fresh}"
    is_answer = bool(parsed.in_reply_to or parsed.references)
    return loops.why_answers_back(
        said, exchange, per_hour=per_hour, has_files=bool(parsed.attachments), is_answer=is_answer
    )


def _lately(connection: Connection, suspects: Sequence[Arrival]) -> dict[Sender, list[tuple[int, str]]]:
    wanted = {one.sender for one in suspects}
    values = {
        "orgs": list({one.sighting.org_id for one in suspects}),
        "senders": list({sender for _, sender in filter(None, wanted)}),
    }
    found: dict[Sender, list[tuple[int, str]]] = {}
    for row in connection.execute(_LATELY, values):
        found.setdefault((row.org_id, row.from_address), []).append((row.id, f"{row.subject}\n{row.said}"))
    return found


def _limits(connection: Connection, orgs: Iterable[UUID]) -> dict[UUID, int]:
    return {row.id: _limit(row.per_hour) for row in connection.execute(_LIMITS, {"orgs": list(orgs)})}


def _limit(stored: str | None) -> int:
    try:
        return OrganizationPolicy.read(
            {"automatic_answers_per_hour": stored} if stored else {}
        ).automatic_answers_per_hour
    except ValueError:
        return OrganizationPolicy.read({}).automatic_answers_per_hour


def _grouped(rows: Iterable[tuple[UUID, str, str]]) -> dict[Sender, list[str]]:
    found: dict[Sender, list[str]] = {}
    for org_id, sender, said in rows:
        found.setdefault((org_id, sender), []).append(said)
    return found


def too_fast(connection: Connection, rows: Iterable[Any]) -> dict[int, str]:
    """Return, by occurrence, what shows that its ticket's sides answer each other faster than people do.

    `rows` are live inbound messages in tickets that were decided before: `id` (of the occurrence) and `ticket_id`.
    """
    by_ticket: dict[UUID, list[int]] = {}
    for row in rows:
        by_ticket.setdefault(row.ticket_id, []).append(row.id)
    if not by_ticket:
        return {}
    values = {"tickets": list(by_ticket), "within": loops.TURN_WINDOW, "most": loops.MOST_TURNS}
    counted = {row.id: loops.turns(row.directions) for row in connection.execute(_TURNS, values)}
    minutes = int(loops.TURN_WINDOW.total_seconds() // 60)
    return {
        occurrence_id: f"its ticket's sides took turns {turns} times within {minutes} minutes"
        for ticket_id, turns in counted.items()
        if turns > loops.MOST_TURNS
        for occurrence_id in by_ticket[ticket_id]
    }
