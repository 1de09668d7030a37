"""Evidence: what is taken at upload, what becomes of it, and when it freezes."""

from __future__ import annotations

import hashlib
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from models.enums import DispatchState
from pipeline.commands import evidence
from pipeline.commands.evidence_arguments import AddEvidence, NewEvidence, UploadEvidence, Waiver, WithdrawEvidence
from pipeline.core.evidence import our_uri, plain_sha256, reference_problem
from pipeline.runtime import evidence_rows, field_rows
from pipeline.runtime.db import Database
from tests.commands.field_desk import FieldDesk
from tests.commands.site_steps import add, complete, prove
from tests.commands.site_work import dispatched, on_site, verified

KEY = "photo_before_door_edge_and_strike"
SENT, STORED, SMALL = (hashlib.sha256(word).hexdigest() for word in (b"sent", b"stored", b"small"))


@pytest.fixture
def desk(db: Database) -> FieldDesk:
    return FieldDesk.of(db)


def upload(**said: Any) -> UploadEvidence:
    values = {"sha256": STORED, "received_sha256": SENT, "size": 9, "content_type": "image/jpeg"}
    values |= {"packed_size": 9, "thumbnail_sha256": SMALL, "thumbnail_size": 2, "thumbnail_packed_size": 2}
    return UploadEvidence(**{**values, "width": 4, "height": 3, **said})


def items(desk: FieldDesk, ticket_id: UUID) -> int:
    return int(desk.one("SELECT count(*) AS n FROM evidence_items WHERE ticket_id = :t", t=ticket_id).n)


def test_a_piece_is_a_row_of_the_trail_and_of_the_history_and_no_move(desk: FieldDesk) -> None:
    ticket_id = desk.make()
    before = desk.row(ticket_id).version
    asked = AddEvidence(kind="photo", uri="s3://bucket/a.jpg", evidence_key=KEY, metadata={"source": "app"})
    answer = desk.run(evidence.ADD, asked, ticket_id, by="agent")
    assert answer.status == 201
    assert answer.body["metadata"] == {"source": "app", "evidence_key": KEY}
    assert (answer.body["status"], answer.body["check"]) == ("current", "unchecked")
    assert answer.body["created_by"] == desk.people["agent"].actor_id
    assert desk.row(ticket_id).version == before
    assert desk.moves(ticket_id) == [(None, "NEW")]
    assert desk.trail(ticket_id)[-1] == ("closeout.add_evidence", "done", None)
    assert desk.events(ticket_id)[-1][0] == "closeout.add_evidence"


def test_a_note_is_words_and_a_key_may_stand_in_the_metadata(desk: FieldDesk) -> None:
    ticket_id = desk.make()
    asked = NewEvidence(kind="NOTE", note=" ten cycles ", metadata={"evidence_key": "note_cycles"})
    body = desk.run(evidence.ADD, AddEvidence(**asked.model_dump()), ticket_id).body
    assert (body["note"], body["uri"], body["evidence_key"], body["check"]) == (
        "ten cycles",
        None,
        "note_cycles",
        "checked",
    )


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({}, "uri"),
        ({"uri": " "}, "uri"),
        ({"uri": "s3://bucket"}, "uri"),
        ({"uri": "no address"}, "uri"),
        ({"uri": "s3://b/a", "note": "words"}, "uri"),
        ({"note": " "}, "note"),
        ({"note": "before", "evidence_key": KEY}, "note"),
        ({"note": "before", "metadata": {"evidence_key": KEY}}, "note"),
        ({"note": "signed", "kind": "signature"}, "note"),
        ({"uri": "s3://b/a", "kind": ""}, "kind"),
        ({"uri": "s3://b/a", "metadata": []}, "metadata"),
        ({"uri": "s3://b/a", "metadata": {"a": {"b": {"c": {"d": {"e": 1}}}}}}, "metadata"),
        ({"uri": "s3://b/a", "metadata": dict.fromkeys(map(str, range(51)))}, "metadata"),
        ({"uri": "s3://b/a", "metadata": {"a": "x" * 9_000}}, "metadata"),
        ({"uri": "s3://b/a", "metadata": {"evidence_key": 3}}, "metadata"),
        ({"uri": "s3://b/a", "metadata": {"a": [2**70]}}, "metadata"),
        ({"uri": "s3://b/a", "supersedes_id": "x"}, "supersedes_id"),
        ({"uri": "s3://b/a", "more": 1}, "more"),
    ],
)
def test_what_is_no_piece_is_refused_by_the_name_of_its_field(said: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        NewEvidence.model_validate({"kind": "PHOTO", **said})
    assert {one["loc"][0] for one in caught.value.errors()} == {field}


def test_a_store_that_is_not_taken_is_refused_at_once_and_one_that_is_set_is_not(desk: FieldDesk) -> None:
    ticket_id = desk.make()
    asked: dict[str, Any] = {"kind": "PHOTO", "uri": "gs://bucket/a.jpg"}
    refusal = desk.refused(evidence.ADD, AddEvidence(**asked), ticket_id)
    assert (refusal.code, refusal.because, list(refusal.details["fields"])) == ("INVALID_REQUEST", "malformed", ["uri"])
    assert desk.run(evidence.ADD, AddEvidence(**asked, schemes=frozenset({"gs"})), ticket_id).status == 201


def test_a_reference_to_ours_needs_the_upload_of_this_ticket_and_its_hash(desk: FieldDesk) -> None:
    ticket_id, other = desk.make(), desk.make()
    desk.run(evidence.UPLOAD, upload(), other)
    asked: dict[str, Any] = {"kind": "PHOTO", "uri": our_uri(STORED), "evidence_key": KEY}
    refusal = desk.refused(evidence.ADD, AddEvidence(**asked), ticket_id)
    assert list(refusal.details["fields"]) == ["uri"]
    desk.run(evidence.UPLOAD, upload(), ticket_id)
    refusal = desk.refused(evidence.ADD, AddEvidence(**asked, checksum="ab" * 32), ticket_id)
    assert list(refusal.details["fields"]) == ["checksum"]
    for checksum in (None, STORED, f"sha256:{SENT.upper()}"):
        body = desk.run(evidence.ADD, AddEvidence(**asked, checksum=checksum), ticket_id).body
        assert (body["check"], body["sha256"], body["size"]) == ("checked", STORED, 9)


def test_the_same_file_twice_is_one_piece_whatever_the_key_of_the_request(desk: FieldDesk) -> None:
    ticket_id = desk.make()
    first = desk.run(evidence.UPLOAD, upload(evidence_key=KEY), ticket_id)
    assert (first.status, first.body["uri"], first.body["checksum"]) == (201, our_uri(STORED), SENT)
    for again in (upload(evidence_key=KEY), upload()):
        answer = desk.run(evidence.UPLOAD, again, ticket_id)
        assert (answer.status, answer.body) == (200, first.body)
    assert items(desk, ticket_id) == 1
    other = desk.run(evidence.UPLOAD, upload(evidence_key="photo_after"), ticket_id)
    assert (other.status, other.body["evidence_key"]) == (201, "photo_after")
    blobs = desk.one("SELECT count(*) AS n FROM blobs WHERE org_id = :org AND kind = 'evidence'", org=desk.org_id)
    assert blobs.n == 2


def test_withdrawn_and_superseded_pieces_stay_and_count_for_nothing(desk: FieldDesk) -> None:
    ticket_id = desk.make()
    first = add(desk, ticket_id, KEY, by="agent")
    second = add(desk, ticket_id, None, by="agent", uri="s3://bucket/b.jpg", supersedes_id=first["id"])
    assert second["evidence_key"] == KEY
    asked = WithdrawEvidence(evidence_id=second["id"], reason="it shows another door")
    body = desk.run(evidence.WITHDRAW, asked, ticket_id, by="agent").body
    assert (body["status"], body["withdrawn_because"]) == ("withdrawn", "it shows another door")
    for evidence_id in (first["id"], second["id"]):
        asked = WithdrawEvidence(evidence_id=evidence_id, reason="again")
        assert desk.refused(evidence.WITHDRAW, asked, ticket_id).code == "EVIDENCE_NOT_CURRENT"
    unknown = WithdrawEvidence(evidence_id=uuid4(), reason="none")
    assert desk.refused(evidence.WITHDRAW, unknown, ticket_id).code == "EVIDENCE_NOT_FOUND"
    with desk.db.begin() as connection:
        assert evidence_rows.pieces(connection, ticket_id) == []
    assert items(desk, ticket_id) == 2


def test_a_piece_of_another_ticket_is_no_piece_of_this_one(desk: FieldDesk) -> None:
    ticket_id, other = desk.make(), desk.make()
    theirs = add(desk, other, KEY, by="agent")
    asked = WithdrawEvidence(evidence_id=theirs["id"], reason="mine")
    assert desk.refused(evidence.WITHDRAW, asked, ticket_id).code == "EVIDENCE_NOT_FOUND"
    asked_for = AddEvidence(kind="PHOTO", uri="s3://b/a", supersedes_id=theirs["id"])
    assert desk.refused(evidence.ADD, asked_for, ticket_id).code == "EVIDENCE_NOT_FOUND"


def test_technicians_who_were_never_sent_stay_out_once_somebody_was(desk: FieldDesk) -> None:
    ticket_id = desk.make()
    add(desk, ticket_id, KEY, by="other_tech")
    ticket_id = dispatched(desk)
    add(desk, ticket_id, KEY, by="tech")
    asked = AddEvidence(kind="PHOTO", uri="s3://b/a")
    assert desk.refused(evidence.ADD, asked, ticket_id, by="other_tech").code == "NOT_ASSIGNED"
    assert desk.refused(evidence.ADD, asked, ticket_id, by="qa").code == "FORBIDDEN"
    assert desk.run(evidence.ADD, asked, ticket_id, by="dispatcher").status == 201


def test_evidence_freezes_at_the_check_also_while_a_higher_limit_is_asked_for(desk: FieldDesk) -> None:
    ticket_id = verified(desk)
    piece = desk.one("SELECT id FROM evidence_items WHERE ticket_id = :t LIMIT 1", t=ticket_id).id
    asked = AddEvidence(kind="PHOTO", uri="s3://b/a")
    for state in (DispatchState.VERIFIED, DispatchState.INVOICED, DispatchState.CLOSED, DispatchState.CANCELLED):
        desk.change("UPDATE tickets SET dispatch_state = :state WHERE id = :t", state=state.value, t=ticket_id)
        assert desk.refused(evidence.ADD, asked, ticket_id).code == "EVIDENCE_FROZEN"
        assert desk.refused(evidence.UPLOAD, upload(), ticket_id).code == "EVIDENCE_FROZEN"
    withdrawal = WithdrawEvidence(evidence_id=piece, reason="late")
    assert desk.refused(evidence.WITHDRAW, withdrawal, ticket_id).code == "EVIDENCE_FROZEN"
    desk.change("UPDATE tickets SET dispatch_state = 'APPROVAL_REQUIRED' WHERE id = :t", t=ticket_id)
    for back, is_frozen in (("VERIFIED", True), ("IN_PROGRESS", False)):
        desk.change("DELETE FROM approvals WHERE ticket_id = :t", t=ticket_id)
        desk.change(
            "INSERT INTO approvals (org_id, ticket_id, kind, source, return_state, reason, requested_by) "
            "VALUES (:org, :t, 'NTE_INCREASE', 'tests', :back, 'more', 'tests')",
            t=ticket_id,
            back=back,
        )
        with desk.db.begin() as connection:
            assert evidence_rows.is_frozen(connection, field_rows.read(connection, ticket_id)) is is_frozen


def test_a_promise_is_kept_by_the_bytes_that_were_promised_under_the_key_that_was(desk: FieldDesk) -> None:
    ticket_id = on_site(desk)
    prove(desk, ticket_id, *("note_adjustments_and_test_cycles", "photo_after_latched_alignment"))
    manifest = [{"sha256": SENT, "evidence_key": KEY}]
    body = complete(desk, ticket_id, no_signature_reason="nobody there", manifest=manifest).body
    assert (body["state"], body["evidence_outstanding"]) == ("COMPLETED_PENDING_VERIFICATION", 1)
    piece = desk.run(evidence.UPLOAD, upload(), ticket_id, by="tech").body
    assert piece["evidence_key"] == KEY
    row = desk.one("SELECT evidence_id FROM expected_evidence WHERE ticket_id = :t", t=ticket_id)
    assert str(row.evidence_id) == piece["id"]
    waiver = Waiver(sha256=SENT, reason="it has come")
    assert desk.refused(evidence.WAIVE, waiver, ticket_id).code == "EVIDENCE_NOT_OUTSTANDING"


def test_only_what_was_promised_is_waived_and_by_a_dispatcher(desk: FieldDesk) -> None:
    ticket_id = on_site(desk)
    prove(desk, ticket_id, *("note_adjustments_and_test_cycles", "photo_after_latched_alignment"))
    complete(desk, ticket_id, no_signature_reason="none", manifest=[{"sha256": SENT, "evidence_key": KEY}])
    waiver = Waiver(sha256=f"SHA256:{SENT}", reason="the telephone fell into a well")
    assert desk.refused(evidence.WAIVE, waiver, ticket_id, by="tech").code == "FORBIDDEN"
    other = Waiver(sha256="0" * 64, reason="none")
    assert desk.refused(evidence.WAIVE, other, ticket_id).code == "EVIDENCE_NOT_EXPECTED"
    assert desk.run(evidence.WAIVE, waiver, ticket_id).body["evidence_outstanding"] == 0
    assert desk.refused(evidence.WAIVE, waiver, ticket_id).code == "EVIDENCE_NOT_OUTSTANDING"


def test_what_has_come_already_is_not_on_the_way(desk: FieldDesk) -> None:
    ticket_id = on_site(desk)
    prove(desk, ticket_id, *("note_adjustments_and_test_cycles", "photo_after_latched_alignment"))
    desk.run(evidence.UPLOAD, upload(), ticket_id, by="tech")
    manifest = [{"sha256": STORED, "evidence_key": KEY}]
    assert complete(desk, ticket_id, no_signature_reason="none", manifest=manifest).body["evidence_outstanding"] == 0


def test_a_ticket_takes_so_many_pieces_and_no_more(desk: FieldDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence_rows, "MOST_PIECES", 1)
    ticket_id = desk.make()
    add(desk, ticket_id, KEY, by="agent")
    asked = AddEvidence(kind="PHOTO", uri="s3://b/a")
    assert desk.refused(evidence.ADD, asked, ticket_id).code == "EVIDENCE_TOO_MUCH"


def test_bytes_that_are_being_erased_are_to_be_sent_again(desk: FieldDesk) -> None:
    ticket_id = desk.make()
    desk.run(evidence.UPLOAD, upload(), ticket_id)
    desk.change("UPDATE blobs SET erased_at = now() WHERE org_id = :org")
    other = desk.make()
    assert desk.refused(evidence.UPLOAD, upload(), other).code == "EVIDENCE_BEING_ERASED"
    assert items(desk, other) == 0


@given(said=st.text(max_size=40) | st.from_regex(r"[a-z0-9]{1,5}://[a-z.]{0,5}/?[a-z]{0,4}", fullmatch=True))
def test_every_text_is_a_reference_or_has_a_problem_in_words(said: str) -> None:
    problem = reference_problem(said)
    assert problem is None or len(problem) < 200
    if problem is None:
        assert said.partition("://")[0].lower() in {"s3", "minio", "fieldpost"}


def test_checksums_are_read_with_and_without_their_algorithm() -> None:
    assert plain_sha256(f" sha256:{'AB' * 32} ") == "ab" * 32
    assert plain_sha256("md5:abc") is None
