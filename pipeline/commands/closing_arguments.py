"""What is said when work is completed, and when it is checked (contract 000)."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator
from pydantic_core.core_schema import ValidationInfo

from models.enums import QaResult
from pipeline.commands.evidence_arguments import EvidenceKey, Sha256
from pipeline.commands.field_arguments import EvidenceRef, Moment, Words, upper
from pipeline.core.closeout import Completion
from pipeline.core.evidence import OBJECT_STORES, Promise, facts_problem
from pipeline.core.findings import Finding

MOST_PROMISES = 100


class Expected(BaseModel):
    """A photo that is still on the way: its hash, what it proves, and when it was taken."""

    model_config = ConfigDict(extra="forbid")

    sha256: Sha256
    evidence_key: EvidenceKey
    captured_at: Moment | None = None


class CompletionReport(BaseModel):
    """The work is done: the checklist, the signature or why there is none, and what the evidence is."""

    model_config = ConfigDict(extra="forbid")

    checklist_status: dict[str, Any] = Field(description="Each point that the template names is true.")
    no_signature_reason: Words | None = None
    evidence_refs: list[EvidenceRef] = Field(default=[], max_length=200, description="Ids or uris of evidence.")
    manifest: list[Expected] = Field(
        default=[], max_length=MOST_PROMISES, description="Photos that are still on the way, each hash once."
    )
    finding: Finding | None = Field(
        default=None, description="Whether a fault was found; without it one that was fixed is assumed, and noted so."
    )

    @field_validator("evidence_refs", "manifest", mode="before")
    @classmethod
    def _null_is_none(cls, said: Any) -> Any:
        return [] if said is None else said

    @field_validator("checklist_status")
    @classmethod
    def _is_small(cls, said: dict[str, Any]) -> dict[str, Any]:
        if problem := facts_problem(said, most=200):
            raise ValueError(problem)
        return said

    @field_validator("manifest")
    @classmethod
    def _names_each_once(cls, said: list[Expected]) -> list[Expected]:
        if len({one.sha256 for one in said}) < len(said):
            raise ValueError("a hash stands in it twice")
        return said

    @property
    def said(self) -> Completion:
        """What the gates look at."""
        return Completion(self.checklist_status, self.no_signature_reason, tuple(self.evidence_refs))

    @property
    def promises(self) -> list[Promise]:
        """What is on the way, as the gates see it."""
        return [Promise(one.sha256, one.evidence_key, captured_at=one.captured_at) for one in self.manifest]


class CompleteWork(CompletionReport):
    """A report, with the stores that this installation takes references into."""

    schemes: frozenset[str] = OBJECT_STORES


class Check(BaseModel):
    """What the check of finished work found; a failed one says what must be done again."""

    model_config = ConfigDict(extra="forbid")

    timestamp: Moment
    result: Annotated[QaResult, BeforeValidator(upper)]
    notes: Words | None = Field(default=None, validate_default=True)
    finding: Finding | None = Field(
        default=None, description="What the check that was passed says of the fault; without it, as it was completed."
    )

    @field_validator("notes")
    @classmethod
    def _says_what_failed(cls, said: str | None, info: ValidationInfo) -> str | None:
        plain = (said or "").strip() or None
        if plain is None and info.data.get("result") is QaResult.FAIL:
            raise ValueError("say what must be done again")
        return plain

    @field_validator("finding")
    @classmethod
    def _is_of_passed_work(cls, said: Finding | None, info: ValidationInfo) -> Finding | None:
        if said is not None and info.data.get("result") is QaResult.FAIL:
            raise ValueError("a failed check tells nothing of the fault: leave this out")
        return said


class VerifyWork(Check):
    """A check, with the stores that this installation takes references into."""

    schemes: frozenset[str] = OBJECT_STORES
