"""Members of an organization, by an administrator or the operator: invited, changed, switched off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from models import row_security
from models.enums import NoticeKind, Reach
from models.queries import people
from models.queries.people import Member
from pipeline.commands.granting import OPERATOR, Conflict, Grantor, Unknown, find_role, keeping_somebody
from pipeline.core import contacts, notices
from pipeline.core.notices import INVITATION_VALID
from pipeline.core.text import one_line
from pipeline.runtime import api_tokens, resetting, sessions
from pipeline.runtime.errors import UserError
from pipeline.runtime.notices import tell
from pipeline.runtime.secrets import Secrets

RIGHTS_CHANGED, SWITCHED_OFF = "role or reach were changed", "the membership was switched off"
_LONGEST_NAME, _LONGEST_SKILL, _MOST_SKILLS, _MOST_PLACES = 200, 100, 50, 500
#: What somebody is allowed hangs on these: when one changes, they sign in again (reliability, section 5).
_RIGHTS = ("role_id", "reach", "account_ids", "site_ids", "team_id")

_CLEARED_BY_NULL = frozenset({"team_id", "reports_to_id", "capacity"})

_FIND = text("SELECT id, email, phone FROM people WHERE email = :email OR phone = :phone ORDER BY email = :email")
_NEW = text("INSERT INTO people (email, phone, full_name) VALUES (:email, :phone, :name) RETURNING id")
_MEMBERSHIP = text("""
    INSERT INTO memberships (org_id, person_id, role_id) VALUES (:org, :person, :role)
        ON CONFLICT (org_id, person_id) DO NOTHING RETURNING id
""")
#: Asked outside the barrier: only whether there is one.
_ELSEWHERE = text("SELECT EXISTS (SELECT FROM memberships WHERE person_id = :person AND org_id <> :org)")
_RENAME = text("UPDATE people SET full_name = :name, phone = :phone WHERE id = :person")
_CHANGE = text("""
    UPDATE memberships
       SET role_id = :role_id, reach = :reach, team_id = :team_id, reports_to_id = :reports_to_id, skills = :skills,
           capacity = :capacity, is_active = :is_active
     WHERE org_id = :org AND person_id = :person
""")
_UNSCOPE = text("DELETE FROM membership_scopes WHERE membership_id = :membership AND org_id = :org")
_SCOPE = text("""
    INSERT INTO membership_scopes (org_id, membership_id, account_id, site_id)
    SELECT :org, :membership, id, NULL FROM unnest(CAST(:accounts AS uuid[])) AS id
     UNION ALL SELECT :org, :membership, NULL, id FROM unnest(CAST(:sites AS uuid[])) AS id
""")
_UNKNOWN = text("""
    SELECT 'account' AS kind, id FROM unnest(CAST(:accounts AS uuid[])) AS id
     WHERE id NOT IN (SELECT a.id FROM accounts a WHERE a.org_id = :org)
     UNION ALL
    SELECT 'site', id FROM unnest(CAST(:sites AS uuid[])) AS id
     WHERE id NOT IN (SELECT s.id FROM sites s WHERE s.org_id = :org)
     UNION ALL
    SELECT 'team', CAST(:team AS uuid) WHERE CAST(:team AS uuid) IS NOT NULL
       AND NOT EXISTS (SELECT FROM teams t WHERE t.org_id = :org AND t.id = :team)
     UNION ALL
    SELECT 'person', CAST(:boss AS uuid) WHERE CAST(:boss AS uuid) IS NOT NULL
       AND NOT EXISTS (SELECT FROM memberships m WHERE m.org_id = :org AND m.person_id = :boss)
     LIMIT 1
""")
_NAME = text("SELECT name FROM organizations WHERE id = :org")


@dataclass(frozen=True, slots=True)
class Newcomer:
    """Who is to become a member."""

    email: str | None
    phone: str | None = None
    full_name: str = ""
    role: str = "viewer"
    #: As `change` takes them.
    more: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Post:
    """How newcomers are told."""

    secrets: Secrets
    public_url: str | None


def invite(connection: Connection, org_id: UUID, by: Grantor, who: Newcomer, post: Post | None) -> Member:
    """Make somebody a member, and tell them by mail; they set a password of their own by the link in it.

    Raises `UserError`, `Conflict` for who is a member already, `NotGranted`.
    """
    role = find_role(connection, org_id, who.role)
    by.check(role.permissions, f"the role {role.code}")
    with keeping_somebody(connection, org_id):
        person_id = _person(connection, org_id, by, who)
        if not connection.execute(
            _MEMBERSHIP, {"org": org_id, "person": person_id, "role": role.role_id}
        ).scalar_one_or_none():
            raise Conflict(f"{who.email or who.phone} is a member already; change what they are instead")
        if who.more:
            _apply(connection, org_id, by, _member(connection, org_id, person_id), who.more)
    member = _member(connection, org_id, person_id)
    if post is not None and member.email is not None:
        _tell(connection, org_id, member, post)
    return member


def change(connection: Connection, org_id: UUID, by: Grantor, person_id: UUID, changes: Mapping[str, Any]) -> Member:
    """Change some of: full_name, phone, role, reach, account_ids, site_ids, team_id, reports_to_id, skills, capacity,
    is_active. When rights change their sessions and tokens end. Return the member as it is now.

    Raises `UserError`, `Conflict` for the last one who may change people, and `NotGranted` unless whoever asks holds
    all that the member has and shall have: else anybody might take an administrator's place.
    """
    with keeping_somebody(connection, org_id):
        _apply(connection, org_id, by, _member(connection, org_id, person_id), changes)
    return _member(connection, org_id, person_id)


def _apply(connection: Connection, org_id: UUID, by: Grantor, member: Member, changes: Mapping[str, Any]) -> None:
    by.check(find_role(connection, org_id, str(member.role_id)).permissions, "this person")
    _rename(connection, org_id, member, changes)
    wanted = _wanted(connection, org_id, by, member, changes)
    _check(connection, org_id, wanted)
    connection.execute(_CHANGE, {name: getattr(wanted, name) for name in _COLUMNS} | _key(org_id, member))
    _scope(connection, org_id, wanted)
    why = SWITCHED_OFF if not wanted.is_active else RIGHTS_CHANGED
    if not wanted.is_active or any(getattr(wanted, name) != getattr(member, name) for name in _RIGHTS):
        sessions.end_all(connection, [member.person_id], why, org_id=org_id)
    if not wanted.is_active:
        api_tokens.revoke_all(connection, org_id, [member.person_id], SWITCHED_OFF)


_COLUMNS = ("role_id", "reach", "team_id", "reports_to_id", "skills", "capacity", "is_active")


def _key(org_id: UUID, member: Member) -> dict[str, UUID]:
    return {"org": org_id, "person": member.person_id}


def _member(connection: Connection, org_id: UUID, person_id: UUID) -> Member:
    found = people.member(connection, org_id, person_id)
    if found is None:
        raise Unknown(f"your organization has no person {person_id}")
    return found


def _person(connection: Connection, org_id: UUID, by: Grantor, who: Newcomer) -> UUID:
    """Return who is meant, made when they are new: who is there keeps name and number, they are not ours to change.

    A mail address is proved by the password that is set through it; a number is whatever an administrator wrote. So
    nobody of another organization is let in for their number alone, but by the operator.
    """
    email = _read(who.email, contacts.email, "mail address, such as ann@example.org")
    phone = _read(who.phone, contacts.phone, "telephone number with its country code, such as +4930123456")
    if email is None and phone is None:
        raise UserError("give a mail address or a telephone number to sign in by")
    found = connection.execute(_FIND, {"email": email, "phone": phone}).all()
    if len(found) > 1:
        raise Conflict("the mail address and the telephone number belong to two different people")
    if found and email not in {None, found[0].email}:
        raise Conflict("somebody else has this telephone number")
    if found and phone not in {None, found[0].phone}:
        raise Conflict("somebody with this mail address has another telephone number, or none; leave it out")
    if found and email is None and by is not OPERATOR and _is_elsewhere(connection, org_id, found[0].id):
        raise Conflict("somebody of another organization has this telephone number; invite them by mail address")
    if found:
        return UUID(str(found[0].id))
    values = {"email": email, "phone": phone, "name": _name(who.full_name)}
    try:
        return UUID(str(connection.execute(_NEW, values).scalar_one()))
    except IntegrityError:  # another organization added them at the same time
        raise Conflict("somebody else adds this person at this moment; ask again") from None


def _read(said: str | None, reader: Any, what: str) -> str | None:
    found: str | None = reader(said) if said else None
    if said and found is None:
        raise UserError(f"{said[:80]!r} is no {what}")
    return found


def _name(said: str) -> str:
    found = one_line(said)
    if len(found) > _LONGEST_NAME:
        raise UserError(f"a name has at most {_LONGEST_NAME} characters")
    return found


def _rename(connection: Connection, org_id: UUID, member: Member, changes: Mapping[str, Any]) -> None:
    name = _name(changes["full_name"]) if changes.get("full_name") is not None else member.full_name
    phone = member.phone
    if "phone" in changes:
        phone = _read(changes["phone"], contacts.phone, "telephone number with its country code, such as +4930123456")
    if (name, phone) == (member.full_name, member.phone):
        return
    if _is_elsewhere(connection, org_id, member.person_id):
        raise Conflict("this person works in other organizations too: name and number are not yours to change")
    if phone is None and member.email is None:
        raise UserError("without a mail address the telephone number is what they sign in by")
    try:
        connection.execute(_RENAME, {"person": member.person_id, "name": name, "phone": phone})
    except IntegrityError:
        raise Conflict("somebody else has this telephone number") from None


def _is_elsewhere(connection: Connection, org_id: UUID, person_id: UUID) -> bool:
    with row_security.unbarred(connection):
        return bool(connection.execute(_ELSEWHERE, {"org": org_id, "person": person_id}).scalar_one())


def _wanted(connection: Connection, org_id: UUID, by: Grantor, member: Member, changes: Mapping[str, Any]) -> Member:
    fields = {
        name: changes[name]
        for name in ("account_ids", "site_ids", "team_id", "reports_to_id", "capacity", "is_active")
        if changes.get(name) is not None or (name in changes and name in _CLEARED_BY_NULL)
    }
    if changes.get("role") is not None:
        role = find_role(connection, org_id, changes["role"])
        by.check(role.permissions, f"the role {role.code}")
        fields["role_id"] = role.role_id
    if changes.get("reach") is not None:
        fields["reach"] = Reach(changes["reach"]).value
    if changes.get("skills") is not None:
        fields["skills"] = _skills(changes["skills"])
    wanted = replace(member, **fields)
    # A scope that does not belong to the reach would lie there for the day when the reach changes back.
    return replace(
        wanted,
        account_ids=sorted(set(wanted.account_ids or ())) if wanted.reach == Reach.ACCOUNT else [],
        site_ids=sorted(set(wanted.site_ids or ())) if wanted.reach == Reach.SITE else [],
    )


def _skills(said: Sequence[str]) -> list[str]:
    found = sorted({cleaned for one in said if (cleaned := one_line(one).lower())})
    if len(found) > _MOST_SKILLS or any(len(one) > _LONGEST_SKILL for one in found):
        raise UserError(f"at most {_MOST_SKILLS} skills of at most {_LONGEST_SKILL} characters")
    return found


def _check(connection: Connection, org_id: UUID, wanted: Member) -> None:
    if wanted.reach == Reach.ACCOUNT and not wanted.account_ids:
        raise UserError("the reach `account` needs account_ids: say which")
    if wanted.reach == Reach.SITE and not wanted.site_ids:
        raise UserError("the reach `site` needs site_ids: say which")
    if wanted.reach == Reach.TEAM and wanted.team_id is None:
        raise UserError("the reach `team` needs a team_id: say which")
    if wanted.reports_to_id == wanted.person_id:
        raise UserError("nobody reports to themselves")
    if len(wanted.account_ids) + len(wanted.site_ids) > _MOST_PLACES:
        raise UserError(f"at most {_MOST_PLACES} accounts or sites")
    places = {"accounts": wanted.account_ids, "sites": wanted.site_ids}
    values = places | {"org": org_id, "team": wanted.team_id, "boss": wanted.reports_to_id}
    unknown = connection.execute(_UNKNOWN, values).one_or_none()
    if unknown is not None:
        raise UserError(f"your organization has no {unknown.kind} {unknown.id}")


def _scope(connection: Connection, org_id: UUID, wanted: Member) -> None:
    which = {"org": org_id, "membership": wanted.membership_id}
    connection.execute(_UNSCOPE, which)
    if wanted.account_ids or wanted.site_ids:
        connection.execute(_SCOPE, which | {"accounts": wanted.account_ids, "sites": wanted.site_ids})


def _tell(connection: Connection, org_id: UUID, member: Member, post: Post) -> None:
    assert member.email is not None
    token = None if member.has_password else resetting.make(connection, member.person_id, INVITATION_VALID)
    organization = connection.execute(_NAME, {"org": org_id}).scalar_one()
    tell(
        connection,
        post.secrets,
        org_id=org_id,
        person_id=member.person_id,
        kind=NoticeKind.INVITATION,
        recipient=member.email,
        words=notices.invitation_words(post.public_url, one_line(organization), token),
    )
