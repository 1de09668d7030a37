"""Bulks: one wish about many dead letters, begun once whoever asks how often, and taken back."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, Row, select, text

from dlq import letters, reading
from dlq.reading import BY_MESSAGE, BY_OCCURRENCE, BY_OUTBOUND, Which, conditions
from models import row_security
from models.dead_letters import dead_letters
from models.enums import BulkAction, BulkState
from pipeline.runtime.locks import BULKS

#: Who acts when no person does.
ITSELF = "fieldpost"

#: One wish about an organization's letters at a time; one about all of them, the number 0, waits for every other.
_LOCK_ALL = text(f"SELECT pg_advisory_xact_lock({BULKS}, 0)")
_LOCK_ONE = text(f"""
    SELECT pg_advisory_xact_lock_shared({BULKS}, 0), pg_advisory_xact_lock({BULKS}, hashtext(CAST(:org AS text)) | 1)
""")
_EQUAL = text("""
    SELECT id, total,
           (SELECT count(*) FROM bulk_items i WHERE i.bulk_id = bulks.id AND i.state = 'waiting') AS waiting
      FROM bulks
     WHERE finished_at IS NULL AND selection_digest = :digest AND org_id IS NOT DISTINCT FROM CAST(:org AS uuid)
     ORDER BY id LIMIT 1
""")
#: Asked letter by letter, by its id alone: by state the planner may take a flood of items for none.
_IS_FREE = text("""
    NOT ARRAY(SELECT i.state FROM bulk_items i WHERE i.letter_id = dead_letters.id) && ARRAY['waiting', 'released']
""")
_BEGIN = text("""
    INSERT INTO bulks (org_id, action, state, selection, selection_digest, canaries, per_second, allowance, total,
                       actor, reason)
    VALUES (:org, :action, :state, CAST(:selection AS jsonb), :digest, :canaries, :per_second, 1, :total, :actor,
            :reason)
    RETURNING id
""")
#: What is ordered goes by the age of its job. Canaries are the oldest of each kind of error in turn, and never one
#: that would overtake an older letter of its ticket.
_ITEMS = text("""
    WITH chosen AS (
        SELECT d.id, d.job_id, d.stage, d.error_group,
               coalesce('ticket:' || l.ticket_id,
                        'thread:' || o.mailbox_id || ':' || nullif(o.thread_id, '')) AS order_key
          FROM dead_letters d
          LEFT JOIN occurrences o
            ON o.id = CASE WHEN d.stage = ANY(CAST(:by_occurrence AS text[])) THEN CAST(d.key AS bigint) END
          LEFT JOIN outbound b ON b.id = CASE WHEN d.stage = :by_outbound THEN CAST(d.key AS uuid) END
          LEFT JOIN ticket_messages l
            ON l.message_id = CASE WHEN d.stage = ANY(CAST(:by_message AS text[])) THEN CAST(d.key AS bigint)
                                   ELSE coalesce(o.message_id, b.message_id) END
         WHERE d.id = ANY(CAST(:ids AS bigint[]))
    ), ranked AS (
        SELECT *, order_key IS NULL OR row_number() OVER (PARTITION BY order_key ORDER BY job_id) = 1 AS is_first
          FROM chosen
    ), turned AS (
        SELECT *, row_number() OVER (PARTITION BY stage, error_group, is_first ORDER BY job_id) AS turn FROM ranked
    ), picked AS (
        SELECT *, is_first AND row_number() OVER (ORDER BY is_first DESC, turn, job_id) <= :canaries AS is_canary,
               row_number() OVER (ORDER BY is_first DESC, turn, job_id) AS pick
          FROM turned
    )
    INSERT INTO bulk_items (bulk_id, place, letter_id, job_id, order_key)
    SELECT :bulk, row_number() OVER (ORDER BY is_canary DESC, CASE WHEN is_canary THEN pick END, job_id), id, job_id,
           order_key
      FROM picked
""")
_NOTE = text("""
    INSERT INTO letter_actions (org_id, bulk_id, action, actor, reason, data)
    SELECT org_id, id, t.action, t.actor, t.reason, jsonb_build_object('letters', total)
      FROM bulks, unnest(CAST(:actions AS text[]), CAST(:actors AS text[]), CAST(:reasons AS text[]))
           WITH ORDINALITY AS t(action, actor, reason, number)
     WHERE id = :bulk ORDER BY number
""")
_DISCARDED = text("""
    WITH done AS (
        SELECT unnest(CAST(:ids AS bigint[])) AS id
    ), ended AS (
        UPDATE bulk_items SET state = CASE WHEN letter_id IN (SELECT id FROM done) THEN 'passed' ELSE 'skipped' END,
                              note = CASE WHEN letter_id NOT IN (SELECT id FROM done) THEN :left_out END,
                              released_at = now(), ended_at = now()
         WHERE bulk_id = :bulk
    )
    UPDATE bulks SET state = 'done', finished_at = now() WHERE id = :bulk
""")
_CANCEL = text("""
    UPDATE bulks SET state = 'cancelled', finished_at = now(), ended_because = :why
     WHERE id = :bulk AND finished_at IS NULL
    RETURNING id
""")
_SKIP = text("""
    UPDATE bulk_items SET state = 'skipped', ended_at = now(), note = :note WHERE bulk_id = :bulk AND state = 'waiting'
""")
NOT_OPEN = "not open any more"


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be done with which open letters, by whom and why; how many go first, and how many per second.

    `which` also says the organization: without one the letters of all are meant. Nothing but open letters is.
    """

    action: BulkAction
    which: Which
    actor: str
    reason: str
    canaries: int = 0
    per_second: float | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """The bulk that does what was wished, with its number of letters; None of `bulk_id`: it found none to take.

    `is_new` is False when an equal one was under way. `left_out` letters were meant and are not in it: `under_way` of
    them stand in another bulk that goes on; the others were asked for by id and are not open. Beside an equal bulk they
    came later, or stand in another.
    """

    bulk_id: int | None
    total: int
    is_new: bool
    left_out: int = 0
    under_way: int = 0


def start(connection: Connection, wish: Wish) -> Started:
    """Begin a bulk, in the caller's transaction. Equal wishes at once are one: all but the first join it.

    A discard is done whole at once. A replay goes on by itself, tick by tick (`dlq.advancing`). Letters that another
    bulk has under way are left out.
    """
    org_id = wish.which.get("org_id")
    selection, digest = _selection(wish)
    connection.execute(_LOCK_ALL if org_id is None else _LOCK_ONE, {} if org_id is None else {"org": org_id})
    equal = connection.execute(_EQUAL, {"digest": digest, "org": org_id}).one_or_none()
    if equal is not None:
        return Started(equal.id, equal.total, is_new=False, left_out=_beside(connection, wish.which, equal))
    chosen = _choose(connection, wish.which)
    under_way = max(0, _count_open(connection, wish.which) - len(chosen))
    named = wish.which.get("letter_ids")
    left_out = under_way if named is None else len(set(named)) - len(chosen)
    if not chosen:
        return Started(None, 0, is_new=False, left_out=left_out, under_way=under_way)
    bulk_id = _begin(connection, wish, selection, digest, chosen)
    if wish.action is BulkAction.DISCARD:
        _discard(connection, wish, bulk_id, chosen)
    return Started(bulk_id, len(chosen), is_new=True, left_out=left_out, under_way=under_way)


def cancel(connection: Connection, bulk_id: int, *, actor: str, reason: str) -> bool:
    """Let none of a bulk's waiting letters go any more; those let go already go on. False when it was over, or is not.

    The letters that were not let go stay open.
    """
    why = f"cancelled by {actor}: {reason}"
    if connection.execute(_CANCEL, {"bulk": bulk_id, "why": why}).one_or_none() is None:
        return False
    connection.execute(_SKIP, {"bulk": bulk_id, "note": f"cancelled by {actor}"})
    _note(connection, bulk_id, [("bulk_cancelled", actor, reason)])
    return True


def _choose(connection: Connection, which: Which) -> list[int]:
    """Lock the open letters that are meant, in order of their ids, and return them."""
    meant: Which = {**which, "is_open": True}
    query = select(dead_letters.c.id).where(*conditions(meant), _IS_FREE).order_by(dead_letters.c.id)
    return [row.id for row in reading.rows_of(connection, query.with_for_update(of=dead_letters), meant)]


def _beside(connection: Connection, which: Which, equal: Row[Any]) -> int:
    """Count the letters that are meant and not in the equal bulk: they came later, or another bulk has them."""
    named = which.get("letter_ids")
    if named is not None:
        return len(set(named)) - int(equal.total)
    return max(0, _count_open(connection, which) - int(equal.waiting))


def _count_open(connection: Connection, which: Which) -> int:
    meant: Which = {**which, "is_open": True}
    return reading.count(connection, **meant)


def _begin(connection: Connection, wish: Wish, selection: Mapping[str, Any], digest: str, chosen: Sequence[int]) -> int:
    values = {
        "org": wish.which.get("org_id"),
        "action": wish.action.value,
        "state": (BulkState.CANARY if wish.canaries > 0 else BulkState.RUNNING).value,
        "selection": orjson.dumps(selection).decode(),
        "digest": digest,
        "canaries": wish.canaries,
        "per_second": wish.per_second,
        "total": len(chosen),
        "actor": wish.actor,
        "reason": wish.reason,
    }
    bulk_id: int = connection.execute(_BEGIN, values).scalar_one()
    # As `reading.rows_of`: what was chosen is the organization's, and so is what its keys name.
    with row_security.unbarred(connection):
        connection.execute(
            _ITEMS,
            {
                "bulk": bulk_id,
                "ids": list(chosen),
                "canaries": wish.canaries,
                "by_occurrence": list(BY_OCCURRENCE),
                "by_message": list(BY_MESSAGE),
                "by_outbound": BY_OUTBOUND,
            },
        )
    _note(connection, bulk_id, [("bulk_started", wish.actor, wish.reason)])
    return bulk_id


def _discard(connection: Connection, wish: Wish, bulk_id: int, chosen: Sequence[int]) -> None:
    done = letters.discard(connection, chosen, actor=wish.actor, reason=wish.reason, bulk_id=bulk_id)
    connection.execute(_DISCARDED, {"bulk": bulk_id, "ids": list(done), "left_out": NOT_OPEN})
    _note(connection, bulk_id, [("bulk_done", ITSELF, "every letter was discarded")])


def _note(connection: Connection, bulk_id: int, said: Sequence[tuple[str, str, str]]) -> None:
    actions, actors, reasons = zip(*said, strict=True)
    values = {"bulk": bulk_id, "actions": list(actions), "actors": list(actors), "reasons": list(reasons)}
    connection.execute(_NOTE, values)


def _selection(wish: Wish) -> tuple[Mapping[str, Any], str]:
    """Return how the letters are chosen, for people, and the digest by which equal wishes know each other.

    When it was counted does not matter to that: whoever asks a second later means the same.
    """
    said: dict[str, Any] = {
        name: value
        for name, value in wish.which.items()
        if value is not None and name not in ("org_id", "is_open", "before_id")
    }
    if "letter_ids" in said:
        said["letter_ids"] = sorted(set(said["letter_ids"]))
    same = {name: value for name, value in said.items() if name != "newest_id"}
    packed = orjson.dumps([wish.action, same], option=orjson.OPT_SORT_KEYS)
    return said, hashlib.sha256(packed).hexdigest()
