"""Uploads by tus 1.0.0, written from its text: headers, offsets, checksums, cuts, and the photo that comes of them."""

from __future__ import annotations

import base64
import hashlib
import random
import select
import socket
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from models.enums import WorkOrderState
from pipeline.core.orders import Order
from pipeline.core.resumable import write_metadata
from pipeline.core.uploads import LIMITS
from tests.adapters.pictures import HTML, encoded, halves, photo
from tests.conformance.phones import Phones, refused
from tests.conformance.service import Service
from tests.factories import rows
from tests.worker_process import until

_S = WorkOrderState
_RESUMABLE = "/api/v1/uploads/resumable"
SPOKEN = {"Tus-Resumable": "1.0.0"}
BYTES = {"Content-Type": "application/offset+octet-stream"}
PHOTO = photo(size=(400, 300), quality=95)


@pytest.fixture
def phones(service: Service) -> Phones:
    return Phones.of(service)


@pytest.fixture
def order(phones: Phones) -> Order:
    return phones.desk.order(_S.IN_PROGRESS, "tech")


class Client:
    """A tus client of one person."""

    def __init__(self, phones: Phones, by: str = "tech") -> None:
        self.http, self._headers = phones.service.http, {**SPOKEN, **phones.bearer(by)}

    def ask(self, method: str, path: str = _RESUMABLE, content: bytes = b"", **headers: str | None) -> httpx.Response:
        """Send a request; a header that is None is left out, and `_` in its name is `-`."""
        said = self._headers | {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {name: value for name, value in said.items() if value is not None}
        return self.http.request(method, path, headers=sent, content=content or None)

    def begin(self, order: Order, length: int = len(PHOTO), content: bytes = b"", **said: Any) -> httpx.Response:
        """Begin an upload; what is named are its metadata, or headers in upper case."""
        headers = {name: said.pop(name) for name in list(said) if name[0].isupper()}
        metadata = {"workOrderId": str(order.order_id), "kind": "COMPLETION", "filename": "IMG_1.jpg", **said}
        headers = {"Upload_Length": str(length), "Upload_Metadata": write_metadata(metadata), **headers}
        return self.ask("POST", content=content, **(BYTES if content else {}), **headers)

    def put(self, path: str, content: bytes, offset: int, **headers: str | None) -> httpx.Response:
        """Send bytes of an upload."""
        return self.ask("PATCH", path, content, **{**BYTES, "Upload-Offset": str(offset), **headers})

    def offset(self, path: str) -> int:
        """Ask how far an upload is."""
        answer = self.ask("HEAD", path)
        assert answer.status_code == 200
        return int(answer.headers["upload-offset"])

    def cut(self, path: str, content: bytes, offset: int, sent: int) -> None:
        """Send the head and a part of the bytes, and go away when the server has begun to read them, or refuses."""
        url, before = self.http.base_url, spooled()
        said = {**self._headers, **BYTES, "Upload-Offset": str(offset), "Content-Length": str(len(content))}
        head = "".join(f"{name}: {value}\r\n" for name, value in said.items())
        with socket.create_connection((url.host, url.port or 80), timeout=20) as line:
            line.sendall(f"PATCH {path} HTTP/1.1\r\nHost: {url.host}\r\n{head}\r\n".encode() + content[:sent])
            until(lambda: spooled() > before or select.select([line], [], [], 0)[0], "a server that reads")


def spooled() -> int:
    """Return how many files without a name this process, which is the server's, has open."""
    found = 0
    for link in Path("/proc/self/fd").iterdir():
        try:
            found += str(link.readlink()).endswith(" (deleted)")
        except OSError:
            continue
    return found


@pytest.fixture
def client(phones: Phones) -> Client:
    return Client(phones)


def spoken(answer: httpx.Response, status: int, **headers: str) -> Mapping[str, str]:
    """Check status, version and headers of an answer; `_` in a name is `-`."""
    assert answer.status_code == status, answer.text
    assert answer.headers["tus-resumable"] == "1.0.0"
    found = {name: answer.headers.get(name.replace("_", "-")) for name in headers}
    assert found == headers
    return answer.headers


def photos(phones: Phones, order: Order) -> list[Any]:
    statement = "SELECT id, kind, encode(source_sha256, 'hex') AS sha256 FROM order_photos WHERE order_id = :id"
    return rows(phones.desk.db, statement, id=order.order_id)


def sha256(content: bytes) -> str:
    return f"sha256 {base64.b64encode(hashlib.sha256(content).digest()).decode()}"


def test_options_say_what_is_spoken_to_anybody(phones: Phones) -> None:
    answer = phones.service.http.options(_RESUMABLE)
    assert answer.status_code == 204
    said = {name: answer.headers[name] for name in ("tus-version", "tus-max-size", "tus-checksum-algorithm")}
    assert said == {
        "tus-version": "1.0.0", "tus-max-size": str(LIMITS.file_bytes), "tus-checksum-algorithm": "sha256",
    }  # fmt: skip
    extensions = set(answer.headers["tus-extension"].split(","))
    assert extensions == {"creation", "creation-with-upload", "expiration", "checksum", "termination"}


def test_an_upload_goes_on_where_it_is_until_it_is_a_photo(phones: Phones, client: Client, order: Order) -> None:
    begun = client.begin(order, device="Pixel 9", clientId="c-1")
    path = spoken(begun, 201, upload_offset="0")["location"]
    assert path.startswith(f"{_RESUMABLE}/")
    assert begun.headers["upload-expires"].endswith(" GMT")
    spoken(client.put(path, PHOTO[:700], 0), 204, upload_offset="700")
    head = spoken(client.ask("HEAD", path), 200, upload_offset="700", upload_length=str(len(PHOTO)))
    assert head["cache-control"] == "no-store"
    said = {"workOrderId": str(order.order_id), "kind": "COMPLETION", "device": "Pixel 9", "clientId": "c-1"}
    assert head["upload-metadata"] == write_metadata(said)
    wrong = client.put(path, PHOTO[:700], 0)
    spoken(wrong, 409, upload_offset="700")
    refused(wrong, 409, "OFFSET_MISMATCH")
    spoken(client.put(path, PHOTO[701:], 701), 409, upload_offset="700")
    done = spoken(client.put(path, PHOTO[700:], 700), 204, upload_offset=str(len(PHOTO)))
    ((photo_id, kind, digest),) = photos(phones, order)
    assert (done["upload-photo-id"], kind, digest) == (str(photo_id), "COMPLETION", hashlib.sha256(PHOTO).hexdigest())
    # Who did not hear of it is told by whatever they ask next.
    for again in (
        client.ask("HEAD", path), client.put(path, b"", len(PHOTO)), client.put(path, PHOTO[700:], 700),
        client.begin(order, device="another", clientId="c-1"),
    ):  # fmt: skip
        assert again.headers["upload-photo-id"] == str(photo_id)
        assert again.headers["upload-offset"] == str(len(PHOTO))
    assert (again.status_code, again.headers["location"], again.json()["photoId"]) == (200, path, str(photo_id))
    spoken(client.ask("DELETE", path), 204)
    spoken(client.ask("HEAD", path), 404)
    assert len(photos(phones, order)) == 1


def test_the_first_bytes_may_come_with_the_beginning_and_be_all(phones: Phones, client: Client, order: Order) -> None:
    part = spoken(client.begin(order, content=PHOTO[:10], clientId="a"), 201, upload_offset="10")
    # Sent again it goes on where it is: its bytes are not taken twice.
    again = client.begin(order, content=PHOTO[:10], clientId="a")
    assert spoken(again, 200, upload_offset="10")["location"] == part["location"]
    whole = spoken(client.begin(order, content=PHOTO), 201, upload_offset=str(len(PHOTO)))
    ((photo_id, _, _),) = photos(phones, order)
    assert whole["upload-photo-id"] == str(photo_id)
    # The same picture by another way is the same photo.
    rest = spoken(client.put(part["location"], PHOTO[10:], 10), 204)
    assert rest["upload-photo-id"] == str(photo_id)


def test_a_checksum_is_verified_before_a_byte_is_kept(phones: Phones, client: Client, order: Order) -> None:
    path = client.begin(order).headers["location"]
    good = sha256(PHOTO[:500])
    refused(client.put(path, PHOTO[:499], 0, **{"Upload-Checksum": good}), 460, "CHECKSUM_MISMATCH")
    refused(client.put(path, PHOTO[:500], 0, **{"Upload-Checksum": "sha1 QUFB"}), 400)
    refused(client.put(path, PHOTO[:500], 0, **{"Upload-Checksum": "sha256 QUFB"}), 400)
    assert client.offset(path) == 0
    spoken(client.put(path, PHOTO[:500], 0, **{"Upload-Checksum": good}), 204, upload_offset="500")
    # Of the whole it may be promised in the beginning; then a wrong byte before does not become a photo.
    digest = hashlib.sha256(PHOTO).hexdigest()
    path = client.begin(order, sha256=digest).headers["location"]
    client.put(path, b"x" + PHOTO[1:500], 0)
    spoken(client.put(path, PHOTO[500:], 500), 460, upload_offset="0")
    assert (client.offset(path), photos(phones, order)) == (0, [])
    spoken(client.put(path, PHOTO, 0), 204)
    assert len(photos(phones, order)) == 1


def test_what_is_not_said_as_the_protocol_says_it_is_refused(phones: Phones, client: Client, order: Order) -> None:
    for version in (None, "0.2.2"):
        answer = client.begin(order, Tus_Resumable=version)
        assert (answer.status_code, answer.headers["tus-version"]) == (412, "1.0.0")
    refused(client.begin(order, Upload_Length=None), 400)
    refused(client.begin(order, Upload_Length="0"), 400)
    refused(client.begin(order, Upload_Length=None, Upload_Defer_Length="1"), 400)
    refused(client.begin(order, LIMITS.file_bytes + 1), 413, "UPLOAD_TOO_LARGE")
    refused(client.begin(order, Upload_Metadata="kind"), 422)
    refused(client.begin(order, Upload_Metadata="kind !"), 400)
    assert set(refused(client.begin(order, kind="SELFIE", sha256="x"), 422)["fields"]) == {"kind", "sha256"}
    path = client.begin(order).headers["location"]
    refused(client.put(path, b"a", 0, **{"Content-Type": "image/jpeg"}), 415)
    refused(client.ask("PATCH", path, b"a", **BYTES), 400)
    refused(client.put(path, PHOTO + b"x", 0), 413, "UPLOAD_TOO_LONG")
    assert client.offset(path) == 0


def test_an_upload_is_its_owners_and_begins_only_where_it_may_end(phones: Phones, client: Client, order: Order) -> None:
    path = client.begin(order).headers["location"]
    for by in ("other_tech", "lead"):
        stranger = Client(phones, by)
        assert stranger.ask("HEAD", path).status_code == 404
        refused(stranger.put(path, b"a", 0), 404, "UPLOAD_NOT_FOUND")
        refused(stranger.ask("DELETE", path), 404, "UPLOAD_NOT_FOUND")
        refused(stranger.begin(order), 403)
    refused(client.ask("POST", authorization=None), 401)
    refused(client.begin(phones.desk.order(_S.DONE, "tech")), 409, "ORDER_CLOSED")
    refused(client.begin(order, workOrderId=str(uuid4())), 404, "WORK_ORDER_NOT_FOUND")
    # It was taken from its owner meanwhile: what came stays until its time is over, and is no photo.
    who = phones.desk.person_id("other_tech")
    phones.desk.change("UPDATE work_orders SET assigned_to_id = :who WHERE id = :id", who=who, id=order.order_id)
    spoken(client.put(path, PHOTO, 0), 403)
    assert (client.offset(path), photos(phones, order)) == (0, [])


def test_a_file_that_is_no_picture_becomes_no_photo_and_may_be_given_up(
    phones: Phones, client: Client, order: Order
) -> None:
    path = client.begin(order, len(HTML)).headers["location"]
    client.put(path, HTML[:9], 0)
    refused(client.put(path, HTML[9:], 9), 415, "UPLOAD_TYPE_NOT_ALLOWED")
    assert (client.offset(path), photos(phones, order)) == (9, [])
    spoken(client.ask("DELETE", path), 204)
    refused(client.put(path, HTML[9:], 9), 404, "UPLOAD_NOT_FOUND")


def test_a_cut_connection_keeps_what_came_of_it(phones: Phones, client: Client, order: Order) -> None:
    path = client.begin(order).headers["location"]
    client.cut(path, PHOTO, 0, 900)
    until(lambda: client.offset(path) == 900, "the bytes that came")
    spoken(client.put(path, PHOTO[900:], 900), 204)
    assert len(photos(phones, order)) == 1


def test_two_that_send_the_same_bytes_at_once_add_them_once(phones: Phones, client: Client, order: Order) -> None:
    path = client.begin(order).headers["location"]
    with ThreadPoolExecutor(4) as pool:
        first = list(pool.map(lambda _: client.put(path, PHOTO[:800], 0).status_code, range(4)))
        last = list(pool.map(lambda _: client.put(path, PHOTO[800:], 800).status_code, range(4)))
    assert sorted(first) == [204, 409, 409, 409]
    assert set(last) <= {204, 409}
    assert 204 in last
    assert len(photos(phones, order)) == 1


def in_a_tunnel(client: Client, order: Order, draw: random.Random, content: bytes, name: str) -> Counter[str]:
    """Upload a picture from a phone that never knows what arrived: it asks and goes on, or it does not ask."""
    path = client.begin(order, len(content), clientId=name).headers["location"]
    offset, done = 0, Counter[str]()
    while offset < len(content):
        size = draw.randint(1, len(content) // 2)
        what = draw.choice(("send", "send", "cut", "cut", "stale", "ahead", "begin"))
        done[what] += 1
        match what:
            case "send":
                client.put(path, content[offset : offset + size], offset)
            case "cut":
                client.cut(path, content[offset:], offset, min(size, len(content) - offset - 1))
            case "stale":
                client.put(path, content[:size], max(0, offset - size))
            case "ahead":
                assert client.put(path, content[-1:], len(content)).status_code == 409
            case _:
                assert client.begin(order, len(content), clientId=name).headers["location"] == path
        now = client.offset(path)
        assert now >= offset, name
        offset = now
    return done


@pytest.mark.parametrize("number", [2, pytest.param(60, marks=pytest.mark.soak)])
def test_whatever_is_cut_repeated_or_sent_out_of_order_the_photo_is_the_one_that_was_taken(
    phones: Phones, client: Client, order: Order, number: int
) -> None:
    seed = random.randrange(2**32)
    draw, done = random.Random(seed), Counter[str]()
    taken = [encoded(halves(size=(60 + n, 40)), "PNG") for n in range(number)]
    for n, content in enumerate(taken):
        done += in_a_tunnel(client, order, draw, content, f"seed-{seed}-{n}")
    print(f"seed {seed}: {dict(done)}")
    found = sorted(row.sha256 for row in photos(phones, order))
    assert found == sorted(hashlib.sha256(content).hexdigest() for content in taken), f"seed {seed}"
    assert phones.desk.rows("SELECT count(*) FROM upload_parts WHERE org_id = :org") == [(0,)]
