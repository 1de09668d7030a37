"""Evidence, its templates and what is missing, as they are answered."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from models.enums import DispatchState, EvidenceCheck
from models.queries.evidence import EvidenceFile
from models.queries.ticket_detail import Attachment
from ops_api.field_answers import FieldTicketAnswer
from pipeline.core.uploads import KINDS


class EvidenceAnswer(BaseModel):
    """A piece of evidence."""

    id: UUID
    ticket_id: UUID
    kind: str
    uri: str | None = Field(description="In an object store; null for a note. Of ours: fieldpost://evidence/<sha256>.")
    note: str | None
    evidence_key: str | None = Field(description="What it proves, as the template calls it.")
    checksum: str | None = Field(description="As its sender says; of an upload that of the file as it came.")
    metadata: dict[str, Any]
    sha256: str | None = Field(description="Of the bytes that are kept here.")
    size: int | None
    content_type: str | None
    taken_at: Any = Field(description="When the camera took it, where it told.")
    position: Any = Field(description="Where, as {latitude, longitude}.")
    has_thumbnail: bool
    check: EvidenceCheck = Field(description="Unchecked: it lies in a store that is not ours to read.")
    status: str = Field(description="current, superseded or withdrawn; only what is current proves anything.")
    superseded_by_id: UUID | None
    withdrawn_at: datetime | None
    withdrawn_by: str | None
    withdrawn_because: str | None
    created_by: str
    created_at: datetime


class EvidenceList(BaseModel):
    """One page, oldest first."""

    ticket_id: UUID
    evidence: list[EvidenceAnswer]
    next_cursor: str | None = Field(description="Null on the last page.")


class WaivedAnswer(BaseModel):
    """A promised piece that is done without."""

    ticket_id: UUID
    sha256: str
    evidence_key: str
    reason: str
    evidence_outstanding: int = Field(description="How many are still on the way.")


class NeedAnswer(BaseModel):
    """One thing that must be proved."""

    key: str
    status: str = Field(description="there, promised, waived, broken, missing, confirmed, not_confirmed.")
    said: str


class OutstandingAnswer(BaseModel):
    """A photo that is still on the way."""

    sha256: str
    evidence_key: str
    captured_at: datetime | None


class CloseoutAnswer(BaseModel):
    """What a ticket's closeout stands on now."""

    ticket_id: UUID
    state: DispatchState
    incident_type: str | None
    template_version: int | None
    requirement_code: str = Field(description="READY, or the first gate that does not let it through.")
    is_ready: bool
    said: str
    evidence: list[NeedAnswer]
    checklist: list[NeedAnswer]
    is_signed: bool
    is_frozen: bool
    evidence_outstanding: int
    outstanding: list[OutstandingAnswer]


class CompletedTicket(FieldTicketAnswer):
    """A ticket whose work was completed or checked."""

    evidence_outstanding: int = Field(description="Promised photos that have not come yet.")


class TemplateRequest(BaseModel):
    """What work of a type proves, and what it needs."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=200)
    evidence_keys: list[str] = Field(max_length=200)
    checklist_keys: list[str] = Field(max_length=200)
    skills: list[str] = Field(default=[], max_length=200)
    certificates: list[str] = Field(default=[], max_length=200)
    visit_minutes: int = Field(default=60, strict=True)
    is_high_risk: bool = Field(default=False, strict=True)


class TemplateAnswer(BaseModel):
    """One version of a template."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    incident_type: str
    version: int
    is_current: bool
    is_built_in: bool
    name: str
    evidence_keys: list[str]
    checklist_keys: list[str]
    skills: list[str]
    certificates: list[str]
    visit_minutes: int
    is_high_risk: bool
    created_by: str
    created_at: datetime

    @classmethod
    def of(cls, row: Any) -> Self:
        """Return a row as it is answered."""
        return cls(
            **{name: getattr(row, name) for name in cls.model_fields if name != "is_built_in"},
            is_built_in=row.org_id is None,
        )


class Templates(BaseModel):
    """Templates, or the versions of one."""

    items: list[TemplateAnswer]


def as_file(found: EvidenceFile, *, is_small: bool = False) -> Attachment | None:
    """Return a piece as a file to give out, named by its kind alone; None for the small picture of what has none."""
    sha256 = found.thumbnail_sha256 if is_small else found.sha256
    if sha256 is None:
        return None
    kind = KINDS.get(found.content_type)
    name = "thumbnail.jpg" if is_small else kind.file_name if kind else "evidence"
    content_type = "image/jpeg" if is_small else found.content_type
    return Attachment(0, sha256, name, content_type, found.size, False, found.asked_at)
