"""Work orders of the field as a list by their deadlines, narrowed by anything, at a cost that does not grow with them.

Each state of each place has its part of an index, in the order of the list; a page merges these parts. What no index
gives is looked for by a bounded walk along them: a page may be short, even empty, and yet not be the last.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import product
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, TextClause, text

from models.enums import WorkOrderState
from models.queries.scoping import EVERYTHING, Reached
from models.work_lifecycle import FIELD, OPEN, STATES

#: Orders that one page looks at, in the order of the list.
WALK = 2_000
#: More places than these are walked over together: each would be a part of its own.
_MOST_PLACES = 12
OVER = frozenset({WorkOrderState.DONE, WorkOrderState.CANCELLED})
#: What somebody still has to do.
OPEN_STATES = tuple(state for state in STATES[FIELD] if state not in OVER)
#: What is called an order by its number; a title seldom holds that.
_CODE = re.compile(r"wo_(\d{1,18})", re.ASCII | re.IGNORECASE)
_WORDS = """strpos(lower(concat_ws(chr(10), w.title, (SELECT f.item_text FROM findings f WHERE f.order_id = w.id),
                                   (SELECT concat_ws(' ', a.tag, a.name) FROM assets a WHERE a.id = w.asset_id))),
                   lower(:words)) > 0"""
#: A walk stops early, which the planner cannot know: it must not gather and sort everything first.
_WALKING, _LOOKING = (
    text(f"""
    SELECT set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', '{said}', true),
           set_config('enable_sort', '{said}', true)
    """)
    for said in ("off", "on")
)
_PLACES = text("SELECT id FROM sites WHERE org_id = :org AND account_id = ANY(CAST(:accounts AS uuid[])) LIMIT :most")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What orders must have; None and False narrow nothing. All of `states` are open, or all are over."""

    states: Sequence[WorkOrderState] = OPEN_STATES
    site_id: UUID | None = None
    technician_id: UUID | None = None
    is_overdue: bool = False
    #: Due within this, and not late.
    due_within: timedelta | None = None
    #: Went, at some time, to somebody who is not ours.
    is_outsourced: bool = False
    words: str | None = None

    @property
    def code(self) -> int | None:
        """The number of the one order that the words name, if they do."""
        found = _CODE.fullmatch(self.words) if self.words else None
        return int(found[1]) if found else None

    @property
    def is_few(self) -> bool:
        """True when all that is asked for is so little that it is gathered and put in order."""
        return self.code is not None or (self.technician_id is not None and not self.is_of_past)

    @property
    def is_of_past(self) -> bool:
        """True when it asks for what is over: the latest come first then."""
        return OVER.issuperset(self.states)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page ended."""

    due_at: datetime
    order_id: UUID


@dataclass(frozen=True, slots=True)
class Found:
    """The ids of one page, in order; `last` is where the next one begins, None when nothing can follow."""

    ids: Sequence[UUID]
    last: Place | None


@dataclass(slots=True)
class _Question:
    """The parts that are merged, and the clauses that are in use: `driving` is what the index gives."""

    parts: list[str]
    order: str
    driving: list[str] = field(default_factory=list)
    filters: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)

    def narrow(self, value: object, name: str, clause: str) -> None:
        """Add a filter with its value, when there is one."""
        if value is not None:
            self.filters.append(clause)
            self.values[name] = value

    def walk(self, limit: int) -> TextClause:
        """Return the statement that goes along the merged parts and keeps what is asked for.

        Where it looked at `WALK` and did not find `limit`, a last row that is no hit tells the last that it looked at.
        """
        filters, most = " AND ".join(self.filters) or "TRUE", WALK if self.filters else limit
        return text(f"""
            WITH hits AS MATERIALIZED (
                SELECT w.id, w.due_at FROM ({self._merged(most)}) w WHERE {filters} {self.order} LIMIT {limit}
            )
            SELECT id, due_at, true AS is_hit FROM hits
            UNION ALL
            SELECT e.id, e.due_at, false FROM ({self._merged(1, WALK - 1)}) e
             WHERE {bool(self.filters)} AND (SELECT count(*) FROM hits) < {limit}
        """)  # noqa: S608 - made of clauses of this module

    def _merged(self, limit: int, offset: int = 0) -> str:
        """Return what merges the parts: each is read only as far as it is needed."""
        driving = " AND ".join(["w.org_id = :org", "w.policy = 'field'", *self.driving])
        each = [
            f"(SELECT w.* FROM work_orders w WHERE {driving} AND {part} {self.order} LIMIT {limit + offset})"  # noqa: S608 - as above
            for part in self.parts
        ]
        return f"SELECT w.* FROM ({' UNION ALL '.join(each)}) w {self.order} OFFSET {offset} LIMIT {limit}"  # noqa: S608 - as above


def places_of(connection: Connection, org_id: UUID, account_ids: Collection[UUID]) -> list[UUID] | None:
    """Return the sites of accounts; None when they are too many to be parts of a page."""
    values = {"org": org_id, "accounts": sorted(account_ids), "most": _MOST_PLACES + 1}
    found = list(connection.execute(_PLACES, values).scalars())
    return found if len(found) <= _MOST_PLACES else None


def find(
    connection: Connection,
    org_id: UUID,
    wanted: Wanted,
    reached: Reached = EVERYTHING,
    *,
    limit: int,
    after: Place | None = None,
    within: Collection[UUID] | None = None,
) -> Found:
    """Return a page of an organization's orders of the field, those due first; of what is over, those due last.

    `reached` is what `models.queries.order_scoping.order_condition` says for whoever asks; `within` names the sites
    that it narrows to, where it does.
    """
    if within is not None and not within:
        return Found((), None)
    question = _question(org_id, wanted, reached, after, within)
    if not wanted.is_few:
        connection.execute(_WALKING)
    looked = connection.execute(question.walk(limit + 1), question.values).all()
    if not wanted.is_few:
        connection.execute(_LOOKING)
    hits = [Place(row.due_at, row.id) for row in looked if row.is_hit]
    last = next((Place(row.due_at, row.id) for row in looked if not row.is_hit), None)
    if len(hits) > limit:
        last = hits[limit - 1]
    return Found([one.order_id for one in hits[:limit]], last)


def _question(
    org_id: UUID, wanted: Wanted, reached: Reached, after: Place | None, within: Collection[UUID] | None
) -> _Question:
    direction = "DESC" if wanted.is_of_past else "ASC"
    parts, values = _parts(wanted, within)
    question = _Question(parts, f"ORDER BY w.due_at {direction}, w.id {direction}")
    question.values = {"org": org_id, **values}
    if after is not None:
        than = "<" if wanted.is_of_past else ">"
        question.driving.append(f"(w.due_at, w.id) {than} (CAST(:at AS timestamptz), CAST(:id AS uuid))")
        question.values |= {"at": after.due_at, "id": after.order_id}
    if wanted.is_overdue:
        question.driving.append("w.due_at < now()")
    if wanted.due_within is not None:
        question.driving.append("w.due_at >= now() AND w.due_at < now() + CAST(:within AS interval)")
        question.values["within"] = wanted.due_within
    if wanted.is_outsourced:
        question.driving.append("w.outsourced_to IS NOT NULL")
    _filters(question, wanted)
    if reached[0] != EVERYTHING[0]:
        question.filters.append(f"({reached[0]})")
        question.values |= reached[1]
    return question


def _filters(question: _Question, wanted: Wanted) -> None:
    """Add what the parts do not give already."""
    is_by_code = wanted.code is not None
    if is_by_code:
        question.narrow(wanted.technician_id, "technician", "w.assigned_to_id = :technician")
    if is_by_code or wanted.technician_id is not None:
        question.narrow(wanted.site_id, "site", "w.site_id = :site")
    if not is_by_code:
        question.narrow(wanted.words or None, "words", _WORDS)


def _parts(wanted: Wanted, within: Collection[UUID] | None) -> tuple[list[str], dict[str, Any]]:
    """Return the conditions of the parts: by number, person, place or organization, whatever names the fewest."""
    states = ", ".join(f"'{state.value}'" for state in wanted.states)
    if wanted.code is not None:
        return [f"w.number = :number AND w.state IN ({states})"], {"number": wanted.code}
    values: dict[str, Any] = {}
    if wanted.technician_id is not None:
        places, values["technician"] = ["w.assigned_to_id = :technician"], wanted.technician_id
        if not wanted.is_of_past:
            # Few, so that they are gathered and put in order.
            return [f"{places[0]} AND w.{OPEN} AND w.state IN ({states})"], values
    elif wanted.site_id is not None:
        places, values["site"] = ["w.site_id = :site"], wanted.site_id
    elif within is not None and len(within) <= _MOST_PLACES:
        places = [f"w.site_id = :place{number}" for number in range(len(within))]
        values |= {f"place{number}": one for number, one in enumerate(sorted(within))}
    else:
        places = ["w.org_id = :org"]
    return [f"{place} AND w.state = '{state.value}'" for place, state in product(places, wanted.states)], values
