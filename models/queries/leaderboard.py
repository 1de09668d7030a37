"""The leaderboard: every technician's tally and score of some days, in one query."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.queries.workshop_people import IS_TECHNICIAN, first_id

#: Each part is gathered once for all; the score is the sum over the weights, which stand by the columns' names. A
#: repair is done by the one check that passed it. Ids are in the order of time, so `floor` lets an index leave out what
#: is older.
_BOARD = """
    WITH technicians AS MATERIALIZED (
        SELECT m.person_id FROM memberships m WHERE m.org_id = :org AND {is_technician}
    ), checks AS MATERIALIZED (
        SELECT t.person_id, c.order_id, c.result
          FROM technicians t JOIN quality_checks c ON c.org_id = :org AND c.technician_id = t.person_id
           AND c.id >= :floor AND c.created_at >= :since AND c.created_at < :until
    ), finished AS MATERIALIZED (
        SELECT c.person_id, r.flag_color,
               EXISTS (SELECT FROM quality_checks f WHERE f.order_id = c.order_id AND f.result = 'FAIL') AS has_failed
          FROM checks c JOIN repairs r ON r.order_id = c.order_id
         WHERE c.result = 'PASS'
    ), work AS (
        SELECT person_id, count(*) AS done,
               count(*) FILTER (WHERE NOT has_failed) AS first_pass,
               count(*) FILTER (WHERE has_failed) AS reworked,
               count(*) FILTER (WHERE flag_color = 'green') AS green,
               count(*) FILTER (WHERE flag_color = 'yellow') AS yellow,
               count(*) FILTER (WHERE flag_color = 'red') AS red
          FROM finished GROUP BY person_id
    ), points AS (
        SELECT t.person_id, sum(x.amount) AS xp
          FROM technicians t JOIN xp_transactions x ON x.org_id = :org AND x.person_id = t.person_id
           AND x.id >= :floor AND x.created_at >= :since AND x.created_at < :until
         GROUP BY t.person_id
    ), failed AS (
        SELECT person_id, count(*) AS qc_fails FROM checks WHERE result = 'FAIL' GROUP BY person_id
    ), present AS (
        SELECT a.person_id, count(*) AS attendance_days FROM attendance_records a
         WHERE a.org_id = :org AND a.work_date BETWEEN :first_day AND :last_day GROUP BY a.person_id
    ), tallies AS (
        SELECT t.person_id, {tally}
          FROM technicians t LEFT JOIN work USING (person_id) LEFT JOIN points USING (person_id)
          LEFT JOIN failed USING (person_id) LEFT JOIN present USING (person_id)
    ), scored AS (
        SELECT s.*, {score} AS score FROM tallies s
    )
    SELECT s.*, p.full_name, coalesce(l.level, 1) AS level, rank() OVER (ORDER BY s.score DESC) AS rank
      FROM scored s JOIN people p ON p.id = s.person_id
      LEFT JOIN levels l ON l.org_id = :org AND l.person_id = s.person_id
     ORDER BY s.score DESC, s.done DESC, p.full_name, s.person_id
     LIMIT :limit OFFSET :offset
"""


def board(
    connection: Connection,
    org_id: UUID,
    weights: Mapping[str, int],
    *,
    days: tuple[date, date],
    span: tuple[datetime, datetime],
    limit: int,
    offset: int,
) -> list[Row[Any]]:
    """Return a page of the leaderboard, the best first; `days` and `span` (end excluded) are the same time.

    `weights` are by the columns: done, xp, first_pass, green, yellow, red, attendance_days, reworked, qc_fails.
    """
    statement = _BOARD.format(
        is_technician=IS_TECHNICIAN,
        tally=", ".join(f"CAST(coalesce({name}, 0) AS bigint) AS {name}" for name in weights),
        score=" + ".join(f"CAST(:weight_{name} AS int) * s.{name}" for name in weights),
    )
    values = {
        "org": org_id,
        "first_day": days[0],
        "last_day": days[1],
        "since": span[0],
        "until": span[1],
        "floor": first_id(span[0]),
        "limit": limit,
        "offset": offset,
        **{f"weight_{name}": weight for name, weight in weights.items()},
    }
    return list(connection.execute(text(statement), values))
