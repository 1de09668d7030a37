"""Whether work may be closed: the gates of contract 000 over its proof (seed-behaviours, 1.7), and what is missing.

Pure: the order of pieces decides nothing, what is withdrawn or superseded counts for nothing, and a good piece heals a
bad one of its key.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from pipeline.core.evidence import OBJECT_STORES, SIGNATURE_KEY, Piece, Promise, is_good
from pipeline.core.refusing import Because, Refusal

READY = "READY"
TEMPLATE_NOT_FOUND = "TEMPLATE_NOT_FOUND"
MISSING_SIGNATURE = "MISSING_SIGNATURE_CONFIRMATION"
INVALID_REFERENCE = "INVALID_EVIDENCE_REFERENCE"
MISSING_EVIDENCE, MISSING_CHECKLIST, MISSING_BOTH = "MISSING_EVIDENCE", "MISSING_CHECKLIST", "MISSING_REQUIREMENTS"
MISSING_COMPLETION = "MISSING_COMPLETION_CONTEXT"
#: A machine's candidate with one of these is looked at by a person first (seed-behaviours, 1.8).
RISKY_KEYS = frozenset(
    {
        "photo_before_security_risk",
        "note_risk_mitigation_and_customer_handoff",
        "note_safety_actions_and_follow_up_scope",
    }
)
_SAID = {
    TEMPLATE_NOT_FOUND: "nothing says what proves this work: triage the ticket to an incident type with a template",
    MISSING_SIGNATURE: "add a signature, or say in no_signature_reason why there is none",
    INVALID_REFERENCE: "some evidence cannot be relied on: withdraw it, or add a good piece in its place",
    MISSING_EVIDENCE: "evidence is missing",
    MISSING_CHECKLIST: "the checklist is not confirmed: each point must be true",
    MISSING_BOTH: "evidence is missing, and the checklist is not confirmed",
    MISSING_COMPLETION: "nobody has completed this work",
}


@dataclass(frozen=True, slots=True)
class Template:
    """What work of one kind must prove."""

    template_id: UUID
    incident_type: str
    version: int
    evidence_keys: tuple[str, ...]
    checklist_keys: tuple[str, ...]
    is_high_risk: bool = False


@dataclass(frozen=True, slots=True)
class Completion:
    """What was said when the work was completed."""

    checklist_status: Mapping[str, object] = field(default_factory=dict)
    no_signature_reason: str | None = None
    evidence_refs: tuple[str, ...] = ()

    @property
    def has_reason(self) -> bool:
        """True when it says why nobody signed."""
        return bool((self.no_signature_reason or "").strip())


@dataclass(frozen=True, slots=True)
class Proof:
    """All that a closeout is judged by. `pieces` are those that count; `template` is None when there is none."""

    incident_type: str | None
    template: Template | None
    pieces: Sequence[Piece] = ()
    promises: Sequence[Promise] = ()
    #: The stores that references may name; None for those that were taken when they were added.
    schemes: Collection[str] | None = OBJECT_STORES

    @property
    def outstanding(self) -> list[Promise]:
        """What is still on the way, by key."""
        return sorted(
            (one for one in self.promises if one.is_outstanding), key=lambda one: (one.evidence_key, one.sha256)
        )

    def there(self) -> set[str]:
        """Return the keys that are proved, promised or given up."""
        good = {piece.evidence_id: piece for piece in self.pieces if is_good(piece, self.schemes)}
        keys = {piece.evidence_key for piece in good.values() if piece.evidence_key}
        return keys | {
            one.evidence_key for one in self.promises if one.is_outstanding or one.is_waived or one.evidence_id in good
        }

    def is_signed(self) -> bool:
        """Say whether a good piece is a signature, or a signature is on the way."""
        return SIGNATURE_KEY in self.there() or any(
            piece.is_signature for piece in self.pieces if is_good(piece, self.schemes)
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gates say; all lists are sorted."""

    code: str
    incident_type: str | None = None
    template_version: int | None = None
    missing_evidence_keys: tuple[str, ...] = ()
    missing_checklist_keys: tuple[str, ...] = ()
    invalid_evidence_refs: tuple[str, ...] = ()

    @property
    def is_ready(self) -> bool:
        """True when the work may be closed."""
        return self.code == READY

    @property
    def said(self) -> str:
        """What is missing, for people."""
        named = (*self.missing_evidence_keys, *self.missing_checklist_keys, *self.invalid_evidence_refs)
        what = _SAID.get(self.code, "nothing is missing")
        return f"{what}: {', '.join(named[:20])}" if named else what

    def without_completion(self) -> Verdict:
        """Return what is said where nobody has completed the work: that comes first."""
        return Verdict(MISSING_COMPLETION, self.incident_type, self.template_version)

    def facts(self) -> dict[str, Any]:
        """Return it as contract 000 writes it."""
        return {
            "requirement_code": self.code,
            "incident_type": self.incident_type,
            "template_version": self.template_version,
            "missing_evidence_keys": list(self.missing_evidence_keys),
            "missing_checklist_keys": list(self.missing_checklist_keys),
            "invalid_evidence_refs": list(self.invalid_evidence_refs),
        }


def judge(proof: Proof, completion: Completion) -> Verdict:
    """Return the first gate that does not let the work through, in the order of the contract, or READY."""
    template = proof.template
    named = (proof.incident_type, template.version if template else None)
    if not (proof.incident_type or "").strip():
        return Verdict(TEMPLATE_NOT_FOUND, *named)
    has_signature = any(piece.is_signature for piece in proof.pieces) or proof.is_signed()
    if not completion.has_reason and not has_signature:
        return Verdict(MISSING_SIGNATURE, *named, missing_evidence_keys=(SIGNATURE_KEY,))
    if invalid := _invalid_references(proof, completion):
        return Verdict(INVALID_REFERENCE, *named, invalid_evidence_refs=tuple(sorted(invalid)))
    if template is None:
        return Verdict(TEMPLATE_NOT_FOUND, *named)
    evidence = _missing_evidence(proof, template, completion)
    checklist = {key for key in template.checklist_keys if completion.checklist_status.get(key) is not True}
    code = _missing(bool(evidence), bool(checklist))
    return Verdict(code, *named, tuple(sorted(evidence)), tuple(sorted(checklist)))


def closeout_refusal(verdict: Verdict) -> Refusal:
    """Return the refusal of work that may not be closed."""
    return Refusal("CLOSEOUT_REQUIREMENTS_INCOMPLETE", verdict.said, details=verdict.facts())


def outstanding_refusal(proof: Proof) -> Refusal | None:
    """Refuse what needs all the evidence while some of it is on the way; None when nothing is."""
    waiting = proof.outstanding
    if not waiting:
        return None
    keys = ", ".join(dict.fromkeys(one.evidence_key for one in waiting))
    said = f"{len(waiting)} of the promised pieces have not come yet ({keys}): wait for them, or waive them"
    details = {
        "evidence_outstanding": len(waiting),
        "outstanding": [{"sha256": one.sha256, "evidence_key": one.evidence_key} for one in waiting],
    }
    return Refusal("EVIDENCE_OUTSTANDING", said, details=details)


def risk(proof: Proof) -> dict[str, Any]:
    """Return how risky it is to let a machine propose the closing, and why."""
    template = proof.template
    reasons = ["HIGH_RISK_INCIDENT_TYPE"] if template is not None and template.is_high_risk else []
    shown = {piece.evidence_key for piece in proof.pieces} | {one.evidence_key for one in proof.promises}
    reasons += [f"HIGH_RISK_EVIDENCE:{key}" for key in sorted(RISKY_KEYS & shown)]
    return {"level": "high" if reasons else "low", "reasons": reasons, "incident_type": proof.incident_type}


def risk_refusal(proof: Proof) -> Refusal | None:
    """Refuse a candidate that a person must look at; None when the risk is low."""
    found = risk(proof)
    if found["level"] == "low":
        return None
    said = "work of this risk is completed by a person: let the technician or a dispatcher complete it"
    details = {
        "requirement_code": "AUTOMATION_RISK_BLOCK",
        "incident_type": proof.incident_type,
        "template_version": proof.template.version if proof.template else None,
        "risk_profile": found,
    }
    return Refusal("MANUAL_REVIEW_REQUIRED", said, Because.CONFLICT, details=details)


def _invalid_references(proof: Proof, completion: Completion) -> set[str]:
    """Return the references that do not hold: of pieces by their uri, of those named at completion as they were."""
    healed = proof.there()
    required = set(proof.template.evidence_keys) if proof.template else set()
    bad = [piece for piece in proof.pieces if not is_good(piece, proof.schemes)]
    looked_at = [piece for piece in bad if not completion.evidence_refs or piece.evidence_key in required]
    found = {piece.uri or piece.evidence_id for piece in looked_at if piece.evidence_key not in healed}
    known = {name for piece in proof.pieces if piece not in bad for name in (piece.evidence_id, piece.uri) if name}
    return found | {said for said in completion.evidence_refs if _plain(said) not in known}


def _plain(reference: str) -> str:
    """Return a row's id as we write it, anything else as it is."""
    try:
        return str(UUID(reference))
    except ValueError:
        return reference


def _missing_evidence(proof: Proof, template: Template, completion: Completion) -> set[str]:
    missing = set(template.evidence_keys) - proof.there()
    if completion.has_reason or proof.is_signed():
        missing.discard(SIGNATURE_KEY)
    return missing


def _missing(evidence: bool, checklist: bool) -> str:
    if evidence and checklist:
        return MISSING_BOTH
    return MISSING_EVIDENCE if evidence else MISSING_CHECKLIST if checklist else READY
