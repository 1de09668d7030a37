"""Contract 004, photos: the form and its answer word for word, the caller, hostile files, and links to the bytes."""

from __future__ import annotations

import hashlib
import io
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx
import pytest
from PIL import Image
from sqlalchemy import text

from models.enums import WorkOrderState
from pipeline.core.orders import Order
from pipeline.core.uploads import LIMITS
from pipeline.runtime import erasing
from tests import factories
from tests.adapters.pdfs import pdf
from tests.adapters.pictures import CAMERA, HTML, LATITUDE, archive, encoded, halves, photo, png
from tests.conformance.phones import Phones, refused
from tests.conformance.service import Service
from tests.factories import rows

_S = WorkOrderState
PHOTO = photo(size=(640, 400))
SENT = hashlib.sha256(PHOTO).hexdigest()


@pytest.fixture
def phones(service: Service) -> Phones:
    return Phones.of(service)


@pytest.fixture
def order(phones: Phones) -> Order:
    return phones.desk.order(_S.IN_PROGRESS, "tech")


def send(phones: Phones, method: str, path: str, by: str = "tech", **options: Any) -> httpx.Response:
    headers = {**phones.bearer(by), **options.pop("headers", {})}
    return phones.service.http.request(method, f"/api/v1{path}", headers=headers, **options)


def upload(
    phones: Phones, order: Order | str, content: bytes = PHOTO, by: str = "tech", *, name: str = "a.jpg", **fields: Any
) -> httpx.Response:
    """Send the form; `headers` apart, what is named is a field of it."""
    headers = fields.pop("headers", {})
    named = order if isinstance(order, str) else str(order.order_id)
    said = {"workOrderId": named, "kind": "COMPLETION"} | fields
    files = {"file": (name, content, "application/octet-stream")}
    data = {name: value for name, value in said.items() if value is not None}
    return send(phones, "POST", "/uploads/photos", by, files=files, data=data, headers=headers)


def seen(phones: Phones, order: Order) -> Any:
    """Return all that must not change when a photo is refused."""
    found = rows(phones.desk.db, "SELECT id, removed_at FROM order_photos WHERE order_id = :id", id=order.order_id)
    return phones.desk.read(order.order_id).version, found, phones.desk.steps(order.order_id)


def test_the_answer_has_the_contracts_fields_and_the_bytes_lose_what_the_camera_tells(
    phones: Phones, order: Order
) -> None:
    """`201 { id, url, thumbUrl, kind, workOrderId }`; time and place are kept beside the picture."""
    answer = upload(phones, order, device="Pixel 9")
    assert answer.status_code == 201, answer.text
    body = answer.json()
    assert {"id", "url", "thumbUrl", "kind", "workOrderId"} <= set(body)
    assert (body["kind"], body["workOrderId"], body["checksum"]) == ("COMPLETION", str(order.order_id), SENT)
    assert (body["takenAt"], body["device"], body["attempt"]) == ("2026-05-01T08:11:12Z", "Pixel 9", 1)
    assert body["position"]["latitude"] == pytest.approx(LATITUDE, abs=1e-4)
    for address, size in ((body["url"], (640, 400)), (body["thumbUrl"], (320, 200))):
        given = phones.service.http.get(address)
        assert given.status_code == 200, given.text
        assert (given.headers["content-type"], given.headers["x-content-type-options"]) == ("image/jpeg", "nosniff")
        assert CAMERA not in given.content
        with Image.open(io.BytesIO(given.content)) as image:
            assert (image.size, dict(image.getexif())) == (size, {})
    again = upload(phones, order, name="..\\evil.html", device="another")
    assert again.status_code == 200
    unlinked = {name: value for name, value in again.json().items() if name not in {"url", "thumbUrl"}}
    assert unlinked == {name: value for name, value in body.items() if name not in {"url", "thumbUrl"}}
    assert phones.desk.steps(order.order_id)[0] == ("work_order.add_photo", "in_progress", "in_progress")


def test_an_order_is_named_by_its_code_as_well_and_a_key_replays_with_links_that_are_good(
    phones: Phones, order: Order
) -> None:
    key = {"Idempotency-Key": str(uuid4())}
    first = upload(phones, order.code, headers=key)
    assert first.status_code == 201
    phones.desk.change("UPDATE work_orders SET state = 'done', closed_at = now() WHERE id = :id", id=order.order_id)
    again = upload(phones, order.code, headers=key)
    assert (again.status_code, again.headers["idempotency-replayed"]) == (201, "true")
    assert phones.service.http.get(again.json()["url"]).status_code == 200
    other = upload(phones, order.code, photo(6), headers=key)
    refused(other, 409, "IDEMPOTENCY_PAYLOAD_MISMATCH")


def test_eight_at_once_are_one_photo(phones: Phones, order: Order) -> None:
    phones.bearer("tech")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: upload(phones, order), range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(seen(phones, order)[1]) == 1


def test_who_may_not_show_it_is_refused_in_the_contracts_shape_and_nothing_is_kept(
    phones: Phones, order: Order
) -> None:
    before = seen(phones, order)
    refused(upload(phones, order, by="other_tech"), 403)
    refused(upload(phones, order, by="lead"), 403)
    refused(upload(phones, order, by="viewer"), 403)
    refused(upload(phones, order, kind="ISSUE"), 403)
    refused(upload(phones, str(uuid4())), 404, "WORK_ORDER_NOT_FOUND")
    refused(upload(phones, "wo_none"), 404, "WORK_ORDER_NOT_FOUND")
    nobody = phones.service.http.post("/api/v1/uploads/photos", files={"file": ("a", PHOTO)})
    refused(nobody, 401)
    for state in (_S.DONE, _S.CANCELLED):
        refused(upload(phones, phones.desk.order(state, "tech")), 409, "ORDER_CLOSED")
    assert seen(phones, order) == before
    assert upload(phones, order, by="lead", kind="ISSUE").status_code == 201


def test_a_form_without_its_fields_is_422_by_their_names(phones: Phones, order: Order) -> None:
    for fields, named in (
        ({"workOrderId": None}, {"workOrderId"}),
        ({"kind": None}, {"kind"}),
        ({"kind": "completion"}, {"kind"}),
        ({"kind": "SELFIE", "workOrderId": " "}, {"kind", "workOrderId"}),
        ({"device": "x" * 201}, {"device"}),
        ({"device": "a\x07b"}, {"device"}),
    ):
        found = refused(upload(phones, order, **fields), 422)
        assert set(found["fields"]) == named, fields
    bare = send(phones, "POST", "/uploads/photos", content=PHOTO, headers={"content-type": "image/jpeg"})
    assert set(refused(bare, 422)["fields"]) == {"workOrderId", "kind"}
    refused(send(phones, "POST", "/uploads/photos", json={"workOrderId": str(order.order_id)}), 422)
    two = {"workOrderId": str(order.order_id), "kind": "COMPLETION"}
    files = [("file", ("a.jpg", PHOTO)), ("file", ("b.jpg", PHOTO))]
    refused(send(phones, "POST", "/uploads/photos", files=files, data=two), 400)
    assert seen(phones, order)[1] == []


#: What may come under the name of a photo, and what is said of it.
_HOSTILE = {
    "nothing": (b"", 422, "UPLOAD_EMPTY"),
    "a page": (HTML, 415, "UPLOAD_TYPE_NOT_ALLOWED"),
    "a drawing with a script": (b"<svg onload='alert(1)'/>", 415, "UPLOAD_TYPE_NOT_ALLOWED"),
    "a document": (pdf("Receipt"), 415, "UPLOAD_TYPE_NOT_ALLOWED"),
    "words": (b"Two screws", 415, "UPLOAD_TYPE_NOT_ALLOWED"),
    "an archive": (archive(), 415, "UPLOAD_TYPE_NOT_ALLOWED"),
    "half a photo": (PHOTO[:-400], 422, "UPLOAD_UNREADABLE"),
    "a bomb": (png(50_000, 50_000), 422, "UPLOAD_TOO_MANY_PIXELS"),
    "more than 40 megapixels": (png(10_000, 4_001), 422, "UPLOAD_TOO_MANY_PIXELS"),
    "too many bytes": (bytes(LIMITS.file_bytes + 1), 413, "UPLOAD_TOO_LARGE"),
}


def test_what_is_no_picture_or_too_much_is_refused_in_words(phones: Phones, order: Order) -> None:
    for what, (content, status, code) in _HOSTILE.items():
        found = refused(upload(phones, order, content), status, code)
        assert 10 < len(found["message"]) < 200, what
    assert seen(phones, order)[1] == []
    # Two things at once is a picture, and the other is gone.
    both = encoded(halves(), "PNG") + archive()
    body = upload(phones, order, both).json()
    assert b"PK" not in phones.service.http.get(body["url"]).content


def test_a_photo_is_taken_away_before_done_by_who_took_it_and_again_is_the_same(phones: Phones, order: Order) -> None:
    """`DELETE /uploads/photos/:id` -> `204`."""
    body = upload(phones, order).json()
    path = f"/uploads/photos/{body['id']}"
    refused(send(phones, "DELETE", path, "other_tech"), 403)
    refused(send(phones, "DELETE", path, "lead"), 403, "NOT_UPLOADER")
    refused(send(phones, "DELETE", f"/uploads/photos/{uuid4()}"), 404, "PHOTO_NOT_FOUND")
    for _ in range(2):
        answer = send(phones, "DELETE", path)
        assert (answer.status_code, answer.content) == (204, b"")
    refused(phones.service.http.get(body["url"]), 404, "PHOTO_NOT_FOUND")
    kept = upload(phones, order, photo(6)).json()
    phones.desk.change("UPDATE work_orders SET state = 'done', closed_at = now() WHERE id = :id", id=order.order_id)
    refused(send(phones, "DELETE", f"/uploads/photos/{kept['id']}"), 409, "ORDER_CLOSED")
    assert send(phones, "DELETE", path).status_code == 204


def test_links_are_for_one_picture_one_person_and_a_while(phones: Phones, order: Order) -> None:
    body = upload(phones, order).json()
    other = upload(phones, order, photo(6)).json()
    http = phones.service.http
    path, _, token = body["url"].partition("?")
    for address in (
        f"{other['url'].partition('?')[0]}?{token}",
        f"{body['thumbUrl'].partition('?')[0]}?{token}",
        f"{path}?{token[:-2]}xx",
    ):
        refused(http.get(address), 403, "link_not_good")
    content = send(phones, "GET", f"/uploads/photos/{body['id']}/content")
    assert hashlib.sha256(content.content).digest() == hashlib.sha256(http.get(body["url"]).content).digest()
    assert send(phones, "GET", f"/uploads/photos/{body['id']}/thumbnail", "lead").status_code == 200
    refused(send(phones, "GET", f"/uploads/photos/{body['id']}/content", "other_tech"), 403)
    refused(send(phones, "GET", f"/uploads/photos/{uuid4()}/content"), 404)
    # Whoever loses the order loses its pictures: links are no copies of a right.
    phones.desk.change(
        "UPDATE work_orders SET assigned_to_id = :who WHERE id = :id",
        who=phones.desk.person_id("other_tech"),
        id=order.order_id,
    )
    refused(http.get(body["url"]), 403)


def test_a_photo_that_was_erased_is_not_told_again_by_its_key(phones: Phones, order: Order) -> None:
    headers = {"Idempotency-Key": str(uuid4())}
    assert upload(phones, order, headers=headers).status_code == 201
    with phones.desk.db.begin() as connection:
        ticket_id = factories.ticket(connection, phones.desk.org_id)
        values = {"ticket": ticket_id, "id": order.order_id}
        connection.execute(text("UPDATE work_orders SET ticket_id = :ticket WHERE id = :id"), values)
        erasing.erase_tickets(connection, [ticket_id])
        # As when it is out of the store: until then it is 503.
        values = {"org": phones.desk.org_id}
        connection.execute(text("UPDATE blobs SET erased_at = NULL WHERE org_id = :org"), values)
    again = upload(phones, order, headers=headers)
    assert (again.status_code, again.json()) == (201, {})
