"""Commands of an administrator on routing: the recipients that are allowed, and the rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType, SimpleNamespace
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RowMapping, delete, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from models.tickets import routing_rules
from pipeline.core.patterns import checked, expression, wildcard
from pipeline.core.routing import Allowlist, Rule
from pipeline.core.text import is_writable
from pipeline.runtime import deciding, simulating
from pipeline.runtime.deciding import Policy
from pipeline.runtime.errors import UserError

#: Every new ticket is compared with all of them.
MOST_RULES, MOST_PATTERNS = 500, 5_000
#: What a rule has where nothing else is said, by column.
DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        "name": "",
        "is_enabled": True,
        "priority": 100,
        "match_recipient_pattern": None,
        "match_sender_domain_pattern": None,
        "match_sender_email_pattern": None,
        "match_subject_pattern": None,
        "match_direction": None,
        "queue_id": None,
        "assign_user_id": None,
        "strategy": None,
        "required_skills": (),
        "stop": True,
        "is_shadow": False,
        "action_drop": False,
        "set_status": None,
        "set_priority": None,
        "add_tags": (),
        "auto_close": False,
    }
)
_WILDCARDS = ("match_recipient_pattern", "match_sender_domain_pattern", "match_sender_email_pattern")
_ACTIONS = ("queue_id", "assign_user_id", "set_status", "set_priority", "add_tags", "auto_close", "action_drop")
_TAG_LIMIT = 50

_ADD_PATTERN = text("""
    INSERT INTO recipient_allowlist (org_id, pattern, is_enabled) VALUES (:org, :pattern, :is_enabled)
        ON CONFLICT (org_id, pattern) DO NOTHING RETURNING id
""")
_CHANGE_PATTERN = text("""
    UPDATE recipient_allowlist SET pattern = coalesce(CAST(:pattern AS text), pattern),
                                   is_enabled = coalesce(CAST(:is_enabled AS bool), is_enabled)
     WHERE id = :id AND org_id = :org RETURNING id
""")
_DELETE_PATTERN = text("DELETE FROM recipient_allowlist WHERE id = :id AND org_id = :org RETURNING id")
_COUNT_PATTERNS = text("SELECT count(*) FROM recipient_allowlist WHERE org_id = :org")
_COUNT_RULES = text("SELECT count(*) FROM routing_rules WHERE org_id = :org")
_QUEUE = text("SELECT EXISTS (SELECT FROM queues WHERE id = :id AND org_id = :org)")
_MEMBER = text("""
    SELECT EXISTS (SELECT FROM memberships m JOIN people p ON p.id = m.person_id AND p.is_active
                    WHERE m.person_id = :id AND m.org_id = :org AND m.is_active)
""")


class Conflict(UserError):
    """What is there already, or was changed meanwhile, stands against it."""


def add_pattern(connection: Connection, org_id: UUID, pattern: str, *, is_enabled: bool = True) -> UUID:
    """Allow recipients; return the entry's id. Raises `UserError` for no pattern, `Conflict` for one that is there."""
    values = {"org": org_id, "pattern": _pattern(pattern), "is_enabled": is_enabled}
    if connection.execute(_COUNT_PATTERNS, values).scalar_one() >= MOST_PATTERNS:
        raise Conflict(f"an organization has at most {MOST_PATTERNS} allowlist patterns: use wildcards")
    found: UUID | None = connection.execute(_ADD_PATTERN, values).scalar_one_or_none()
    if found is None:
        raise Conflict(f"the allowlist has {values['pattern']} already")
    return found


def change_pattern(
    connection: Connection, org_id: UUID, allowlist_id: UUID, *, pattern: str | None, is_enabled: bool | None
) -> bool:
    """Change an entry, None leaves as it is; False when there is none. Raises as `add_pattern` does."""
    checked_one = None if pattern is None else _pattern(pattern)
    values = {"id": allowlist_id, "org": org_id, "pattern": checked_one, "is_enabled": is_enabled}
    try:
        with connection.begin_nested():
            return connection.execute(_CHANGE_PATTERN, values).first() is not None
    except IntegrityError as error:
        raise Conflict(f"the allowlist has {checked_one} already") from error


def delete_pattern(connection: Connection, org_id: UUID, allowlist_id: UUID) -> bool:
    """Take an entry away; False when there is none."""
    return connection.execute(_DELETE_PATTERN, {"id": allowlist_id, "org": org_id}).first() is not None


def add_rule(connection: Connection, org_id: UUID, values: Mapping[str, Any]) -> UUID:
    """Add a rule by its columns (`DEFAULTS` for the rest); return its id. Raises `UserError` for what is wrong."""
    if connection.execute(_COUNT_RULES, {"org": org_id}).scalar_one() >= MOST_RULES:
        raise Conflict(f"an organization has at most {MOST_RULES} rules: delete those that match nothing")
    whole = checked_rule({**DEFAULTS, **values})
    check_targets(connection, org_id, whole)
    statement = insert(routing_rules).values(org_id=org_id, **whole).returning(routing_rules.c.id)
    found: UUID = connection.execute(statement).scalar_one()
    return found


def change_rule(
    connection: Connection, org_id: UUID, rule_id: UUID, changes: Mapping[str, Any], *, version: int | None
) -> bool:
    """Change columns of a rule; False when there is none.

    Raises `Conflict` when it is not at `version` any more (None: whichever), `UserError` as `add_rule` does.
    """
    row = _locked(connection, org_id, rule_id, version)
    if row is None:
        return False
    whole = checked_rule({name: row[name] for name in DEFAULTS} | dict(changes))
    check_targets(connection, org_id, {name: whole[name] for name in changes if name in whole})
    version_now = routing_rules.c.version + 1
    connection.execute(update(routing_rules).where(routing_rules.c.id == rule_id).values(version=version_now, **whole))
    return True


def delete_rule(connection: Connection, org_id: UUID, rule_id: UUID, *, version: int | None) -> bool:
    """Delete a rule; False when there is none. What it decided keeps its id. Raises `Conflict` like `change_rule`."""
    if _locked(connection, org_id, rule_id, version) is None:
        return False
    connection.execute(delete(routing_rules).where(routing_rules.c.id == rule_id))
    return True


def checked_rule(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a rule's columns as they are kept. Raises `UserError` for a bad pattern, or a rule for nothing."""
    whole = {name: values[name] for name in DEFAULTS}
    for name, value in whole.items():
        if isinstance(value, str) and not is_writable(value):
            raise UserError(f"{name} holds a control character: take it out")
    for name in _WILDCARDS:
        whole[name] = (whole[name] or "").strip() or None
        if whole[name] is not None:
            _compiled(name, wildcard, whole[name])
    whole["match_subject_pattern"] = whole["match_subject_pattern"] or None
    if whole["match_subject_pattern"] is not None:
        _compiled("match_subject_pattern", _expression, whole["match_subject_pattern"])
    whole["add_tags"] = list(dict.fromkeys(_word(tag).lower() for tag in whole["add_tags"] or ()))
    whole["required_skills"] = list(dict.fromkeys(_word(skill) for skill in whole["required_skills"] or ()))
    _check_actions(whole)
    return whole


def check_targets(connection: Connection, org_id: UUID, values: Mapping[str, Any]) -> None:
    """Raise `UserError` for a queue or a person that is not of the organization."""
    for name, statement, said in (("queue_id", _QUEUE, "queue"), ("assign_user_id", _MEMBER, "active member")):
        value = values.get(name)
        if value is not None and not connection.execute(statement, {"id": value, "org": org_id}).scalar_one():
            raise UserError(f"your organization has no {said} {value}")


def _check_actions(whole: Mapping[str, Any]) -> None:
    if not any(whole[name] for name in _ACTIONS):
        raise UserError("a rule needs an action: a queue, a person, a status, a priority, tags, auto_close or drop")
    if whole["queue_id"] is not None and whole["assign_user_id"] is not None:
        raise UserError("a rule assigns to a queue or to a person, not to both: set one of them to null")
    if whole["strategy"] is not None and whole["queue_id"] is None:
        raise UserError("a strategy finds somebody of a queue: name the queue, or set the strategy to null")
    if whole["required_skills"] and whole["strategy"] is None:
        raise UserError("skills are asked for where a strategy finds somebody: name the strategy, or no skills")


def _locked(connection: Connection, org_id: UUID, rule_id: UUID, wanted: int | None) -> RowMapping | None:
    """Lock a rule; return its row, None when there is none. Raises `Conflict` when it is not at `wanted` any more."""
    mine = (routing_rules.c.id == rule_id) & (routing_rules.c.org_id == org_id)
    row = connection.execute(select(routing_rules).where(mine).with_for_update(key_share=True)).mappings().one_or_none()
    if row is not None and wanted not in (None, row["version"]):
        now = row["version"]
        raise Conflict(f"somebody changed it meanwhile: it is at version {now}, not {wanted}; read it again")
    return row


def _pattern(pattern: str) -> str:
    kept = pattern.strip().lower()
    if not is_writable(kept):
        raise UserError("the pattern holds a control character: take it out")
    _compiled("pattern", lambda one: Allowlist([one]), kept)
    return kept


def _compiled(name: str, compiles: Any, pattern: str) -> None:
    try:
        compiles(pattern)
    except ValueError as error:
        raise UserError(f"{name}: {error}") from error


def _expression(pattern: str) -> None:
    expression(checked(pattern), pattern, ignores_case=True)


def _word(said: str) -> str:
    word = said.strip()
    if not word or len(word) > _TAG_LIMIT or not is_writable(word):
        raise UserError(f"a tag or skill is 1 to {_TAG_LIMIT} characters on one line")
    return word


def proposed_policy(
    connection: Connection, org_id: UUID, *, rules: Sequence[Mapping[str, Any]] | None, allowlist: Sequence[str] | None
) -> Policy:
    """Return a policy to try on past mail; None is as it is stored. Raises `UserError` that names the rule.

    Rules are columns with an `id`; two of the same id are refused.
    """
    compiled = None if rules is None else [_proposed(values) for values in rules if values.get("is_enabled", True)]
    if compiled is not None and len({rule.rule_id for rule in compiled}) < len(compiled):
        raise UserError("two of the rules have the same id")
    patterns = None if allowlist is None else [_pattern(pattern) for pattern in allowlist]
    return simulating.proposed(connection, org_id, rules=compiled, allowlist=patterns)


def _proposed(values: Mapping[str, Any]) -> Rule:
    try:
        whole = checked_rule({**DEFAULTS, **values})
    except UserError as error:
        raise UserError(f"{values.get('name') or values['id']}: {error}") from error
    return deciding.compiled_rule(SimpleNamespace(id=values["id"], **whole))
