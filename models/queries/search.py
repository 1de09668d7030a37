"""Messages that match a search, the best first: bounded work for every word, pages by place and never by number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, TextClause, text

from models.queries.scoping import EVERYTHING, Reached

#: Of a word that stands everywhere only the newest messages are ranked.
MOST_RANKED = 10_000
#: Characters of a text that a piece of it is chosen from.
REACH = 100_000

_QUERY = "(to_tsquery('simple', :text) && CAST(:exact AS tsquery))"
#: The plan must know the words: a generic one would not know whether they are rare. And reading the table from end to
#: end unpacks every document, which the planner believes to cost nothing: the index must look cheaper.
_KNOW_THE_WORDS = text("""
    SELECT set_config('plan_cache_mode', 'force_custom_plan', true), set_config('random_page_cost', '1', true)
""")
_NEWEST_ID = text("SELECT coalesce(max(message_id), 0) FROM message_search")
_MATCHES = f"""
    SELECT message_id, received_at, document FROM message_search
     WHERE document @@ {_QUERY} AND org_id = :org AND message_id <= :up_to
       AND received_at >= coalesce(CAST(:since AS timestamptz), '-infinity')
       AND received_at < coalesce(CAST(:before AS timestamptz), 'infinity')
     ORDER BY received_at DESC, message_id DESC LIMIT :most + 1
"""  # noqa: S608 - made of the constants above
#: A long text is not better because it holds more words (1: divided by the logarithm of its length). Rank, time and id
#: are a total order, so a page goes on exactly where the last one ended.
_FIND = f"""
    WITH newest AS ({_MATCHES}), reached AS ({{reached}}), ranked AS (
        SELECT message_id, received_at, CAST(ts_rank_cd(document, {_QUERY}, 1) AS float8) AS rank,
               ts_filter(document, '{{{{a}}}}') @@ to_tsquery('simple', :any) AS in_subject,
               ts_filter(document, '{{{{b}}}}') @@ to_tsquery('simple', :any) AS in_people,
               ts_filter(document, '{{{{c}}}}') @@ to_tsquery('simple', :any) AS in_body,
               ts_filter(document, '{{{{d}}}}') @@ to_tsquery('simple', :any) AS in_files,
               count(*) OVER () AS total, (SELECT count(*) FROM newest) > :most AS is_capped
          FROM reached
    ), page AS (
        SELECT * FROM ranked
         WHERE CAST(:id AS bigint) IS NULL OR (rank, received_at, message_id) < (:rank, CAST(:at AS timestamptz), :id)
         ORDER BY rank DESC, received_at DESC, message_id DESC LIMIT :limit
    )
    SELECT p.message_id, p.received_at, p.rank, p.total, p.is_capped, p.in_subject, p.in_people, p.in_body, p.in_files,
           m.subject, m.from_address, m.from_name, m.direction, t.id AS ticket_id, t.code, t.status,
           left(c.body_text, :reach) AS body
      FROM page p JOIN messages m ON m.id = p.message_id JOIN message_contents c ON c.message_id = p.message_id
      LEFT JOIN ticket_messages l ON l.message_id = p.message_id
      LEFT JOIN tickets own ON own.id = l.ticket_id
      LEFT JOIN tickets t ON t.id = coalesce(own.merged_into, own.id)
     ORDER BY p.rank DESC, p.received_at DESC, p.message_id DESC
"""  # noqa: S608 - made of the constants above
#: Of who reaches everything, all of them; of others, those whose tickets they reach: quarantine is beyond them.
_ALL = "SELECT * FROM newest"
_REACHED = """
    SELECT n.* FROM newest n
     WHERE EXISTS (SELECT FROM ticket_messages l JOIN tickets own ON own.id = l.ticket_id
                     JOIN tickets t ON t.id = coalesce(own.merged_into, own.id)
                    WHERE l.message_id = n.message_id AND {condition})
"""
_PLAN = text(f"EXPLAIN {_MATCHES}")
_FILES = text("""
    SELECT a.message_id, left(string_agg(a.filename || ' ' || coalesce(x.content, ''), ' ' ORDER BY a.position), :reach)
           AS said
      FROM attachments a LEFT JOIN attachment_texts x ON x.org_id = a.org_id AND x.sha256 = a.sha256
     WHERE a.message_id = ANY(CAST(:ids AS bigint[])) GROUP BY a.message_id
""")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page ended; `up_to` is the newest message there was at the first one: later mail joins no page."""

    rank: float
    at: datetime
    message_id: int
    up_to: int


@dataclass(frozen=True, slots=True)
class Asked:
    """What is looked for: `text` for to_tsquery, `exact` a tsquery, `any_word` finds where the words stand."""

    text: str
    exact: str
    any_word: str
    since: datetime | None = None
    before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Matches:
    """One page of rows; `total` is at most `MOST_RANKED`, and `is_capped` says that there are more."""

    rows: Sequence[Any]
    total: int
    is_capped: bool
    last: Place | None


def find(
    connection: Connection,
    org_id: UUID,
    asked: Asked,
    *,
    limit: int,
    after: Place | None = None,
    reach: Reached = EVERYTHING,
) -> Matches:
    """Return a page of an organization's messages within a reach, the best first, newer ones first among equals."""
    connection.execute(_KNOW_THE_WORDS)
    up_to = connection.execute(_NEWEST_ID).scalar_one() if after is None else after.up_to
    values = _values(org_id, asked, up_to) | {"any": asked.any_word, "limit": limit + 1, "reach": REACH}
    place: dict[str, Any] = {"id": None, "rank": None, "at": None}
    if after is not None:
        place = {"id": after.message_id, "rank": after.rank, "at": after.at}
    rows = connection.execute(_statement(reach), values | place | reach[1]).all()
    total = rows[0].total if rows else 0
    shown = rows[:limit]
    last = None
    if len(rows) > limit:
        last = Place(shown[-1].rank, shown[-1].received_at, shown[-1].message_id, up_to)
    return Matches(shown, min(total, MOST_RANKED), bool(rows and rows[0].is_capped), last)


def _statement(reach: Reached) -> TextClause:
    reached = _ALL if reach == EVERYTHING else _REACHED.format(condition=reach[0])
    return text(_FIND.format(reached=reached))


def file_texts(connection: Connection, message_ids: Sequence[int]) -> dict[int, str]:
    """Return the names and texts of each message's attachments."""
    rows = connection.execute(_FILES, {"ids": list(message_ids), "reach": REACH}) if message_ids else ()
    return {row.message_id: row.said for row in rows}


def plan(connection: Connection, org_id: UUID, asked: Asked) -> str:
    """Return how the database would look for it."""
    connection.execute(_KNOW_THE_WORDS)
    rows = connection.execute(_PLAN, _values(org_id, asked, 2**62)).scalars()
    return "\n".join(rows)


def _values(org_id: UUID, asked: Asked, up_to: int) -> dict[str, Any]:
    return {
        "org": org_id,
        "text": asked.text,
        "exact": asked.exact,
        "since": asked.since,
        "before": asked.before,
        "up_to": up_to,
        "most": MOST_RANKED,
    }
