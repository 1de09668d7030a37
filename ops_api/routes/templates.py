"""Incident templates: what work of a type must prove, with every version of it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response

from ops_api.answers import Refusal
from ops_api.dependencies import SignedIn, Transaction
from ops_api.evidence_answers import TemplateAnswer, TemplateRequest, Templates
from ops_api.guard import GuardedRoute
from ops_api.versions import Seen, etag
from pipeline.commands import templates as commands
from pipeline.commands.templates import BadTemplate, StaleTemplate
from pipeline.runtime import template_rows

router = APIRouter(route_class=GuardedRoute, tags=["dispatch"])

IncidentType = Annotated[
    str,
    Path(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$", description="In any case of letters."),
]
_MOST_TEMPLATES, _MOST_VERSIONS = 500, 200


@router.get("/dispatch/templates")
def list_templates(session: SignedIn, connection: Transaction) -> Templates:
    """Return the template in force of every incident type: your organization's own, else the built-in one."""
    found = template_rows.in_force(connection, session.org_id, limit=_MOST_TEMPLATES)
    return Templates(items=[TemplateAnswer.of(row) for row in found])


@router.get("/dispatch/templates/{incident_type}")
def show_template(incident_type: IncidentType, session: SignedIn, connection: Transaction) -> Templates:
    """Return the versions of a template, your organization's newest first, then the built-in one."""
    found = template_rows.versions(connection, session.org_id, incident_type, limit=_MOST_VERSIONS)
    if not found:
        raise _unknown()
    return Templates(items=[TemplateAnswer.of(row) for row in found])


@router.put("/dispatch/templates/{incident_type}")
def set_template(
    *,
    incident_type: IncidentType,
    asked: TemplateRequest,
    session: SignedIn,
    connection: Transaction,
    seen: Seen,
    response: Response,
) -> TemplateAnswer:
    """Put a new version in force; tickets keep the one that they were triaged with. 422 says what is wrong."""
    try:
        row = commands.set_template(
            connection, session.org_id, incident_type, asked.model_dump(), actor=session.actor_id, version=seen
        )
    except BadTemplate as error:
        raise Refusal(422, str(error), code=error.code) from error
    except StaleTemplate as error:
        raise Refusal(409, str(error), code="STALE_VERSION") from error
    response.headers["ETag"] = etag(row.version)
    return TemplateAnswer.of(row)


@router.delete("/dispatch/templates/{incident_type}", status_code=204)
def reset_template(incident_type: IncidentType, session: SignedIn, connection: Transaction) -> None:
    """Go back to the built-in template, if there is one; 404 when your organization has none of its own."""
    if not commands.reset_template(connection, session.org_id, incident_type):
        raise _unknown()


def _unknown() -> Refusal:
    return Refusal(404, "there is no such template", code="TEMPLATE_NOT_FOUND")
