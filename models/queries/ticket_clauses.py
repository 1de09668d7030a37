"""What the list of tickets is asked, as SQL made of the clauses that are in use: each set of them has its own plan."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import TextClause, text

from models.enums import TicketPriority, TicketStatus

#: Tickets that one page looks at in the order of the list, and candidates that an index may name.
WALK, MOST_FOUND = 10_000, 4_000
#: Shorter words have no trigram, so that no index knows them.
_SHORTEST, _PIECE, _TELLING = 3, 7, 3
#: What tickets do not stay: few are in these at once.
_PASSING = frozenset({TicketStatus.NEW, TicketStatus.OPEN, TicketStatus.PENDING})

_ORDER = "ORDER BY t.last_activity_at DESC, t.id DESC"
#: A clock that runs and has warned, and one that stands still. As values, not as EXISTS, which the planner may answer
#: by reading every clock there is.
_NEAR = """coalesce((SELECT true FROM ticket_clocks k WHERE k.ticket_id = t.id AND k.state = 'running'
                                                  AND k.warn_at <= now() AND k.due_at > now() LIMIT 1), false)"""
_STANDS_STILL = """coalesce((SELECT true FROM ticket_clocks k WHERE k.ticket_id = t.id AND k.state = 'paused' LIMIT 1),
                            false)"""
#: How the next deadline of a ticket stands; NULL while nothing is due.
SLA_STATE = f"""
    CASE WHEN t.sla_due_at <= now() THEN 'breach' WHEN t.sla_due_at IS NULL AND {_STANDS_STILL} THEN 'paused'
         WHEN t.sla_due_at IS NULL THEN NULL WHEN {_NEAR} THEN 'warning' ELSE 'healthy' END"""
_HAYSTACK = "lower(concat_ws(chr(10), left(t.subject, 1000), t.requester_email))"
#: What may be the beginning of a code (`pipeline.core.ticket_codes`), and the codes that begin so, by bytes.
_CODE = re.compile(r"tkt-[a-z2-7]{0,16}|[a-z2-7]{3,16}", re.ASCII)
_BEGINS = "t.code >= :code AND t.code < :code_end"
_BY_CODE = f"SELECT t.id FROM tickets t WHERE t.org_id = :org AND {_BEGINS} UNION ALL"  # noqa: S608 - as above


class Sla(StrEnum):
    """How the next deadline of a ticket stands (contract 000), or that its clocks stand still."""

    HEALTHY = "healthy"
    WARNING = "warning"
    BREACH = "breach"
    PAUSED = "paused"


_SLA = {
    Sla.BREACH: "t.sla_due_at <= now()",
    Sla.WARNING: f"t.sla_due_at > now() AND {_NEAR}",
    Sla.HEALTHY: f"t.sla_due_at > now() AND NOT {_NEAR}",
    Sla.PAUSED: f"t.sla_due_at IS NULL AND {_STANDS_STILL}",
}
#: The part of each that the index of deadlines gives.
_DUE = {Sla.BREACH: "t.sla_due_at <= now()", Sla.WARNING: "t.sla_due_at > now()", Sla.HEALTHY: "t.sla_due_at > now()"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What tickets must have; None and empty narrow nothing, but merged tickets come only when their status is named.

    `words` stand, in any case, in the subject or the requester's address, or the code begins with them, `tkt-` or not.
    `since` (included) and `before` (not) are of the last activity; all of `tags` are carried.
    """

    statuses: Sequence[TicketStatus] = ()
    words: str | None = None
    assignee_user_id: UUID | None = None
    queue_id: UUID | None = None
    is_unassigned: bool = False
    tags: Sequence[str] = ()
    since: datetime | None = None
    before: datetime | None = None
    created_since: datetime | None = None
    created_before: datetime | None = None
    mailbox_id: UUID | None = None
    priority: TicketPriority | None = None
    sla: Sla | None = None
    account_id: UUID | None = None
    site_id: UUID | None = None


@dataclass(slots=True)
class Question:
    """The clauses that are in use, with their values."""

    org_id: UUID
    #: What an index gives in the order of the list.
    driving: list[str] = field(default_factory=list)
    filters: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)

    def narrow(self, value: object, name: str, clause: str, *, driving: bool = False) -> None:
        """Add a clause with its value, when there is one."""
        if value is not None:
            (self.driving if driving else self.filters).append(clause)
            self.values[name] = value

    def walk(self, limit: int) -> TextClause:
        """Return the statement that goes over the newest tickets and keeps those that are asked for.

        Where it looked at `WALK` and did not find `limit`, a last row that is no hit tells the last that it looked at;
        in one statement, since the order may change between two.
        """
        driving = " AND ".join(self.driving)
        return text(f"""
            WITH hits AS MATERIALIZED (
                SELECT t.id, t.last_activity_at
                  FROM (SELECT * FROM tickets t WHERE {driving} {_ORDER} LIMIT {WALK if self.filters else limit}) t
                 WHERE {" AND ".join(self.filters) or "TRUE"} {_ORDER} LIMIT {limit}
            )
            SELECT id, last_activity_at, true AS is_hit FROM hits
            UNION ALL
            SELECT e.id, e.last_activity_at, false
              FROM (SELECT t.id, t.last_activity_at FROM tickets t WHERE {driving} {_ORDER} OFFSET {WALK - 1} LIMIT 1) e
             WHERE {bool(self.filters)} AND (SELECT count(*) FROM hits) < {limit}
        """)  # noqa: S608 - made of clauses of this module

    def among(self, limit: int) -> TextClause:
        """Return the statement that puts candidates in order."""
        return text(f"""
            SELECT t.id, t.last_activity_at FROM unnest(CAST(:ids AS uuid[])) AS w(id) JOIN tickets t ON t.id = w.id
             WHERE {" AND ".join([*self.driving, *self.filters])} {_ORDER} LIMIT {limit}
        """)  # noqa: S608 - made of clauses of this module

    def go_on(self, at: datetime, ticket_id: UUID) -> None:
        """Ask for what comes after a place, instead of after the place before, if there was one."""
        clause = "(t.last_activity_at, t.id) < (CAST(:at AS timestamptz), CAST(:id AS uuid))"
        if clause not in self.driving:
            self.driving.append(clause)
        self.values |= {"at": at, "id": ticket_id}


def question_of(org_id: UUID, wanted: Wanted, words: str | None, reach: tuple[str, dict[str, Any]]) -> Question:
    """Return what is asked; `words` as the database lowers them."""
    question = Question(org_id, ["t.org_id = :org"], [], {"org": org_id})
    by_person, by_queue = wanted.assignee_user_id is not None, wanted.queue_id is not None
    question.narrow(wanted.assignee_user_id, "person", "t.assignee_user_id = :person", driving=True)
    question.narrow(wanted.queue_id, "queue", "t.queue_id = :queue", driving=not by_person)
    question.narrow(wanted.since, "since", "t.last_activity_at >= :since", driving=True)
    question.narrow(wanted.before, "before", "t.last_activity_at < :before", driving=True)
    if len(wanted.statuses) == 1:
        status = wanted.statuses[0].value
        question.narrow(status, "status", "t.status = :status", driving=not (by_person or by_queue))
    elif wanted.statuses:
        question.narrow([one.value for one in wanted.statuses], "statuses", "t.status = ANY(CAST(:statuses AS text[]))")
    else:
        question.filters.append("t.status <> 'merged'")
    _filters(question, wanted, words)
    if reach[0] != "TRUE":
        question.filters.append(f"({reach[0]})")
        question.values |= reach[1]
    return question


def _filters(question: Question, wanted: Wanted, words: str | None) -> None:
    """Add what no index gives in the order of the list."""
    code = words and code_beginning(words)
    question.narrow(words, "words", f"(strpos({_HAYSTACK}, :words) > 0{f' OR {_BEGINS}' if code else ''})")
    if code:
        question.values |= {"code": code, "code_end": f"{code}~"}
    question.narrow(list(wanted.tags) or None, "tags", "t.tags @> CAST(:tags AS text[])")
    question.narrow(wanted.created_since, "created_since", "t.created_at >= :created_since")
    question.narrow(wanted.created_before, "created_before", "t.created_at < :created_before")
    question.narrow(wanted.mailbox_id, "mailbox", "t.mailbox_id = :mailbox")
    question.narrow(wanted.priority and wanted.priority.value, "priority", "t.priority = :priority")
    question.narrow(wanted.account_id, "account", "t.account_id = :account")
    question.narrow(wanted.site_id, "site", "t.site_id = :site")
    if wanted.is_unassigned:
        question.filters.append("t.assignee_user_id IS NULL AND t.queue_id IS NULL")
    if wanted.sla is not None:
        question.filters.append(_SLA[wanted.sla])


def is_rare(wanted: Wanted) -> bool:
    """Say whether few tickets have what is asked for, as a rule, so that the index is asked before any walk.

    An address or a code is one's own, and what a person or a queue has to do is little beside what they did.
    """
    if wanted.words is not None:
        return "@" in wanted.words or wanted.words.lower().startswith("tkt-")
    has_owner = wanted.assignee_user_id is not None or wanted.queue_id is not None
    return has_owner and bool(wanted.statuses) and _PASSING.issuperset(wanted.statuses) and not wanted.tags


def source(question: Question, wanted: Wanted) -> TextClause | None:
    """Return the statement that names candidates by an index of what is rare; None where there is none."""
    clauses = ["w.tags @> CAST(:tags AS text[]) AND w.tags <> '{}'"] if wanted.tags else []
    words = question.values.get("words")
    if words is not None and len(words) >= _SHORTEST:
        piece = telling_piece(words)
        question.values["pattern"] = f"%{_escaped(piece)}%"
        clauses += ["w.haystack LIKE :pattern"] + (["strpos(w.haystack, :words) > 0"] if piece != words else [])
    if clauses:
        return text(f"""
            {_BY_CODE if "code" in question.values else ""}
            SELECT w.ticket_id FROM ticket_words w WHERE w.org_id = :org AND {" AND ".join(clauses)}
             LIMIT {MOST_FOUND + 1}
        """)  # noqa: S608 - made of the clauses above
    if words is None and is_rare(wanted):
        clauses = [*question.driving, *(one for one in question.filters if one.startswith("t.status"))]
    elif wanted.sla in _DUE:
        clauses = ["t.org_id = :org", _DUE[wanted.sla]]
    if not clauses:
        return None
    return text(f"SELECT t.id FROM tickets t WHERE {' AND '.join(clauses)} LIMIT {MOST_FOUND + 1}")  # noqa: S608


def code_beginning(words: str) -> str | None:
    """Return what codes begin with that are meant by some lowered words; None when no code begins like them."""
    if _CODE.fullmatch(words) is None:
        return None
    return words if words.startswith("tkt-") else f"tkt-{words}"


def telling_piece(words: str) -> str:
    """Return the piece of some words that fewest texts hold, by the letters in it; the whole when none tells much.

    An index of trigrams looks for every trigram of a pattern: at a million tickets an address took 50 ms whole, and
    1 ms by the seven characters of it that tell most. What it finds is held against the whole words.
    """
    pieces = [words[start : start + _PIECE] for start in range(max(1, len(words) - _PIECE + 1))]
    best = max(pieces, key=_told_by)
    return best if _told_by(best) >= _TELLING else words


def _told_by(piece: str) -> int:
    """Return how much a piece tells: rare letters and digits do, and where two words meet, most of all in its middle.

    Words that everybody writes have trigrams that everybody has; those across their meeting are fewer.
    """
    rare = sum(0 if letter in " .,-@etaoinsrhld" else 1 if letter in "cumwfgypb" else 2 for letter in piece)
    return rare + (2 if piece[len(piece) // 2] == " " else 1 if " " in piece[1:-1] else 0)


def _escaped(words: str) -> str:
    """Return words in which LIKE finds no wildcard."""
    return words.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
