"""What an organization knows of its technicians beside their membership: zones, home, certificates, availability."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from sqlalchemy import Connection, text

from models.permissions import Permission
from models.queries.technicians import TechnicianRow
from pipeline.command import Ask, Command, Effect, Locked, Refused, Target
from pipeline.core.refusing import Because, Refusal
from pipeline.runtime import technician_reading

MOST_CERTIFICATES = 100
Label = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")
]

#: The membership's lock: whoever changes what somebody is waits for it, too.
_LOCK_MEMBER = text("""
    SELECT m.person_id, p.full_name, m.team_id,
           EXISTS (SELECT FROM role_permissions h WHERE h.role_id = m.role_id AND h.permission = 'tech.check_in')
               AS may_check_in,
           (SELECT count(*) FROM certificates c WHERE c.org_id = m.org_id AND c.person_id = m.person_id) AS certificates
      FROM memberships m JOIN people p ON p.id = m.person_id AND p.erased_at IS NULL
     WHERE m.org_id = :org AND m.person_id = :person FOR NO KEY UPDATE OF m
""")
_TEAM = text("SELECT name FROM teams WHERE id = :team AND org_id = :org")
_SET = text("""
    INSERT INTO technicians (org_id, person_id, zones, home_lat, home_lon, most_visits, is_available)
    VALUES (:org, :person, CAST(:zones AS text[]), :lat, :lon, :most, :available)
    ON CONFLICT (org_id, person_id) DO UPDATE
       SET zones = excluded.zones, home_lat = excluded.home_lat, home_lon = excluded.home_lon,
           most_visits = excluded.most_visits, is_available = excluded.is_available
""")
#: Names are one whatever the case of their letters.
_DROP = text("""
    DELETE FROM certificates
     WHERE org_id = :org AND person_id = :person AND lower(name) = lower(CAST(:name AS text)) RETURNING name
""")
_CERTIFY = text("""
    INSERT INTO certificates (org_id, person_id, name, valid_until) VALUES (:org, :person, :name, :until)
""")


class Home(BaseModel):
    """Where the day begins and ends, in degrees."""

    model_config = ConfigDict(extra="forbid")

    lat: float = Field(ge=-90, le=90, allow_inf_nan=False)
    lon: float = Field(ge=-180, le=180, allow_inf_nan=False)


class Setting(BaseModel):
    """What is known of a technician, as a whole; skills and capacity stand in the membership."""

    model_config = ConfigDict(extra="forbid")

    zones: list[Label] = Field(default_factory=list, max_length=200, description="Served; none is everywhere.")
    home: Home | None = None
    most_visits: int | None = Field(default=None, ge=1, le=100, description="A day; null for as many as fit.")
    is_available: bool = True


class Certificate(BaseModel):
    """What somebody is certified for, to the last day that it is good on."""

    name: Label
    valid_until: date | None = None


class CertificateName(BaseModel):
    """Which certificate."""

    name: Label


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody whose row is locked."""

    org_id: UUID
    person_id: UUID
    full_name: str
    team_id: UUID | None
    may_check_in: bool
    certificates: int


def _lock(connection: Connection, ask: Ask[Any]) -> Locked[Member] | None:
    """Lock a member by their id; only who reaches the whole organization reaches them."""
    who = ask.principal
    row = connection.execute(_LOCK_MEMBER, {"org": who.org_id, "person": UUID(ask.target or "")}).one_or_none()
    if row is None:
        return None
    found = Member(who.org_id, row.person_id, row.full_name, row.team_id, row.may_check_in, row.certificates)
    return Locked(str(row.person_id), found, 0, who.scope.is_whole)


def works_in_field(_ask: Ask[Any], member: Member) -> Refusal | None:
    """Refuse who may not check in anywhere: nobody would send them."""
    if member.may_check_in:
        return None
    return Refusal("NOT_A_TECHNICIAN", "the role of this person may not check in; give them one that may first")


def has_room(_ask: Ask[Any], member: Member) -> Refusal | None:
    """Refuse more certificates than anybody has."""
    if member.certificates < MOST_CERTIFICATES:
        return None
    return Refusal("TOO_MANY_CERTIFICATES", f"a person has at most {MOST_CERTIFICATES}: take some away first")


def _set(connection: Connection, ask: Ask[Setting], member: Member) -> Effect:
    asked = ask.arguments
    zones = sorted(set(asked.zones))
    values = {
        "zones": zones,
        "lat": asked.home.lat if asked.home else None,
        "lon": asked.home.lon if asked.home else None,
        "most": asked.most_visits,
        "available": asked.is_available,
    }
    connection.execute(_SET, _whom(member) | values)
    # Where somebody lives is not the trail's business.
    details = {"zones": zones, "most_visits": asked.most_visits, "is_available": asked.is_available}
    return Effect(_body(connection, member), details=details | {"has_home": asked.home is not None})


def _certify(connection: Connection, ask: Ask[Certificate], member: Member) -> Effect:
    asked = ask.arguments
    connection.execute(_DROP, _whom(member) | {"name": asked.name})
    connection.execute(_CERTIFY, _whom(member) | {"name": asked.name, "until": asked.valid_until})
    until = None if asked.valid_until is None else asked.valid_until.isoformat()
    return Effect(_body(connection, member), details={"certificate": asked.name, "valid_until": until})


def _uncertify(connection: Connection, ask: Ask[CertificateName], member: Member) -> Effect:
    dropped = connection.execute(_DROP, _whom(member) | {"name": ask.arguments.name}).scalar_one_or_none()
    if dropped is None:
        raise Refused(Refusal("CERTIFICATE_NOT_FOUND", "this person has no such certificate", Because.MISSING))
    return Effect(_body(connection, member), details={"certificate": dropped})


def _whom(member: Member) -> dict[str, Any]:
    return {"org": member.org_id, "person": member.person_id}


def _body(connection: Connection, member: Member) -> dict[str, Any]:
    """Return the technician as the list shows them."""
    team = connection.execute(_TEAM, {"team": member.team_id, "org": member.org_id}).scalar_one_or_none()
    row = TechnicianRow(member.person_id, member.full_name, member.team_id, team)
    (found,) = technician_reading.described(connection, member.org_id, [row])
    return found


_MISSING = Refusal("PERSON_NOT_FOUND", "your organization has no such person", Because.MISSING)
PERSON: Target[Any, Member] = Target("person", _lock, _MISSING)

SET = Command(
    name="technician.set",
    about="Sets a technician's zones, home, visits a day and availability.",
    arguments=Setting,
    permission=Permission.TECHNICIANS_CHANGE,
    target=PERSON,
    gates=(works_in_field,),
    effect=_set,
)
CERTIFY = Command(
    name="technician.certify",
    about="Notes a technician's certificate and how long it is good.",
    arguments=Certificate,
    permission=Permission.TECHNICIANS_CHANGE,
    target=PERSON,
    gates=(works_in_field, has_room),
    effect=_certify,
)
UNCERTIFY = Command(
    name="technician.uncertify",
    about="Takes a technician's certificate away.",
    arguments=CertificateName,
    permission=Permission.TECHNICIANS_CHANGE,
    target=PERSON,
    effect=_uncertify,
)
#: What `pipeline.table` finds here.
COMMANDS = (SET, CERTIFY, UNCERTIFY)
