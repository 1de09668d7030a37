"""The budgets of mailboxes and projects as rows: drawn under a lock, by the database's clock, in short transactions.

Whoever locks both rows locks the mailbox's first, always: `mailbox:` sorts before `project:`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.enums import QuotaProfile
from pipeline.core import budget as rules
from pipeline.core.budget import Ask, Budget, Grant, Held
from pipeline.core.quota import LIMITS, MINUTE, Limits
from pipeline.runtime.errors import Reach

#: Shown of what a provider said.
_REASON_LENGTH = 300
OVERRIDES = ("units_per_user_minute", "units_per_minute", "units_per_day", "bytes_per_user_day", "concurrency")

#: How long a lock is waited for: a draw would rather step aside; a refusal must get through, and can, since the server
#: ends the transaction of a process that was stopped in the midst of one after `_IDLE`.
_DRAWS, _NOTES, _IDLE = "1s", "10s", "5s"
#: The answer to a commit is not waited for: losing the last of these writes loses a few units.
_BRIEFLY = """
    SELECT set_config('lock_timeout', :patience, true), set_config('idle_in_transaction_session_timeout', :idle, true),
           set_config('synchronous_commit', 'off', true)
"""
_SET_BRIEFLY = text(_BRIEFLY)
#: A row is joined with the settings before it is locked, so that they hold for the lock without a statement more.
_LOCK = text(f"""
    SELECT b.*, p.profile, p.units_per_user_minute, p.units_per_minute, p.units_per_day, p.bytes_per_user_day,
           p.concurrency AS most_at_once, clock_timestamp() AS now, briefly.*
      FROM ({_BRIEFLY}) AS briefly(lock_wait, idle_wait, is_lazy)
     CROSS JOIN budgets b LEFT JOIN projects p ON p.name = :project
     WHERE b.scope = ANY(CAST(:scopes AS text[])) ORDER BY b.scope FOR UPDATE OF b
""")  # noqa: S608 - settings from above
_OPEN = text("""
    INSERT INTO budgets (scope, level, day) SELECT scope, :full, CAST(timezone('America/Los_Angeles', now()) AS date)
      FROM unnest(CAST(:scopes AS text[])) AS t(scope)
     ORDER BY scope ON CONFLICT (scope) DO NOTHING
""")
_WRITE = text("""
    UPDATE budgets SET level = :level, level_at = :level_at, day = :day, day_units = :day_units, day_bytes = :day_bytes,
                       rest_until = :rest_until, bytes_rest_until = :bytes_rest_until, rest_reason = :rest_reason,
                       probe_until = :probe_until, refusals = :refusals, ramp_at = :ramp_at, concurrency = :concurrency
     WHERE scope = :scope
""")
_CONCURRENCY = text("""
    SELECT b.concurrency, p.profile, p.concurrency AS most_at_once
      FROM (VALUES (1)) AS one LEFT JOIN budgets b ON b.scope = :scope LEFT JOIN projects p ON p.name = :project
""")
_PAYERS = text("""
    SELECT m.id, m.project, p.profile, p.units_per_user_minute, p.units_per_minute, p.units_per_day,
           p.bytes_per_user_day, p.concurrency AS most_at_once, clock_timestamp() AS now
      FROM mailboxes m LEFT JOIN projects p ON p.name = m.project
     WHERE m.id = ANY(CAST(:ids AS uuid[]))
""")
_NOTE_IMAP = text("""
    INSERT INTO projects (name, bytes_per_user_day) VALUES (:name, :bytes) ON CONFLICT (name) DO NOTHING
""")
#: What the names of IMAP servers among the projects begin with, and those of Google, which count bytes (1.2).
IMAP = "imap:"
_GOOGLES = frozenset({"imap:imap.gmail.com", "imap:imap.googlemail.com"})
_NO_LIMIT = 10**15
_ROWS = text("SELECT * FROM budgets WHERE scope = ANY(CAST(:scopes AS text[]))")
_NOTE_PROJECT = text("UPDATE mailboxes SET project = :project WHERE id = :id AND project IS DISTINCT FROM :project")


@dataclass(frozen=True, slots=True)
class Account:
    """Who pays: a mailbox, and the provider's project its credentials belong to."""

    mailbox_id: UUID
    project: str
    #: The length of the provider's minute.
    minute: timedelta = MINUTE

    @property
    def scopes(self) -> list[str]:
        """Return the budgets that pay, in the order in which they are locked."""
        return [mailbox_scope(self.mailbox_id), project_scope(self.project)]


def mailbox_scope(mailbox_id: UUID) -> str:
    """Return the name of a mailbox's budget."""
    return f"mailbox:{mailbox_id}"


def project_scope(project: str) -> str:
    """Return the name of a project's budget."""
    return f"project:{project}"


def take(connection: Connection, account: Account, method: str, calls: int, *, is_live: bool, unused: int = 0) -> Grant:
    """Draw the units of up to `calls` calls of a method; commit before the calls are made.

    `unused` units come back first: they were drawn a moment ago and paid for nothing. A lock that somebody does not let
    go of is a database error after a second.
    """
    held = _locked(connection, account, _DRAWS)
    ask = Ask(max(1, held.limits.cost(method)), calls, is_live, method == "messages.get")
    both = [rules.returned(budget, unused) for budget in (held.mailbox, held.project)]
    grant, after = rules.draw(replace(held, mailbox=both[0], project=both[1]), ask)
    if grant.calls or unused:
        _write(connection, account, held, after)
    return grant


def refuse(
    connection: Connection,
    account: Account,
    reach: Reach,
    wait: timedelta,
    reason: str,
    *,
    is_told: bool,
    is_probe: bool = False,
    at_once: int | None = None,
) -> None:
    """Note what the provider refused: what `reach` says rests for `wait` when that was told, else longer each time.

    A probe that met another limit than the one it was for leaves that one to the next call. `at_once` is how many calls
    were allowed together when the refused one was made: when there are fewer by now, another refusal of the same burst
    was noted before.
    """
    held = _locked(connection, account)
    said, told = reason[:_REASON_LENGTH], wait if is_told or wait > MINUTE else None
    mailbox, project = held.mailbox, held.project
    if is_probe:
        mailbox, project = rules.unclear(mailbox), rules.unclear(project)
    if reach is Reach.CALLS:
        limit = held.limits.concurrency
        if at_once is None or rules.at_once(mailbox.concurrency, limit) >= min(at_once, limit):
            mailbox = replace(mailbox, concurrency=rules.fewer(mailbox.concurrency, limit))
    elif reach is Reach.BYTES:
        mailbox = rules.refused_bytes(mailbox, held.now, wait, said)
    elif reach is Reach.PROJECT:
        project = rules.refused(project, held.now, told, said, minute=held.minute)
    else:
        mailbox = rules.refused(mailbox, held.now, told, said, minute=held.minute)
    _write(connection, account, held, replace(held, mailbox=mailbox, project=project))


def succeed(connection: Connection, account: Account, *, brings_bytes: bool) -> None:
    """Note that a probe passed: rests are over. Needed after a grant that said `is_probe`, never otherwise."""
    held = _locked(connection, account)
    mailbox, project = held.paces()
    after = replace(
        held,
        mailbox=rules.passed(held.mailbox, held.now, mailbox, brings_bytes=brings_bytes),
        project=rules.passed(held.project, held.now, project, brings_bytes=brings_bytes),
    )
    _write(connection, account, held, after)


def doubt(connection: Connection, account: Account) -> None:
    """Note that a probe told nothing: the next call probes."""
    held = _locked(connection, account)
    after = replace(held, mailbox=rules.unclear(held.mailbox), project=rules.unclear(held.project))
    _write(connection, account, held, after)


def spend(connection: Connection, account: Account, size: int, calls: int) -> None:
    """Note the bytes that calls brought, and that so many of them passed: more may be made at once again.

    Locks the mailbox's budget only: the project's is everybody's.
    """
    (row,) = _rows(connection, account, account.scopes[:1], _NOTES)
    before = rules.as_of(_budget(row), row.now)
    grown = rules.more(before.concurrency, limits_of(row).concurrency, calls)
    after = replace(before, day_bytes=before.day_bytes + size, concurrency=grown)
    if after != before:
        connection.execute(_WRITE, asdict(after) | {"scope": account.scopes[0]})


def at_once(connection: Connection, account: Account) -> int:
    """Return how many calls of the mailbox may be under way together."""
    row = connection.execute(_CONCURRENCY, {"scope": account.scopes[0], "project": account.project}).one()
    limit = limits(row.profile, {"concurrency": row.most_at_once}).concurrency
    return rules.at_once(row.concurrency, limit)


def limits(profile: str | None, overrides: Mapping[str, int | None]) -> Limits:
    """Return the limits of a project; one that nobody described has those of new projects."""
    return LIMITS[QuotaProfile(profile or QuotaProfile.SINCE_2026_05)].but(**overrides)


def note_project(connection: Connection, mailbox_id: UUID, project: str) -> None:
    """Write down which project pays for a mailbox, for those who cannot open its credentials.

    An IMAP server is a project, too; only Google's limits the bytes of a day unless an operator sets a limit.
    """
    connection.execute(_NOTE_PROJECT, {"id": mailbox_id, "project": project})
    if project.startswith(IMAP) and project not in _GOOGLES:
        connection.execute(_NOTE_IMAP, {"name": project, "bytes": _NO_LIMIT})


def standings(connection: Connection, mailbox_ids: Sequence[UUID], minute: timedelta = MINUTE) -> dict[UUID, Held]:
    """Return how the budgets of mailboxes stand, without a lock; one whose calls nobody counts is missing."""
    payers = [row for row in connection.execute(_PAYERS, {"ids": list(mailbox_ids)}) if row.project is not None]
    scopes = {scope for row in payers for scope in Account(row.id, row.project).scopes}
    found = {row.scope: _budget(row) for row in connection.execute(_ROWS, {"scopes": sorted(scopes)})}

    def of(scope: str, now: datetime) -> Budget:
        return rules.as_of(found.get(scope) or rules.full(now), now)

    return {
        row.id: Held(
            of(mailbox_scope(row.id), row.now), of(project_scope(row.project), row.now), limits_of(row), row.now, minute
        )
        for row in payers
    }


def _budget(row: Row[Any]) -> Budget:
    return Budget(**{name: getattr(row, name) for name in Budget.__dataclass_fields__})


def limits_of(row: Row[Any]) -> Limits:
    """Return the limits in a row that carries a project's columns, its concurrency as `most_at_once`."""
    overrides = {name: getattr(row, "most_at_once" if name == "concurrency" else name) for name in OVERRIDES}
    return limits(row.profile, overrides)


def _locked(connection: Connection, account: Account, patience: str = _NOTES) -> Held:
    rows = _rows(connection, account, account.scopes, patience)
    # Each row was locked after the time was read for it.
    now: datetime = max(row.now for row in rows)
    stored = Held(_budget(rows[0]), _budget(rows[1]), limits_of(rows[0]), now, account.minute)
    held = replace(stored, mailbox=rules.as_of(stored.mailbox, now), project=rules.as_of(stored.project, now))
    if (stored.mailbox.level_at, stored.project.level_at) != (held.mailbox.level_at, held.project.level_at):
        # A clock that was ahead: whatever becomes of the draw, the budget fills from now on.
        _write(connection, account, stored, held)
    return held


def _rows(connection: Connection, account: Account, scopes: Sequence[str], patience: str) -> Sequence[Row[Any]]:
    """Lock the budgets in order of their scopes, and return them; those that are not there yet are made."""
    values = {"scopes": scopes, "project": account.project, "patience": patience, "idle": _IDLE}
    rows = connection.execute(_LOCK, values).all()
    if len(rows) < len(scopes):
        connection.execute(_SET_BRIEFLY, {"patience": patience, "idle": _IDLE})
        connection.execute(_OPEN, {"scopes": scopes, "full": rules.FULL})
        rows = connection.execute(_LOCK, values).all()
    return rows


def _write(connection: Connection, account: Account, before: Held, after: Held) -> None:
    pairs = ((before.mailbox, after.mailbox), (before.project, after.project))
    for scope, (old, new) in zip(account.scopes, pairs, strict=True):
        if new != old:
            # One by one: after a pipeline of several the server forgets `_IDLE` (its last message, a flush, stops the
            # clock and does not start it).
            connection.execute(_WRITE, asdict(new) | {"scope": scope})
