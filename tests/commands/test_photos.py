"""Photos of work orders: whose they are and until when, one for the same bytes, of one attempt, and forgotten whole."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, text

from models.enums import PhotoKind, WorkOrderState
from ops_api import tus_uploads
from pipeline.commands import photos
from pipeline.commands.photo_arguments import AddPhoto, BeginUpload, RemovePhoto
from pipeline.commands.work_order_arguments import Assignment, Reasoned
from pipeline.commands.work_orders import RETURN
from pipeline.commands.work_orders_lead import ASSIGN
from pipeline.core.orders import Order
from pipeline.core.resumable import MOST_OPEN, PART_BYTES
from pipeline.runtime import blob_rows, erasing, photo_rows, resumable_rows, uploads
from pipeline.runtime.db import Database
from pipeline.runtime.resumable_rows import Standing
from tests import factories
from tests.commands.racing import race
from tests.commands.work_desk import WorkDesk

_S = WorkOrderState
_K = PhotoKind


@pytest.fixture
def desk(db: Database) -> WorkDesk:
    return WorkDesk.of(db)


def photo(name: str = "a", kind: PhotoKind = _K.COMPLETION, **more: Any) -> AddPhoto:
    """Return a photo as it is when it is stored; the name decides its bytes."""
    hashes = [hashlib.sha256(f"{name} {part}".encode()).hexdigest() for part in ("sent", "kept", "small")]
    values: dict[str, Any] = dict(zip(("source_sha256", "sha256", "thumbnail_sha256"), hashes, strict=True)) | {
        "size": 9,
        "packed_size": 9,
        "thumbnail_size": 2,
        "thumbnail_packed_size": 2,
        "content_type": "image/jpeg",
        "width": 4,
        "height": 3,
        "lat": 48.1,
        "lon": 11.5,
        "device": "Pixel 9",
    }
    return AddPhoto(kind=kind, **(values | more))


def add(desk: WorkDesk, order: Order, what: AddPhoto | None = None, **more: Any) -> Any:
    return desk.run(photos.ADD, what or photo(), order.order_id, **more)


def refused(desk: WorkDesk, order: Order, what: AddPhoto, by: str = "tech") -> str:
    return desk.refused(photos.ADD, what, order.order_id, by=by).code


def count(desk: WorkDesk, order: Order, attempt: int = 1, kind: PhotoKind = _K.COMPLETION) -> int:
    with desk.db.begin() as connection:
        return photo_rows.count_of(connection, order.order_id, attempt, kind)


def test_a_photo_is_told_counted_and_kept_as_a_step_and_leaves_the_version_as_it_is(desk: WorkDesk) -> None:
    order = desk.order(_S.IN_PROGRESS, "tech")
    answer = add(desk, order)
    body = answer.body
    assert (answer.status, body["workOrderId"], body["kind"], body["attempt"]) == (
        201, str(order.order_id), "COMPLETION", 1,
    )  # fmt: skip
    assert body["position"] == {"latitude": 48.1, "longitude": 11.5}
    assert body["checksum"] == photo().source_sha256
    assert (count(desk, order), count(desk, order, 2), count(desk, order, kind=_K.RETURN)) == (1, 0, 0)
    assert desk.read(order.order_id).version == order.version
    assert desk.steps(order.order_id) == [("work_order.add_photo", "in_progress", "in_progress")]


_WHO = {
    (_K.COMPLETION, "tech"): None,
    (_K.RETURN, "tech"): None,
    (_K.ISSUE, "tech"): "NOT_ASSIGNED",
    (_K.COMPLETION, "other_tech"): "FORBIDDEN",
    (_K.COMPLETION, "lead"): "NOT_ASSIGNED",
    (_K.COMPLETION, "admin"): "NOT_ASSIGNED",
    (_K.ISSUE, "lead"): None,
    (_K.ISSUE, "ops_lead"): None,
    (_K.ISSUE, "viewer"): "FORBIDDEN",
    (_K.ISSUE, "store"): "FORBIDDEN",
}
_WHEN = {
    _S.CREATED: (None, "ORDER_NOT_UNDER_WAY"),
    _S.ASSIGNED: (None, None),
    _S.IN_PROGRESS: (None, None),
    _S.RETURNED: (None, "ORDER_NOT_UNDER_WAY"),
    _S.OUTSOURCED: (None, "ORDER_NOT_UNDER_WAY"),
    _S.DONE: ("ORDER_CLOSED", "ORDER_CLOSED"),
    _S.CANCELLED: ("ORDER_CLOSED", "ORDER_CLOSED"),
}
_OF_STATE = {_S.RETURNED: {"return_reason": "no part"}, _S.OUTSOURCED: {"outsourced_to": "Acme"}}


def test_the_assignee_shows_the_work_and_leads_show_the_trouble(desk: WorkDesk) -> None:
    for (kind, who), expected in _WHO.items():
        order = desk.order(_S.IN_PROGRESS, "tech")
        what = photo(kind=kind)
        if expected is None:
            assert add(desk, order, what, by=who).status == 201, (kind, who)
        else:
            assert refused(desk, order, what, who) == expected, (kind, who)
    mine = desk.order(_S.CREATED, created_by_id=desk.person_id("admin"))
    assert add(desk, mine, photo(kind=_K.ISSUE), by="admin").body["attempt"] == 0


def test_photos_are_taken_while_there_is_work_to_show(desk: WorkDesk) -> None:
    for state, (issue, completion) in _WHEN.items():
        order = desk.order(state, "tech", **_OF_STATE.get(state, {}))
        for kind, who, expected in ((_K.ISSUE, "lead", issue), (_K.COMPLETION, "tech", completion)):
            if expected is None:
                assert add(desk, order, photo(kind=kind), by=who).status == 201, (state, kind)
            else:
                assert refused(desk, order, photo(kind=kind), who) == expected, (state, kind)


def test_an_order_of_a_ticket_has_its_evidence_there(desk: WorkDesk) -> None:
    with desk.db.begin() as connection:
        ticket_id = factories.ticket(connection, desk.org_id)
    order = desk.order(_S.IN_PROGRESS, "tech", ticket_id=ticket_id)
    assert refused(desk, order, photo()) == "FOLLOWS_TICKET"
    assert refused(desk, order, photo(kind=_K.ISSUE), "lead") == "FOLLOWS_TICKET"


def test_the_same_bytes_are_one_photo_for_one_order_kind_and_attempt(desk: WorkDesk) -> None:
    order = desk.order(_S.IN_PROGRESS, "tech")
    wishes = [(photos.ADD, desk.ask(photo(), target=str(order.order_id))) for _ in range(8)]
    answers = race(desk.db, wishes)
    assert sorted(answer.status for answer in answers) == [200] * 7 + [201]  # type: ignore[union-attr]
    assert len({answer.body["id"] for answer in answers}) == 1  # type: ignore[union-attr]
    assert count(desk, order) == 1
    assert add(desk, order, photo(kind=_K.RETURN)).status == 201
    # An answer that was lost is given again, whatever became of the order.
    desk.change("UPDATE work_orders SET state = 'done', closed_at = now() WHERE id = :id", id=order.order_id)
    assert add(desk, order).status == 200
    assert refused(desk, order, photo("b")) == "ORDER_CLOSED"


def test_a_photo_proves_the_attempt_it_was_taken_in_and_no_later_one(desk: WorkDesk) -> None:
    order = desk.order(_S.CREATED)
    give = Assignment(technician_id=desk.person_id("tech"))
    desk.run(ASSIGN, give, order.order_id, by="lead")
    begun = begin(desk, order)
    add(desk, order)
    desk.run(RETURN, Reasoned(reason="no part"), order.order_id)
    desk.run(ASSIGN, give, order.order_id, by="lead")
    assert (count(desk, order, 1), count(desk, order, 2)) == (1, 0)
    # An upload that began before the order came back ends in the attempt that it shows.
    late = photo("late", upload_id=begun.upload_id, begun_at=begun.created_at)
    assert add(desk, order, late).body["attempt"] == 1
    # A form that is sent again late shows nothing of this attempt.
    again = add(desk, order)
    assert (again.status, again.body["attempt"]) == (200, 1)
    assert add(desk, order, photo("new")).body["attempt"] == 2
    assert (count(desk, order, 1), count(desk, order, 2)) == (2, 1)
    first = rows(desk, "SELECT id FROM order_photos WHERE attempt = 1 ORDER BY id")[0][0]
    assert desk.refused(photos.REMOVE, RemovePhoto(), first).code == "PHOTO_OF_EARLIER_ATTEMPT"


def test_its_uploader_takes_a_photo_away_until_the_work_is_done_and_once_is_enough(desk: WorkDesk) -> None:
    order = desk.order(_S.IN_PROGRESS, "tech")
    photo_id, issue_id = add(desk, order).body["id"], add(desk, order, photo(kind=_K.ISSUE), by="lead").body["id"]
    assert desk.refused(photos.REMOVE, RemovePhoto(), photo_id, by="other_tech").code == "FORBIDDEN"
    assert desk.refused(photos.REMOVE, RemovePhoto(), photo_id, by="lead").code == "NOT_UPLOADER"
    assert desk.refused(photos.REMOVE, RemovePhoto(), issue_id).code == "NOT_UPLOADER"
    assert desk.refused(photos.REMOVE, RemovePhoto(), order.order_id).code == "PHOTO_NOT_FOUND"
    assert desk.run(photos.REMOVE, RemovePhoto(), photo_id).status == 204
    assert count(desk, order) == 0
    again = add(desk, order)
    assert (again.status, again.body["id"] != photo_id, count(desk, order)) == (201, True, 1)
    desk.change("UPDATE work_orders SET state = 'done', closed_at = now() WHERE id = :id", id=order.order_id)
    assert desk.run(photos.REMOVE, RemovePhoto(), photo_id).status == 204
    for name, by in ((again.body["id"], "tech"), (issue_id, "lead")):
        assert desk.refused(photos.REMOVE, RemovePhoto(), name, by=by).code == "ORDER_CLOSED"
    assert count(desk, order) == 1


def test_an_order_has_so_many_photos_and_no_more(desk: WorkDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photo_rows, "MOST_PHOTOS", 1)
    order = desk.order(_S.IN_PROGRESS, "tech")
    add(desk, order)
    assert refused(desk, order, photo("b")) == "PHOTOS_TOO_MANY"
    assert add(desk, order).status == 200
    # What others show does not keep the technician from proving the work, nor what an earlier attempt showed.
    assert add(desk, order, photo("b", kind=_K.ISSUE), by="lead").status == 201
    desk.run(RETURN, Reasoned(reason="no part"), order.order_id)
    desk.run(ASSIGN, Assignment(technician_id=desk.person_id("tech")), order.order_id, by="lead")
    assert add(desk, order, photo("b")).status == 201
    assert refused(desk, order, photo("c")) == "PHOTOS_TOO_MANY"


def rows(desk: WorkDesk, statement: str, **values: Any) -> list[Any]:
    return desk.rows(statement, **values)


def begin(desk: WorkDesk, order: Order, **more: Any) -> Standing:
    """Begin an upload of the technician."""
    wish = BeginUpload.model_validate({"kind": _K.COMPLETION, "length": 9} | more)
    answer = desk.run(photos.BEGIN, wish, order.order_id)
    with standing(desk, UUID(answer.body["id"])) as (_, upload):
        return upload


@contextmanager
def standing(desk: WorkDesk, upload_id: UUID) -> Iterator[tuple[Connection, Standing]]:
    """Lock an upload of the technician for a while."""
    with desk.db.begin() as connection:
        found = resumable_rows.lock(connection, desk.org_id, desk.people["tech"].actor_id, upload_id)
        assert found is not None
        yield connection, found


def test_an_upload_is_begun_once_by_its_name_and_only_for_who_may_end_it(desk: WorkDesk) -> None:
    order = desk.order(_S.IN_PROGRESS, "tech")
    wish = BeginUpload(kind=_K.COMPLETION, length=9, client_id="c1")
    wishes = [(photos.BEGIN, desk.ask(wish, target=str(order.order_id))) for _ in range(4)]
    answers = race(desk.db, wishes)
    assert sorted(answer.status for answer in answers) == [200, 200, 200, 201]  # type: ignore[union-attr]
    assert len({answer.body["id"] for answer in answers}) == 1  # type: ignore[union-attr]
    assert desk.steps(order.order_id) == []
    other = wish.model_copy(update={"length": 10})
    assert desk.refused(photos.BEGIN, other, order.order_id).code == "CLIENT_ID_USED"
    assert desk.refused(photos.BEGIN, wish, order.order_id, by="other_tech").code == "FORBIDDEN"
    assert desk.refused(photos.BEGIN, wish, order.order_id, by="lead").code == "NOT_ASSIGNED"
    assert desk.refused(photos.BEGIN, wish, desk.order(_S.DONE, "tech").order_id).code == "CLIENT_ID_USED"
    fresh = wish.model_copy(update={"client_id": "c2"})
    assert desk.refused(photos.BEGIN, fresh, desk.order(_S.DONE, "tech").order_id).code == "ORDER_CLOSED"


def test_a_person_has_so_many_uploads_open_and_those_that_are_over_do_not_count(desk: WorkDesk) -> None:
    order = desk.order(_S.IN_PROGRESS, "tech")
    megabytes = [begin(desk, order, length=10 * 1024 * 1024, client_id=str(at)).upload_id for at in range(10)]
    assert desk.refused(photos.BEGIN, BeginUpload(kind=_K.RETURN, length=1), order.order_id).code == "UPLOADS_TOO_MANY"
    desk.change("UPDATE resumable_uploads SET length = 9")
    for _ in range(MOST_OPEN - len(megabytes)):
        begin(desk, order)
    assert desk.refused(photos.BEGIN, BeginUpload(kind=_K.RETURN, length=1), order.order_id).code == "UPLOADS_TOO_MANY"
    with standing(desk, megabytes[0]) as (connection, upload):
        resumable_rows.keep(connection, upload, b"bytes")
    desk.change("UPDATE resumable_uploads SET expires_at = now() WHERE client_id = '0'")
    # It is not there any more before anybody swept it, and its name is free.
    assert begin(desk, order, client_id="0").upload_id != megabytes[0]
    desk.change("UPDATE resumable_uploads SET expires_at = now()")
    with desk.db.begin() as connection:
        assert resumable_rows.forget(connection) == MOST_OPEN
        assert connection.execute(text("SELECT count(*) FROM upload_parts")).scalar_one() == 0


def test_uploads_of_orders_that_are_over_or_somebody_elses_leave_room_and_go_when_it_is_needed(desk: WorkDesk) -> None:
    """A day's uploads that can end no more must not keep a technician from the next ones."""
    orders = [desk.order(_S.IN_PROGRESS, "tech") for _ in range(5)]
    here, done, given, back, stays = orders
    for order in orders[1:]:
        for _ in range(MOST_OPEN // 4):
            begin(desk, order)
    assert desk.refused(photos.BEGIN, BeginUpload(kind=_K.RETURN, length=1), here.order_id).code == "UPLOADS_TOO_MANY"
    desk.change("UPDATE work_orders SET state = 'done', closed_at = now() WHERE id = :id", id=done.order_id)
    who = desk.person_id("other_tech")
    desk.change("UPDATE work_orders SET assigned_to_id = :who WHERE id = :id", who=who, id=given.order_id)
    begin(desk, here, client_id="room")
    # What is stuck went, so that no more waits than one person may have; what may end yet stays.
    statement = "SELECT order_id FROM resumable_uploads WHERE org_id = :org"
    left = [found for (found,) in rows(desk, statement)]
    assert [left.count(one.order_id) for one in orders] == [1, 0, 0, 5, 5]
    for _ in range(MOST_OPEN - 11):
        begin(desk, here)
    assert desk.refused(photos.BEGIN, BeginUpload(kind=_K.RETURN, length=1), here.order_id).code == "UPLOADS_TOO_MANY"
    desk.change("UPDATE work_orders SET state = 'returned', return_reason = 'x' WHERE id = :id", id=back.order_id)
    # Room by bytes, likewise.
    desk.change("UPDATE resumable_uploads SET length = 20971520 WHERE order_id = :id", id=back.order_id)
    desk.change("UPDATE resumable_uploads SET expires_at = now() WHERE order_id = :id", id=here.order_id)
    begin(desk, here)
    left = [found for (found,) in rows(desk, statement)]
    assert (left.count(back.order_id), left.count(stays.order_id)) == (0, 5)
    # Their sender never learned of them: there is no name to find them by.
    for _ in range(MOST_OPEN - 6):
        begin(desk, here)
    assert desk.refused(photos.BEGIN, BeginUpload(kind=_K.RETURN, length=1), here.order_id).code == "UPLOADS_TOO_MANY"
    desk.change("UPDATE resumable_uploads SET created_at = now() - interval '61 minutes' WHERE order_id = :id",
                id=stays.order_id)  # fmt: skip
    begin(desk, here)
    assert [found for (found,) in rows(desk, statement)].count(stays.order_id) == 0


def test_bytes_that_came_meanwhile_are_not_thrown_away_by_somebody_late(desk: WorkDesk) -> None:
    """The whole was promised; who found another whole forgets what they looked at, and nothing that came since."""
    stale = begin(desk, desk.order(_S.IN_PROGRESS, "tech"))
    with standing(desk, stale.upload_id) as (connection, upload):
        now = resumable_rows.keep(connection, upload, b"abc")
        for seen, left in ((stale, 3), (now, 0)):
            tus_uploads._start_over(connection, desk.people["tech"], seen)
            found = resumable_rows.find(connection, desk.org_id, upload.owner, upload.upload_id)
            assert (found and found.received) == left


def test_bytes_wait_in_rows_of_a_megabyte_and_go_when_the_photo_is_made(desk: WorkDesk) -> None:
    order = desk.order(_S.IN_PROGRESS, "tech")
    content = bytes(range(256)) * (10 * 1024) + b"end"
    upload = begin(desk, order, length=len(content))
    with standing(desk, upload.upload_id) as (connection, found):
        whole = resumable_rows.keep(connection, resumable_rows.keep(connection, found, content[:5]), content[5:])
        assert resumable_rows.content(connection, whole) == content
        assert resumable_rows.keep(connection, whole, b"") == whole
    sizes = rows(desk, "SELECT length(content) FROM upload_parts ORDER BY begins_at")
    assert [size for (size,) in sizes] == [5, PART_BYTES, PART_BYTES, len(content) - 5 - 2 * PART_BYTES]
    ends = photo(upload_id=upload.upload_id, offset=5)
    assert refused(desk, order, ends) == "OFFSET_MISMATCH"
    ends = photo(upload_id=upload.upload_id, offset=len(content))
    made = add(desk, order, ends)
    assert (made.status, add(desk, order, ends).status, count(desk, order)) == (201, 200, 1)
    assert rows(desk, "SELECT count(*) FROM upload_parts") == [(0,)]
    with standing(desk, upload.upload_id) as (connection, found):
        assert (str(found.photo_id), found.received) == (made.body["id"], len(content))
        assert resumable_rows.end(connection, desk.org_id, "somebody else", upload.upload_id) is False
    gone = photo("b", upload_id=order.order_id)
    assert refused(desk, order, gone) == "UPLOAD_NOT_FOUND"


def kept(desk: WorkDesk) -> int:
    statement = "SELECT count(*) AS n FROM blobs WHERE kind = 'evidence' AND erased_at IS NULL AND org_id = :org"
    return int(desk.one(statement, org=desk.org_id).n)


def tidied(desk: WorkDesk) -> int:
    """Tidy uploads a day later; return how many contents stay."""
    desk.change("UPDATE blobs SET created_at = now() - interval '25 hours'")
    with desk.db.begin() as connection:
        uploads.let_go(connection)
    return kept(desk)


def test_the_bytes_of_a_photo_stay_for_as_long_as_it_does(desk: WorkDesk) -> None:
    """Tidied with the uploads that nobody names; what came again before it was taken out of the store stays."""
    order, other = desk.order(_S.IN_PROGRESS, "tech"), desk.order(_S.ASSIGNED, "tech")
    photo_id, other_id = add(desk, order).body["id"], add(desk, other).body["id"]
    assert tidied(desk) == 2
    desk.run(photos.REMOVE, RemovePhoto(), photo_id)
    assert tidied(desk) == 2
    desk.run(photos.REMOVE, RemovePhoto(), other_id)
    assert tidied(desk) == 0
    assert refused(desk, order, photo()) == "PHOTO_BEING_ERASED"
    desk.change("UPDATE order_photos SET removed_at = NULL, removed_by = NULL WHERE order_id = :id", id=other.order_id)
    desk.change("UPDATE blobs SET erased_at = now() - interval '1 hour' WHERE kind = 'evidence'")
    with desk.db.begin() as connection:
        assert blob_rows.ripe(connection, 10) == []
    assert kept(desk) == 2


def test_an_erased_ticket_takes_the_photos_of_its_orders_with_it(desk: WorkDesk) -> None:
    order, other = desk.order(_S.IN_PROGRESS, "tech"), desk.order(_S.IN_PROGRESS, "tech")
    body = add(desk, order).body
    add(desk, order, photo("b"))
    add(desk, other, photo("b"))
    upload = begin(desk, order)
    with desk.db.begin() as connection:
        ticket_id = factories.ticket(connection, desk.org_id)
    desk.change("UPDATE work_orders SET ticket_id = :ticket WHERE id = :id", ticket=ticket_id, id=order.order_id)
    with desk.db.begin() as connection:
        counts = erasing.erase_tickets(connection, [ticket_id])
        again = erasing.erase_tickets(connection, [ticket_id])
    assert (counts["photo_files"], counts["photo_facts"], counts["photo_uploads"], counts["photo_answers"]) == (
        2,
        2,
        1,
        2,
    )
    assert (again["photo_files"], again["photo_facts"]) == (0, 0)
    # What another order shows stays.
    assert kept(desk) == 2
    row = desk.one("SELECT * FROM order_photos WHERE id = :id", id=body["id"])
    assert (row.taken_at, row.lat, row.device, row.removed_by) == (None, None, None, "(erased)")
    assert (row.source_sha256.hex(), row.size) == (photo().source_sha256, 9)
    answers = rows(
        desk, "SELECT answer -> 'body' FROM idempotency_keys WHERE answer #>> '{body,id}' = :id", id=body["id"]
    )
    assert answers == []
    with desk.db.begin() as connection:
        found = resumable_rows.find(connection, desk.org_id, desk.people["tech"].actor_id, upload.upload_id)
    assert found is None


def test_an_erased_ticket_leaves_no_word_on_its_orders(desk: WorkDesk) -> None:
    said = {"title": "canary", "instructions": "canary", "return_reason": "canary", "fix_note": "canary"}
    order, other = (desk.order(_S.ASSIGNED, "tech", **said) for _ in range(2))
    for one in (order, other):
        desk.run(RETURN, Reasoned(reason="canary"), one.order_id)
    with desk.db.begin() as connection:
        ticket_id = factories.ticket(connection, desk.org_id)
    desk.change("UPDATE work_orders SET ticket_id = :ticket WHERE id = :id", ticket=ticket_id, id=order.order_id)
    with desk.db.begin() as connection:
        counts = [erasing.erase_tickets(connection, [ticket_id]) for _ in range(2)]
    assert [(one["orders"], one["told_of_orders"]) for one in counts] == [(1, 1), (0, 0)]
    assert "canary" not in repr(desk.read(order.order_id))
    assert repr(desk.read(other.order_id)).count("canary") == 4
    trail = "SELECT data::text FROM audit_events JOIN audit_details USING (org_id, number) WHERE target_id = :id"
    assert "canary" not in repr(rows(desk, trail, id=str(order.order_id)))
    assert "canary" in repr(rows(desk, trail, id=str(other.order_id)))


def test_an_erased_colleague_was_nowhere_and_their_work_stays(desk: WorkDesk) -> None:
    order = desk.order(_S.IN_PROGRESS, "tech")
    add(desk, order)
    begin(desk, order)
    who = desk.people["tech"]
    desk.change("UPDATE memberships SET is_active = false WHERE person_id = :id", id=who.person_id)
    with desk.db.begin() as connection:
        erasing.erase_requests(connection, desk.org_id, who.email)
    row = desk.one("SELECT * FROM order_photos WHERE order_id = :id", id=order.order_id)
    assert (row.taken_at, row.lat, row.lon, row.device, row.removed_at) == (None, None, None, None, None)
    assert (count(desk, order), kept(desk)) == (1, 2)
    assert rows(desk, "SELECT count(*) FROM resumable_uploads WHERE org_id = :org") == [(0,)]


def test_bytes_that_are_being_erased_are_not_shown_as_if_they_were_there(desk: WorkDesk) -> None:
    order = desk.order(_S.IN_PROGRESS, "tech")
    add(desk, order)
    who = desk.people["tech"]
    (photo_id,) = rows(desk, "SELECT id FROM order_photos")[0]
    with desk.db.begin() as connection:
        found = photo_rows.reached(connection, who, photo_id)
        assert found is not None
        assert (found[0].photo_id, found[1]) == (photo_id, True)
        other = photo_rows.reached(connection, desk.people["other_tech"], photo_id)
        assert other is not None
        assert other[1] is False
    desk.change("UPDATE blobs SET erased_at = now() WHERE kind = 'evidence'")
    with desk.db.begin() as connection:
        assert photo_rows.reached(connection, who, photo_id) is None
