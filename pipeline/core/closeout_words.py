"""What a closeout still needs, thing by thing, in words."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pipeline.core.closeout import Completion, Proof
from pipeline.core.evidence import SIGNATURE_KEY, is_good


class Standing(StrEnum):
    """How one thing that must be proved stands."""

    THERE = "there"
    PROMISED = "promised"
    WAIVED = "waived"
    BROKEN = "broken"
    MISSING = "missing"
    CONFIRMED = "confirmed"
    NOT_CONFIRMED = "not_confirmed"


_SAID = {
    Standing.THERE: "is there",
    Standing.PROMISED: "is on the way",
    Standing.WAIVED: "is done without",
    Standing.BROKEN: "is there, but its reference does not hold: withdraw it, or add a good one",
    Standing.MISSING: "is missing",
    Standing.CONFIRMED: "is confirmed",
    Standing.NOT_CONFIRMED: "is not confirmed yet",
}


@dataclass(frozen=True, slots=True)
class Need:
    """One thing that must be proved, and how it stands."""

    key: str
    status: Standing

    @property
    def said(self) -> str:
        """The same in words."""
        return f"{self.key.replace('_', ' ')} {_SAID[self.status]}"


def evidence_needs(proof: Proof, completion: Completion | None) -> list[Need]:
    """Return each key that the template names, in its order; none without a template."""
    keys = proof.template.evidence_keys if proof.template else ()
    return [Need(key, _standing(proof, key, has_reason=bool(completion and completion.has_reason))) for key in keys]


def checklist_needs(proof: Proof, completion: Completion | None) -> list[Need]:
    """Return each point of the checklist as it was told at completion."""
    keys = proof.template.checklist_keys if proof.template else ()
    told = completion.checklist_status if completion else {}
    return [Need(key, Standing.CONFIRMED if told.get(key) is True else Standing.NOT_CONFIRMED) for key in keys]


def _standing(proof: Proof, key: str, *, has_reason: bool) -> Standing:
    is_signature = key == SIGNATURE_KEY
    mine = [piece for piece in proof.pieces if piece.evidence_key == key or (is_signature and piece.is_signature)]
    made = [one for one in proof.promises if one.evidence_key == key]
    come = {one.evidence_id for one in made}
    if (is_signature and has_reason) or any(
        is_good(piece, proof.schemes) for piece in proof.pieces if piece in mine or piece.evidence_id in come
    ):
        return Standing.THERE
    if any(one.is_outstanding for one in made):
        return Standing.PROMISED
    if any(one.is_waived for one in made):
        return Standing.WAIVED
    return Standing.BROKEN if mine else Standing.MISSING
