"""What people send about evidence, and the gates over it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, field_validator
from pydantic_core.core_schema import ValidationInfo

from pipeline.command import Ask
from pipeline.commands.field_arguments import GivenReason, Line, Reason, Words
from pipeline.core.evidence import (
    OBJECT_STORES,
    facts_problem,
    note_problem,
    our_hash,
    plain_sha256,
    reference_problem,
)
from pipeline.core.field_work import FieldTicket
from pipeline.core.refusing import Because, Refusal
from pipeline.runtime.evidence_rows import MOST_PIECES

#: In `FieldTicket.known`: the evidence stays as it is; who asks may add to it; there is room; the piece that is named;
#: the bytes of ours that a reference names.
FROZEN, MAY_ADD, HAS_ROOM, NAMED, OURS, PROMISE = "is_frozen", "may_add", "has_room", "named", "ours", "promise"

Kind = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$")
]
#: A plain word, as templates name them; any other is kept, too, and proves nothing.
EvidenceKey = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")
]
Uri = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2_000, pattern=r"^[^\x00-\x20\x7f]*$")
]


def _hex(said: Any) -> Any:
    found = plain_sha256(said) if isinstance(said, str) else None
    if found is None:
        raise ValueError("a SHA-256 is 64 hex digits")
    return found


Sha256 = Annotated[str, BeforeValidator(_hex), StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class NewEvidence(BaseModel):
    """A piece of evidence: a reference into an object store, or the words of a note."""

    model_config = ConfigDict(extra="forbid")

    kind: Kind = Field(description="Like PHOTO, NOTE, SIGNATURE, DOCUMENT.")
    evidence_key: EvidenceKey | None = Field(default=None, description="What it proves, as the template calls it.")
    metadata: dict[str, Any] = Field(default_factory=dict, description="At most 50 values; may hold `evidence_key`.")
    note: Words | None = Field(default=None, description="Instead of a uri, for what can be told in words.")
    uri: Uri | None = Field(
        default=None, validate_default=True, description="Like s3://bucket/key; of an upload the uri that it got."
    )
    checksum: Line | None = Field(default=None, description="Of the object, best sha256 in hex.")
    supersedes_id: UUID | None = Field(default=None, description="A piece of this ticket that it takes the place of.")

    @field_validator("metadata", mode="before")
    @classmethod
    def _null_is_none(cls, said: Any) -> Any:
        return {} if said is None else said

    @field_validator("metadata")
    @classmethod
    def _is_small(cls, said: dict[str, Any]) -> dict[str, Any]:
        if problem := facts_problem(said):
            raise ValueError(problem)
        key = said.get("evidence_key")
        if key is not None and not (isinstance(key, str) and 0 < len(key.strip()) <= 100):
            raise ValueError("evidence_key is a word of at most 100 letters")
        return said

    @field_validator("note")
    @classmethod
    def _words_will_do(cls, said: str | None, info: ValidationInfo) -> str | None:
        if said is None:
            return None
        if not said.strip():
            raise ValueError("a note has words")
        key = info.data.get("evidence_key") or (info.data.get("metadata") or {}).get("evidence_key")
        if problem := note_problem(info.data.get("kind") or "", key):
            raise ValueError(problem)
        return said.strip()

    @field_validator("uri")
    @classmethod
    def _is_one_thing(cls, said: str | None, info: ValidationInfo) -> str | None:
        has_note = info.data.get("note") is not None
        if said is None and not has_note and "note" in info.data:
            raise ValueError("name an object, like s3://bucket/key, or give the words of a note")
        if said is not None and has_note:
            raise ValueError("a piece is a file or a note: give one of them")
        if said is not None and (problem := reference_problem(said, None)):
            raise ValueError(problem)
        return said

    @property
    def key(self) -> str | None:
        """What it proves: as said, or as its metadata say (contract 000)."""
        inner = self.metadata.get("evidence_key")
        return self.evidence_key or (inner.strip() if isinstance(inner, str) else None)


class AddEvidence(NewEvidence):
    """A piece, with the stores that this installation takes references into."""

    schemes: frozenset[str] = OBJECT_STORES


class UploadEvidence(BaseModel):
    """A file that was taken and is stored: what it is, and what its sender says of it; hashes are hex."""

    kind: Kind = "PHOTO"
    evidence_key: EvidenceKey | None = None
    supersedes_id: UUID | None = None
    label: str = ""
    sha256: str
    received_sha256: str
    size: int
    #: As the store packed it; never 0, which says that the bytes are gone.
    packed_size: int
    content_type: str
    width: int | None = None
    height: int | None = None
    thumbnail_sha256: str | None = None
    thumbnail_size: int = 0
    thumbnail_packed_size: int = 0
    taken_at: datetime | None = None
    position: dict[str, float] | None = None


class EvidenceWithdrawal(GivenReason):
    """Why a piece counts for nothing any more."""


class WithdrawEvidence(EvidenceWithdrawal):
    """A piece to withdraw."""

    evidence_id: UUID


class Waiver(BaseModel):
    """A promised piece that will not come, by the hash that was promised, and why it is done without."""

    model_config = ConfigDict(extra="forbid")

    sha256: Sha256
    reason: Reason


def not_frozen(_ask: Ask[Any], ticket: FieldTicket) -> Refusal | None:
    """Refuse changes of evidence once the work was checked."""
    if not ticket.known[FROZEN]:
        return None
    said = f"the evidence of this ticket ({ticket.state.value}) stays as it is; reopen the ticket to add to it"
    return Refusal("EVIDENCE_FROZEN", said)


def by_one_who_was_sent(_ask: Ask[Any], ticket: FieldTicket) -> Refusal | None:
    """Refuse a technician who was never sent to this ticket, once somebody was."""
    if ticket.known[MAY_ADD]:
        return None
    said = "only technicians who were sent to this ticket, or a dispatcher, may change its evidence"
    return Refusal("NOT_ASSIGNED", said, Because.FORBIDDEN)


def has_room(_ask: Ask[Any], ticket: FieldTicket) -> Refusal | None:
    """Refuse one piece more than a ticket takes."""
    if ticket.known[HAS_ROOM]:
        return None
    return Refusal("EVIDENCE_TOO_MUCH", f"a ticket has at most {MOST_PIECES} pieces of evidence")


def store_is_taken(ask: Ask[AddEvidence], ticket: FieldTicket) -> Refusal | None:
    """Refuse a reference into a store that is not taken, and one to bytes that this ticket does not have."""
    uri = ask.arguments.uri
    if uri is None:
        return None
    if problem := reference_problem(uri, ask.arguments.schemes):
        return _invalid("uri", problem)
    if our_hash(uri) is None:
        return None
    found = ticket.known[OURS]
    if found is None:
        return _invalid("uri", "no such file was uploaded to this ticket: upload it first")
    said = ask.arguments.checksum
    if said is not None and plain_sha256(said) not in {found.sha256, found.checksum}:
        return _invalid("checksum", "it is not that of the file that was uploaded")
    return None


def named_counts(ask: Ask[Any], ticket: FieldTicket) -> Refusal | None:
    """Refuse what names a piece that the ticket does not have, or that counts for nothing already."""
    asked = getattr(ask.arguments, "evidence_id", None) or getattr(ask.arguments, "supersedes_id", None)
    if asked is None:
        return None
    row = ticket.known[NAMED]
    if row is None:
        return Refusal("EVIDENCE_NOT_FOUND", "this ticket has no such piece of evidence", Because.MISSING)
    if row.withdrawn_at is not None or row.superseded_by_id is not None:
        was = "withdrawn" if row.withdrawn_at is not None else "superseded"
        return Refusal("EVIDENCE_NOT_CURRENT", f"this piece was {was} already", details={"evidence_id": str(row.id)})
    return None


def is_awaited(_ask: Ask[Waiver], ticket: FieldTicket) -> Refusal | None:
    """Refuse to give up what was never promised, or is not on the way any more."""
    found = ticket.known[PROMISE]
    if found is None:
        return Refusal("EVIDENCE_NOT_EXPECTED", "nobody promised a piece with this hash")
    if found.is_outstanding:
        return None
    was = "was waived already" if found.is_waived else "has come"
    return Refusal("EVIDENCE_NOT_OUTSTANDING", f"this piece {was}")


def _invalid(field: str, said: str) -> Refusal:
    return Refusal("INVALID_REQUEST", f"{field}: {said}", Because.MALFORMED, details={"fields": {field: said}})
