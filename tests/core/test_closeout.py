"""The gates of a closeout: in their order, whatever the order of the evidence (seed-behaviours, 1.7 and 1.8)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.closeout import (
    Completion,
    Proof,
    Template,
    judge,
    outstanding_refusal,
    risk,
    risk_refusal,
)
from pipeline.core.closeout_words import Standing, checklist_needs, evidence_needs
from pipeline.core.evidence import SIGNATURE_KEY, Piece, Promise

KEYS = ("photo_before", "photo_after", "note_tests", SIGNATURE_KEY)
POINTS = ("work_performed", "billing_authorization")
TEMPLATE = Template(UUID(int=1), "DOOR_WONT_LATCH", 3, KEYS, POINTS)
DONE = Completion({"work_performed": True, "billing_authorization": True})
SIGNED_OFF = replace(DONE, no_signature_reason="nobody was there")


def piece(key: str | None, uri: str | None = "s3://bucket/a.jpg", kind: str = "PHOTO") -> Piece:
    return Piece(str(uuid4()), kind, key, uri)


def whole(*keys: str) -> list[Piece]:
    return [piece(key) for key in keys or KEYS]


def proof(*pieces: Piece, **more: Any) -> Proof:
    return Proof(**{"incident_type": "DOOR_WONT_LATCH", "template": TEMPLATE, "pieces": list(pieces), **more})


def code(found: Proof, said: Completion = DONE) -> str:
    return judge(found, said).code


def test_all_that_the_template_names_is_enough() -> None:
    verdict = judge(proof(*whole()), DONE)
    assert verdict.is_ready
    assert verdict.facts() == {
        "requirement_code": "READY",
        "incident_type": "DOOR_WONT_LATCH",
        "template_version": 3,
        "missing_evidence_keys": [],
        "missing_checklist_keys": [],
        "invalid_evidence_refs": [],
    }


def test_the_gates_come_in_the_order_of_the_contract() -> None:
    """With everything wrong the first gate speaks; each one that is mended lets the next one speak."""
    bad = piece("note_tests", "file:///tmp/a.txt")
    assert code(proof(bad, incident_type=None, template=None), Completion()) == "TEMPLATE_NOT_FOUND"
    assert code(proof(bad, incident_type=" "), Completion()) == "TEMPLATE_NOT_FOUND"
    unsigned = judge(proof(bad), Completion())
    assert (unsigned.code, unsigned.missing_evidence_keys) == ("MISSING_SIGNATURE_CONFIRMATION", (SIGNATURE_KEY,))
    invalid = judge(proof(bad), replace(SIGNED_OFF, checklist_status={}))
    assert (invalid.code, invalid.invalid_evidence_refs) == ("INVALID_EVIDENCE_REFERENCE", ("file:///tmp/a.txt",))
    assert code(proof(template=None), SIGNED_OFF) == "TEMPLATE_NOT_FOUND"
    missing = judge(proof(), replace(SIGNED_OFF, checklist_status={}))
    assert missing.code == "MISSING_REQUIREMENTS"
    assert missing.missing_evidence_keys == ("note_tests", "photo_after", "photo_before")
    assert missing.missing_checklist_keys == ("billing_authorization", "work_performed")
    assert code(proof(*whole()), replace(SIGNED_OFF, checklist_status={})) == "MISSING_CHECKLIST"
    assert code(proof(), SIGNED_OFF) == "MISSING_EVIDENCE"


@pytest.mark.parametrize("told", ["true", 1, "yes", [True], {"is": True}, None, False])
def test_only_true_itself_confirms_a_point(told: object) -> None:
    said = replace(DONE, checklist_status={"work_performed": told, "billing_authorization": True})
    verdict = judge(proof(*whole()), said)
    assert (verdict.code, verdict.missing_checklist_keys) == ("MISSING_CHECKLIST", ("work_performed",))


@pytest.mark.parametrize("reason", ["", " \n", None])
def test_a_blank_reason_is_no_signature(reason: str | None) -> None:
    pieces = whole(*KEYS[:3])
    assert code(proof(*pieces), replace(DONE, no_signature_reason=reason)) == "MISSING_SIGNATURE_CONFIRMATION"
    assert code(proof(*pieces), replace(DONE, no_signature_reason=" gone home ")) == "READY"


@pytest.mark.parametrize("kind", ["SIGNATURE", "signature", "Signature"])
def test_a_signature_is_known_by_its_kind_in_any_case_or_by_its_key(kind: str) -> None:
    pieces = whole(*KEYS[:3])
    assert code(proof(*pieces, piece(None, kind=kind))) == "READY"
    assert code(proof(*pieces, piece(SIGNATURE_KEY))) == "READY"
    assert code(proof(*pieces, piece("other"))) == "MISSING_SIGNATURE_CONFIRMATION"


@pytest.mark.parametrize(
    "uri", ["https://a.example/b", "file:///tmp/a", "s3:///key", "s3://bucket", "s3://bucket/", "s3:", "a", "s3://[/a"]
)
def test_what_names_no_object_in_a_store_proves_nothing_until_a_good_piece_has_its_key(uri: str) -> None:
    bad = piece("photo_before", uri)
    verdict = judge(proof(*whole(*KEYS[1:]), bad), DONE)
    assert (verdict.code, verdict.invalid_evidence_refs) == ("INVALID_EVIDENCE_REFERENCE", (uri,))
    assert code(proof(*whole(), bad)) == "READY"


def test_references_named_at_completion_are_ids_or_exact_addresses_of_good_pieces() -> None:
    pieces = [*whole(), piece(None, "ftp://elsewhere/b")]
    assert code(proof(*pieces)) == "INVALID_EVIDENCE_REFERENCE"
    good = pieces[0].evidence_id
    assert code(proof(*pieces), replace(DONE, evidence_refs=(good.upper(), "s3://bucket/a.jpg"))) == "READY"
    unknown = str(uuid4())
    verdict = judge(
        proof(*pieces), replace(DONE, evidence_refs=(unknown, "s3://bucket/A.jpg", "ftp://elsewhere/b", unknown))
    )
    assert verdict.invalid_evidence_refs == tuple(sorted({unknown, "s3://bucket/A.jpg", "ftp://elsewhere/b"}))


def test_stores_are_those_that_are_set_and_ours_is_always_one() -> None:
    ours = piece("photo_before", f"fieldpost://evidence/{'ab' * 32}")
    abroad = piece("photo_after", "gs://bucket/a")
    rest = whole(*KEYS[2:])
    assert code(proof(ours, abroad, *rest)) == "INVALID_EVIDENCE_REFERENCE"
    assert code(proof(ours, abroad, *rest, schemes=frozenset({"gs", "s3"}))) == "READY"
    assert code(proof(ours, abroad, *rest, schemes=None)) == "READY"
    assert code(proof(replace(ours, uri="fieldpost://evidence/xyz"), *whole(*KEYS[1:]))) == "INVALID_EVIDENCE_REFERENCE"


def test_a_note_needs_no_address() -> None:
    assert code(proof(*whole(KEYS[0], KEYS[1], KEYS[3]), piece("note_tests", None, "NOTE"))) == "READY"


def test_what_is_promised_counts_as_there_and_is_outstanding_until_it_comes_or_is_waived() -> None:
    here = whole(*KEYS[:2])
    made = [Promise("b" * 64, "note_tests"), Promise("a" * 64, SIGNATURE_KEY)]
    waiting = proof(*here, promises=made)
    assert code(waiting) == "READY"
    refusal = outstanding_refusal(waiting)
    assert refusal is not None
    assert (refusal.code, refusal.details["evidence_outstanding"]) == ("EVIDENCE_OUTSTANDING", 2)
    waived = proof(*here, promises=[replace(one, is_waived=True) for one in made])
    assert code(waived) == "READY"
    assert outstanding_refusal(waived) is None
    come = piece(None)
    kept = proof(*here, come, promises=[replace(made[0], evidence_id=come.evidence_id), made[1]])
    assert code(kept) == "READY"
    gone = proof(*here, promises=[replace(made[0], evidence_id=come.evidence_id), made[1]])
    assert judge(gone, DONE).missing_evidence_keys == ("note_tests",)


def test_a_machine_may_not_propose_to_close_what_is_of_high_risk() -> None:
    assert risk_refusal(proof(*whole())) is None
    assert risk(proof(*whole()))["level"] == "low"
    risky = risk_refusal(proof(*whole(), template=replace(TEMPLATE, is_high_risk=True)))
    assert risky is not None
    assert (risky.code, risky.details["requirement_code"]) == ("MANUAL_REVIEW_REQUIRED", "AUTOMATION_RISK_BLOCK")
    by_key = risk_refusal(proof(*whole(), piece("note_safety_actions_and_follow_up_scope")))
    assert by_key is not None
    assert by_key.details["risk_profile"]["reasons"] == ["HIGH_RISK_EVIDENCE:note_safety_actions_and_follow_up_scope"]


def test_each_thing_is_told_as_it_stands() -> None:
    found = proof(piece("photo_before"), piece("photo_after", "http://a/b"), promises=[Promise("a" * 64, "note_tests")])
    told = {one.key: one.status for one in evidence_needs(found, None)}
    assert told == {
        "photo_before": Standing.THERE,
        "photo_after": Standing.BROKEN,
        "note_tests": Standing.PROMISED,
        SIGNATURE_KEY: Standing.MISSING,
    }
    assert evidence_needs(found, SIGNED_OFF)[3].status is Standing.THERE
    waived = proof(promises=[Promise("a" * 64, "note_tests", is_waived=True)])
    assert evidence_needs(waived, None)[2].said == "note tests is done without"
    said = replace(DONE, checklist_status={"work_performed": True})
    assert [one.status for one in checklist_needs(found, said)] == [Standing.CONFIRMED, Standing.NOT_CONFIRMED]


keys = st.sampled_from([*KEYS, "photo_before_security_risk", None])
uris = st.sampled_from(["s3://bucket/a", "minio://b/c/d", "file:///x", "s3://bucket/", None])
pieces_ = st.lists(
    st.builds(
        Piece,
        evidence_id=st.uuids().map(str),
        kind=st.sampled_from(["PHOTO", "NOTE", "signature"]),
        evidence_key=keys,
        uri=uris,
    ),
    max_size=9,
)
promises_ = st.lists(
    st.builds(
        Promise,
        sha256=st.sampled_from(["a" * 64, "b" * 64]),
        evidence_key=st.sampled_from(KEYS),
        is_waived=st.booleans(),
    ),
    max_size=2,
    unique_by=lambda one: one.sha256,
)
completions = st.builds(
    Completion,
    checklist_status=st.dictionaries(st.sampled_from(POINTS), st.sampled_from([True, True, True, "true"])),
    no_signature_reason=st.sampled_from([None, " ", "nobody there"]),
    evidence_refs=st.sampled_from([(), ("s3://bucket/a",), ("nothing",)]),
)


@given(found=pieces_, promised=promises_, said=completions, data=st.data())
def test_the_order_of_evidence_never_changes_the_verdict(
    found: list[Piece], promised: list[Promise], said: Completion, data: st.DataObject
) -> None:
    other = data.draw(st.permutations(found)), data.draw(st.permutations(promised))
    assert judge(proof(*found, promises=promised), said) == judge(proof(*other[0], promises=other[1]), said)


@given(found=pieces_, promised=promises_, said=completions, key=keys)
def test_a_good_piece_more_never_makes_ready_work_unready(
    found: list[Piece], promised: list[Promise], said: Completion, key: str | None
) -> None:
    before, after = (proof(*found, *more, promises=promised) for more in ((), (piece(key),)))
    if judge(before, said).is_ready:
        assert judge(after, said).is_ready
    assert set(judge(after, said).invalid_evidence_refs) <= set(judge(before, said).invalid_evidence_refs) or (
        judge(before, said).code == "MISSING_SIGNATURE_CONFIRMATION"
    )


@given(found=pieces_, promised=promises_, said=completions)
def test_a_good_piece_for_each_key_heals_everything_but_the_checklist(
    found: list[Piece], promised: list[Promise], said: Completion
) -> None:
    keyed = [one for one in found if one.evidence_key in KEYS]
    verdict = judge(proof(*keyed, *whole(), promises=promised), replace(said, evidence_refs=()))
    assert verdict.code in {"READY", "MISSING_CHECKLIST"}
