"""Everybody who could be sent to a ticket, weighed by the organization's policy, as the transaction sees it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from types import MappingProxyType
from uuid import UUID

from sqlalchemy import Connection, text

from pipeline.core import matching
from pipeline.core.field_work import FieldTicket, Window
from pipeline.core.matching import Candidate, Filter
from pipeline.core.objectives import Objective
from pipeline.core.policies import OrganizationPolicy
from pipeline.core.technicians import Job
from pipeline.runtime import technician_rows

_POLICY = text("SELECT policy FROM organizations WHERE id = :org")
_AS_THEY_ARE: Mapping[Objective, int] = MappingProxyType({})


def job_of(connection: Connection, ticket: FieldTicket, window: Window | None = None) -> Job:
    """Return what somebody would be sent to, in another window than the ticket's where one is named."""
    found = technician_rows.jobs(connection, ticket.org_id, [ticket.ticket_id])[ticket.ticket_id]
    return found if window is None else replace(found, window=window)


def table(
    connection: Connection,
    ticket: FieldTicket,
    job: Job,
    *,
    weights: Mapping[Objective, int] = _AS_THEY_ARE,
    ignored: Collection[Filter] = (),
    also: UUID | None = None,
) -> tuple[Candidate, ...]:
    """Return every technician, best first, and `also` one person who perhaps is none.

    `weights` take the place of the policy's, and `ignored` filters speak against nobody.
    """
    org_id = ticket.org_id
    people = technician_rows.technicians(connection, org_id, technician_rows.around(job), also=also)
    known = technician_rows.familiar(connection, org_id, job, ticket.asset_id, [one.person_id for one in people])
    policy = OrganizationPolicy.read(connection.execute(_POLICY, {"org": org_id}).scalar_one())
    return matching.table(job, people, known, policy.matching.changed(weights), ignored)
