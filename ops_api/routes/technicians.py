"""Technicians: what matching knows of them, and what of it an administrator sets."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from models.queries import technicians as queries
from ops_api.commands import Calling
from ops_api.dependencies import Provided, SignedIn, Transaction
from ops_api.field_answers import StretchAnswer
from ops_api.guard import GuardedRoute
from pipeline.commands import technicians
from pipeline.commands.technicians import Certificate, CertificateName, Label, Setting
from pipeline.runtime import technician_reading

router = APIRouter(route_class=GuardedRoute, tags=["technicians"])

CertificateLabel = Annotated[Label, Path(description="The certificate's name, in any case of letters.")]


class HomeAnswer(BaseModel):
    """Where the day begins and ends, in degrees."""

    lat: float
    lon: float


class CertificateAnswer(BaseModel):
    """A certificate and the last day that it is good on."""

    name: str
    valid_until: date | None
    is_expired: bool


class QualityAnswer(BaseModel):
    """How often the latest work passed its check; the percentage begins at two of three."""

    checks: int
    passes: int
    percent: int


class TechnicianAnswer(BaseModel):
    """One technician as they stand now."""

    person_id: UUID
    name: str
    team_id: UUID | None
    team: str | None
    is_available: bool
    skills: list[str] = Field(description="Of the membership.")
    zones: list[str] = Field(description="Served; none is everywhere.")
    home: HomeAnswer | None
    capacity: int | None = Field(description="Of the membership: open work at most; null for any number.")
    most_visits: int | None = Field(description="A day; null for as many as fit.")
    certificates: list[CertificateAnswer]
    open_load: int = Field(description="Tickets they have to work on.")
    quality: QualityAnswer
    is_on_shift: bool = Field(description="Without any shifts somebody always is.")
    shift_ends_at: datetime | None
    next_shift: StretchAnswer | None = Field(description="Within 14 days.")
    away_until: datetime | None = Field(description="The end of the leave that goes on.")
    next_leave: StretchAnswer | None = Field(description="Within 14 days.")


class Technicians(BaseModel):
    """One page, in the order in which they came."""

    items: list[TechnicianAnswer]
    next_cursor: str | None = Field(description="Null on the last page.")


class CertificateBody(BaseModel):
    """How long a certificate is good."""

    model_config = ConfigDict(extra="forbid")

    valid_until: date | None = Field(default=None, description="The last day; null for ever.")


@router.get("/dispatch/technicians")
def list_technicians(
    session: SignedIn,
    connection: Transaction,
    services: Provided,
    *,
    team_id: UUID | None = None,
    cursor: Annotated[str | None, Query(max_length=4096)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
) -> Technicians:
    """List who works in the field."""
    filters = {"list": "technicians", "org": session.org_id, "team": team_id}
    place = services.cursors.read_place(cursor, filters)
    after = UUID(str(place["after"])) if place else None
    found = queries.technicians(connection, session.org_id, after=after, team_id=team_id, limit=limit + 1)
    described = technician_reading.described(connection, session.org_id, found[:limit])
    items = [TechnicianAnswer.model_validate(one) for one in described]
    more = services.cursors.make_place({"after": str(items[-1].person_id)}, filters) if len(found) > limit else None
    return Technicians(items=items, next_cursor=more)


@router.put("/dispatch/technicians/{person_id}", response_model=TechnicianAnswer)
def set_technician(person_id: UUID, call: Calling, asked: Setting) -> Response:
    """Set zones, home, visits a day and availability as a whole."""
    return call.run(technicians.SET, str(person_id), asked)


@router.put("/dispatch/technicians/{person_id}/certificates/{name}", response_model=TechnicianAnswer)
def certify(person_id: UUID, name: CertificateLabel, call: Calling, asked: CertificateBody) -> Response:
    """Note a certificate, or that it is good for another time."""
    return call.run(technicians.CERTIFY, str(person_id), Certificate(name=name, valid_until=asked.valid_until))


@router.delete("/dispatch/technicians/{person_id}/certificates/{name}", response_model=TechnicianAnswer)
def uncertify(person_id: UUID, name: CertificateLabel, call: Calling) -> Response:
    """Take a certificate away."""
    return call.run(technicians.UNCERTIFY, str(person_id), CertificateName(name=name))
