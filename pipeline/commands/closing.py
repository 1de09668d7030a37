"""Completing work and checking it: the gates of the closeout, in the order of contract 000."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from models.enums import DispatchState, QaResult, TruthSource, VisitState
from models.permissions import Permission
from pipeline.command import Ask, Command, Effect
from pipeline.commands.closing_arguments import Check, CompleteWork, CompletionReport, VerifyWork
from pipeline.commands.field import by_assignee, changed, lifecycle, not_merged, ticket_target
from pipeline.commands.visits import not_ahead
from pipeline.core import findings
from pipeline.core.closeout import (
    Proof,
    closeout_refusal,
    judge,
    outstanding_refusal,
    risk,
    risk_refusal,
)
from pipeline.core.evidence import Promise, plain_sha256
from pipeline.core.field_work import FieldTicket
from pipeline.core.refusing import Because, Refusal
from pipeline.runtime import assignment_rows, case_truths, completion_rows, evidence_rows, time_rows, visit_rows
from pipeline.runtime.case_truths import By, Told
from pipeline.runtime.completion_rows import Completed

__all__ = ("CANDIDATE", "COMMANDS", "COMPLETE", "VERIFY", "Check", "CompleteWork", "CompletionReport", "VerifyWork")

#: In `FieldTicket.known`: what is there and promised, the newest completion, whether it takes two people.
PROOF, COMPLETED, FOUR_EYES = "proof", "completed", "four_eyes"
_S = DispatchState


def _look_at_report(connection: Connection, ask: Ask[CompleteWork], ticket: FieldTicket) -> Mapping[str, Any]:
    """Look up the proof, as it will be when the manifest is believed."""
    proof = completion_rows.proof_of(connection, ticket, ask.arguments.schemes)
    come = {plain_sha256(said): piece for piece in proof.pieces for said in (piece.sha256, piece.checksum) if said}
    made = {one.sha256: one for one in proof.promises}
    for one in ask.arguments.promises:
        piece = come.get(one.sha256)
        is_waived = one.sha256 in made and made[one.sha256].is_waived
        made[one.sha256] = Promise(
            one.sha256, one.evidence_key, piece.evidence_id if piece else None, is_waived, one.captured_at
        )
    return {PROOF: Proof(proof.incident_type, proof.template, proof.pieces, list(made.values()), proof.schemes)}


def _look_at_work(connection: Connection, ask: Ask[VerifyWork], ticket: FieldTicket) -> Mapping[str, Any]:
    return {
        PROOF: completion_rows.proof_of(connection, ticket, ask.arguments.schemes),
        COMPLETED: completion_rows.newest(connection, ticket.ticket_id),
        FOUR_EYES: completion_rows.needs_four_eyes(connection, ticket.org_id),
    }


def is_proved(ask: Ask[CompleteWork], ticket: FieldTicket) -> Refusal | None:
    """Refuse work whose proof is not whole."""
    verdict = judge(ticket.known[PROOF], ask.arguments.said)
    return None if verdict.is_ready else closeout_refusal(verdict)


def is_of_low_risk(_ask: Ask[CompleteWork], ticket: FieldTicket) -> Refusal | None:
    """Refuse a candidate that a person must look at first."""
    return risk_refusal(ticket.known[PROOF])


def is_by_another(ask: Ask[VerifyWork], ticket: FieldTicket) -> Refusal | None:
    """Refuse a check by whoever completed the work."""
    completed: Completed | None = ticket.known[COMPLETED]
    if completed is None or not ticket.known[FOUR_EYES] or not completed.is_by(ask.principal):
        return None
    return Refusal("FOUR_EYES", "you completed this work: somebody else checks it", Because.FORBIDDEN)


def still_holds(ask: Ask[VerifyWork], ticket: FieldTicket) -> Refusal | None:
    """Refuse to check what nobody completed, and to pass work whose proof is not whole, or not all here."""
    completed: Completed | None = ticket.known[COMPLETED]
    proof: Proof = ticket.known[PROOF]
    if completed is None:
        return completion_rows.missing_completion(proof)
    if ask.arguments.result is QaResult.FAIL:
        return None
    verdict = judge(proof, completed.said)
    return outstanding_refusal(proof) if verdict.is_ready else closeout_refusal(verdict)


def _complete(connection: Connection, ask: Ask[CompleteWork], ticket: FieldTicket) -> Effect:
    return _completed(connection, ask, ticket, COMPLETE.name)


def _propose(connection: Connection, ask: Ask[CompleteWork], ticket: FieldTicket) -> Effect:
    return _completed(connection, ask, ticket, CANDIDATE.name)


def _completed(connection: Connection, ask: Ask[CompleteWork], ticket: FieldTicket, name: str) -> Effect:
    proof: Proof = ticket.known[PROOF]
    # The gates let nothing through without one.
    assert proof.template is not None
    evidence_rows.promise(connection, ticket, ask.arguments.promises)
    template = proof.template
    completion_id = completion_rows.add_completion(
        connection, ticket, ask.arguments.said, ask.principal, command=name, template_id=template.template_id
    )
    time_rows.end(connection, ticket, ticket.now)
    found = findings.of_completion(ask.arguments.finding, has_evidence=bool(proof.there()))
    by = By(TruthSource.FIELD, _completion(completion_id), ask.principal.actor_id)
    told = case_truths.of_ticket(connection, ticket, by, found)
    waiting = len(proof.outstanding)
    details = {
        "completion_id": completion_id,
        "incident_type": template.incident_type,
        "template_version": template.version,
        "evidence_outstanding": waiting,
        "has_signature": proof.is_signed(),
        "risk_profile": risk(proof),
        **told.details,
    }
    return changed(
        connection,
        ask,
        ticket,
        name,
        path=[_S.COMPLETED_PENDING_VERIFICATION],
        details=details,
        more={"evidence_outstanding": waiting},
        jobs=told.jobs,
    )


def _completion(completion_id: UUID) -> str:
    """Return what a finding of a completion is called."""
    return f"completion:{completion_id}"


def _check_says(
    connection: Connection, ask: Ask[VerifyWork], ticket: FieldTicket, completed: Completed, check_id: UUID
) -> Told:
    """Tell what a check says of the fault: one that was passed keeps what was found, a failed one tells nothing."""
    if ask.arguments.result is QaResult.FAIL:
        return Told()
    said = case_truths.told_by(connection, ticket.ticket_id, _completion(completed.completion_id))
    by = By(TruthSource.QC, f"check:{check_id}", ask.principal.actor_id)
    return case_truths.of_ticket(connection, ticket, by, findings.of_check(ask.arguments.finding, said))


def _verify(connection: Connection, ask: Ask[VerifyWork], ticket: FieldTicket) -> Effect:
    asked, completed = ask.arguments, ticket.known[COMPLETED]
    check_id = completion_rows.add_check(
        connection,
        ticket,
        completed.completion_id,
        ask.principal,
        result=asked.result,
        notes=asked.notes,
        at=asked.timestamp,
    )
    has_passed = asked.result is QaResult.PASS
    if has_passed:
        _leave(connection, ticket)
    told = _check_says(connection, ask, ticket, completed, check_id)
    facts = {"check_id": check_id, "completion_id": completed.completion_id, "result": asked.result.value}
    waiting = len(ticket.known[PROOF].outstanding)
    return changed(
        connection,
        ask,
        ticket,
        VERIFY.name,
        {"rework_reason": None if has_passed else asked.notes},
        path=[_S.VERIFIED if has_passed else _S.IN_PROGRESS],
        details={**facts, "evidence_outstanding": waiting, **told.details},
        told={**facts, "notes": asked.notes},
        more={"evidence_outstanding": waiting},
        jobs=told.jobs,
    )


def _leave(connection: Connection, ticket: FieldTicket) -> None:
    """End the visit and the assignment: the technician has nothing more to do with it, and stays named on it."""
    visit = visit_rows.current(connection, ticket.ticket_id)
    if visit is not None:
        visit_rows.set_state(connection, visit, VisitState.DONE)
    assignment_rows.end(connection, ticket.ticket_id, "the work passed its check")


def _wanted(asked: VerifyWork) -> str:
    return (_S.VERIFIED if asked.result is QaResult.PASS else _S.IN_PROGRESS).value


COMPLETE = Command(
    **lifecycle("tech.complete"),
    about="Says that the work is done, with its proof; photos may still be on the way.",
    arguments=CompleteWork,
    permission=Permission.TECH_COMPLETE,
    target=ticket_target(_look_at_report),
    gates=(not_merged, by_assignee, is_proved),
    effect=_complete,
)
CANDIDATE = Command(
    **lifecycle("closeout.candidate"),
    about="The same, proposed by a machine: work of high risk is left to a person.",
    arguments=CompleteWork,
    permission=Permission.CLOSEOUT_CANDIDATE,
    target=ticket_target(_look_at_report),
    gates=(not_merged, by_assignee, is_proved, is_of_low_risk),
    effect=_propose,
)
VERIFY = Command(
    **lifecycle("qa.verify"),
    about="Checks finished work: it passes and its evidence freezes, or it goes back with the reason.",
    arguments=VerifyWork,
    permission=Permission.QA_VERIFY,
    target=ticket_target(_look_at_work),
    gates=(not_merged, not_ahead, is_by_another, still_holds),
    effect=_verify,
    wanted=_wanted,
)
COMMANDS = (COMPLETE, CANDIDATE, VERIFY)
