"""Walking an organization's audit trail in pages, and comparing it with its head and its seals."""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from pipeline.core.audit_chain import GENESIS, Facts, Link, Place, Problem, Wrong, problems
from pipeline.runtime.audit_seals import is_signed
from pipeline.runtime.secrets import Secrets

#: Rows at a time: about 10 MB of memory, however long the trail is.
PAGE = 5_000
_MOST_PROBLEMS = 100

_LINKS = text("""
    SELECT e.*, d.number IS NOT NULL AS has_details, d.data, d.erased_at
      FROM audit_events e LEFT JOIN audit_details d ON d.org_id = e.org_id AND d.number = e.number
     WHERE e.org_id = :org AND e.number > :after AND e.number <= :until ORDER BY e.number LIMIT :page
""")
_ROW = text("SELECT number, hash FROM audit_events WHERE org_id = :org AND number = :number")
#: One statement, so of one moment: whatever is appended meanwhile, newest and head are the same row.
_ENDS = text("""
    SELECT (SELECT max(number) FROM audit_events WHERE org_id = :org) AS newest,
           (SELECT hash FROM audit_events WHERE org_id = :org ORDER BY number DESC LIMIT 1) AS newest_hash,
           (SELECT number FROM audit_heads WHERE org_id = :org) AS head,
           (SELECT hash FROM audit_heads WHERE org_id = :org) AS head_hash,
           (SELECT min(number) FROM audit_events WHERE org_id = :org) AS oldest
""")
_STRAY = text("""
    SELECT d.number FROM audit_details d
     WHERE d.org_id = :org AND NOT EXISTS (SELECT FROM audit_events e WHERE e.org_id = :org AND e.number = d.number)
     ORDER BY d.number LIMIT :most
""")
_SEALS = text("""
    SELECT s.number, s.hash, s.signature, s.key_id, e.hash AS row_hash
      FROM audit_seals s LEFT JOIN audit_events e ON e.org_id = s.org_id AND e.number = s.number
     WHERE s.org_id = :org AND s.number > :after AND (CAST(:until AS bigint) IS NULL OR s.number <= :until)
     ORDER BY s.number, s.id
""")


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found. `next` is where the next page goes on; None when the end was reached."""

    org_id: UUID
    rows: int
    seals: int
    problems: tuple[Problem, ...]
    #: The newest row there is.
    newest: Place
    next: int | None = None


def check(connection: Connection, keys: Secrets, org_id: UUID, known: Sequence[Place] = ()) -> Checked:
    """Walk a whole trail; `known` are rows that were noted elsewhere, such as in a log. At most 100 problems."""
    ends = connection.execute(_ENDS, {"org": org_id}).one()
    found, rows, after = _limits(ends), 0, Place()
    while page := _page(connection, org_id, after.number, ends.newest or 0, PAGE):
        found += problems(page, after)
        rows, after = rows + len(page), Place(page[-1].facts.number, page[-1].hash)
        if len(found) >= _MOST_PROBLEMS:
            break
    seals = connection.execute(_SEALS, {"org": org_id, "after": 0, "until": None}).all()
    found += [*_stray(connection, org_id), *_unsealed(org_id, keys, seals), *_unknown(connection, org_id, known)]
    return Checked(org_id, rows, len(seals), _sorted(found), _newest(ends))


def check_page(connection: Connection, keys: Secrets, org_id: UUID, after: int, most: int) -> Checked:
    """Check up to `most` rows that follow row `after`, and the seals on them; the head with the last page."""
    ends = connection.execute(_ENDS, {"org": org_id}).one()
    before = connection.execute(_ROW, {"org": org_id, "number": after}).one_or_none()
    place = Place(after, bytes(before.hash) if before else GENESIS)
    page = _page(connection, org_id, after, ends.newest or 0, most)
    found = list(problems(page, place))
    last = page[-1].facts.number if page else after
    is_end = last >= (ends.newest or 0)
    seals = connection.execute(_SEALS, {"org": org_id, "after": after, "until": None if is_end else last}).all()
    found += _unsealed(org_id, keys, seals)
    if is_end:
        found += [*_limits(ends), *_stray(connection, org_id)]
    return Checked(org_id, len(page), len(seals), _sorted(found), _newest(ends), None if is_end else last)


def links(connection: Connection, org_id: UUID, after: int = 0, page: int = PAGE) -> Iterator[Link]:
    """Yield every row after a number, with its details, in order."""
    while found := _page(connection, org_id, after, 2**62, page):
        yield from found
        after = found[-1].facts.number


def _page(connection: Connection, org_id: UUID, after: int, until: int, page: int) -> list[Link]:
    rows = connection.execute(_LINKS, {"org": org_id, "after": after, "until": until, "page": page})
    return [_link(row) for row in rows]


def _link(row: Row[Any]) -> Link:
    facts = Facts(
        org_id=row.org_id,
        number=row.number,
        at=row.at,
        actor_kind=row.actor_kind,
        actor_id=row.actor_id,
        actor_role=row.actor_role,
        action=row.action,
        outcome=row.outcome,
        code=row.code,
        target_kind=row.target_kind,
        target_id=row.target_id,
        request_id=row.request_id,
        correlation_id=row.correlation_id,
        trace_id=row.trace_id,
        details_sha256=None if row.details_sha256 is None else bytes(row.details_sha256),
    )
    return Link(facts, bytes(row.previous), bytes(row.hash), row.has_details, row.data, row.erased_at is not None)


def _limits(ends: Row[Any]) -> list[Problem]:
    """Compare the newest row with the head, which moves with every row."""
    newest, head = ends.newest or 0, ends.head or 0
    if head > newest:
        return [Problem(newest + 1, Wrong.CUT_SHORT, f"the head is at {head}, and the newest row is {newest}")]
    if head < newest:
        return [Problem(head + 1, Wrong.HEAD, f"the newest row is {newest}, and the head is at {head}")]
    if newest and bytes(ends.newest_hash) != bytes(ends.head_hash):
        return [Problem(newest, Wrong.HEAD, "the head has another hash than the newest row")]
    return []


def _newest(ends: Row[Any]) -> Place:
    return Place(ends.newest, bytes(ends.newest_hash)) if ends.newest else Place()


def _stray(connection: Connection, org_id: UUID) -> list[Problem]:
    numbers = connection.execute(_STRAY, {"org": org_id, "most": _MOST_PROBLEMS}).scalars()
    return [Problem(number, Wrong.MISSING, "its details are there, and its row is not") for number in numbers]


def _unsealed(org_id: UUID, keys: Secrets, seals: Sequence[Row[Any]]) -> list[Problem]:
    found = []
    for seal in seals:
        place = Place(seal.number, bytes(seal.hash))
        if not is_signed(keys, org_id, place, bytes(seal.signature)):
            said = f"no key that is known here made this seal (it names {seal.key_id})"
            found.append(Problem(seal.number, Wrong.FORGED_SEAL, said))
        elif seal.row_hash is None:
            found.append(Problem(seal.number, Wrong.SEAL, "it was sealed, and is not there any more"))
        elif not hmac.compare_digest(bytes(seal.row_hash), place.hash):
            found.append(Problem(seal.number, Wrong.SEAL, "it was another row when it was sealed"))
    return found


def _unknown(connection: Connection, org_id: UUID, known: Sequence[Place]) -> list[Problem]:
    """Compare with rows that were noted outside of the database."""
    numbers = [place.number for place in known]
    statement = text("SELECT number, hash FROM audit_events WHERE org_id = :org AND number = ANY(:numbers)")
    there = {row.number: bytes(row.hash) for row in connection.execute(statement, {"org": org_id, "numbers": numbers})}
    return [
        Problem(place.number, Wrong.SEAL, "it is not the row that was noted")
        for place in known
        if there.get(place.number) != place.hash
    ]


def _sorted(found: Sequence[Problem]) -> tuple[Problem, ...]:
    return tuple(sorted(found, key=lambda one: one.number)[:_MOST_PROBLEMS])
