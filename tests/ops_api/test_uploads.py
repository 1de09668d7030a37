"""Files on their way in, over a real socket: bounded, spooled without a name, checked to be whole, judged and kept."""

from __future__ import annotations

import base64
import hashlib
import select
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Depends

from models.permissions import Permission
from ops_api import app as composition
from ops_api import guard
from ops_api.access import Access, Scope, change, public
from ops_api.access_rows import TABLE
from ops_api.body_limits import BodyLimit, BodyLimits
from ops_api.guard import GuardedRoute
from ops_api.limits import Limits
from ops_api.upload_bodies import Received
from ops_api.uploads import BODY_LIMIT, UploadCalling, Uploaded, received
from pipeline.core.uploads import LIMITS
from pipeline.runtime.uploads import KIND
from tests.adapters.pdfs import pdf
from tests.adapters.pictures import CAMERA, HTML, encoded, gif, halves, photo, png
from tests.deploy.probes import until
from tests.ops_api.serving import Api, House, rows, serving, settings_for

_NOWHERE = "postgresql://nowhere.invalid/none"
_MANY = 10_000
_PHOTO = photo()


def _rows() -> tuple[Access, ...]:
    bodies = [public(method, "/test/{name}/bodies") for method in ("PUT", "POST")]
    files = [
        change(f"/test/{what}", Scope.SESSION, Permission.OWN_SESSION, body_limit=BODY_LIMIT)
        for what in ("files", "commands")
    ]
    limited = [Access(row.method, row.path, row.scope, body_limit=BODY_LIMIT) for row in bodies]
    return (*limited, *files)


def _router() -> APIRouter:
    router = APIRouter(route_class=GuardedRoute)

    async def bodies(name: str, found: Annotated[Received, Depends(received, scope="function")]) -> dict[str, Any]:
        content = found.read()
        told = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest(), "body": found.body_sha256}
        return told | {"declared": found.declared, "label": found.label, "fields": dict(found.fields)}

    def files(upload: Uploaded) -> dict[str, Any]:
        kept = upload.kept
        place = kept.position and [kept.position.latitude, kept.position.longitude]
        told = {"sha256": kept.sha256, "size": kept.size, "type": kept.content_type, "name": kept.file_name}
        thumbnail = kept.thumbnail and kept.thumbnail.sha256
        told |= {"width": kept.width, "height": kept.height, "taken_at": kept.taken_at, "position": place}
        return told | {"thumbnail": thumbnail, "label": upload.label, "fields": dict(upload.fields)}

    def commands(call: UploadCalling) -> dict[str, Any]:
        return {"body": call.body.decode(), "key": call.key}

    router.add_api_route("/test/{name}/bodies", bodies, methods=["PUT"])
    router.add_api_route("/test/{name}/bodies", bodies, methods=["POST"])
    router.add_api_route("/test/files", files, methods=["POST"])
    router.add_api_route("/test/commands", commands, methods=["POST"])
    return router


def _included() -> APIRouter:
    """Return the app's routes with ours."""
    found = APIRouter()
    found.routes.extend(composition._INCLUDED.routes)
    found.include_router(_router())
    return found


@contextmanager
def _api(url: str, blobs: Path, **limits: Any) -> Iterator[Api]:
    """Serve the app with routes that take files."""
    table = MappingProxyType({**TABLE, **{(row.method, row.path): row for row in _rows()}})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guard, "TABLE", table)
        patch.setattr(composition, "TABLE", table)
        patch.setattr(composition, "_INCLUDED", _included())
        patch.setattr(tempfile, "tempdir", str(blobs))
        settings = settings_for(url, blob_url=f"file://{blobs}/blobs")
        with serving(settings, limits=Limits(write_per_minute=_MANY, **limits)) as running:
            yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where bodies are spooled, if their files had names."""
    return tmp_path_factory.mktemp("spool")


@pytest.fixture(scope="module")
def door(folder: Path) -> Iterator[httpx.Client]:
    with _api(_NOWHERE, folder) as api:
        yield api.client()


def spooled(folder: Path) -> int:
    """How many files without a name this process has open there."""
    found = 0
    for link in Path("/proc/self/fd").iterdir():
        try:
            found += str(link.readlink()).startswith(f"{folder}/")
        except OSError:
            continue
    return found


def chunks(content: bytes, size: int = 65_536) -> Iterator[bytes]:
    for at in range(0, len(content), size):
        yield content[at : at + size]


@pytest.mark.parametrize("method", ["PUT", "POST"])
@pytest.mark.parametrize("how", [bytes, chunks])
def test_a_body_is_the_file_with_a_length_and_without_one(
    door: httpx.Client, folder: Path, method: str, how: Callable[[bytes], Any]
) -> None:
    content = bytes(range(256)) * 8_192
    answer = door.request(method, "/test/a/bodies", content=how(content), headers={"content-type": "image/jpeg"})
    digest = hashlib.sha256(content).hexdigest()
    assert answer.json() == {
        "size": len(content), "sha256": digest, "body": digest, "declared": "image/jpeg", "label": "", "fields": {},
    }  # fmt: skip
    until(lambda: spooled(folder) == 0)
    assert [path.name for path in folder.iterdir() if path.name != "blobs"] == []


def test_the_largest_file_is_taken_and_one_byte_more_is_not(door: httpx.Client) -> None:
    most = LIMITS.file_bytes
    assert door.put("/test/a/bodies", content=bytes(most)).json()["size"] == most
    answer = door.put("/test/a/bodies", content=bytes(most + 1))
    assert (answer.status_code, answer.json()["code"]) == (413, "UPLOAD_TOO_LARGE")
    assert "10 MB" in answer.json()["detail"]


def test_a_length_that_is_too_large_is_refused_before_the_body_comes(door: httpx.Client) -> None:
    head = f"PUT /test/a/bodies HTTP/1.1\r\nHost: localhost\r\nContent-Length: {BODY_LIMIT + 1}\r\n\r\n"
    with connected(door) as client:
        client.sendall(head.encode())
        assert b"UPLOAD_TOO_LARGE" in answer_of(client)


def test_other_addresses_keep_the_common_limit(door: httpx.Client) -> None:
    for method, path in (("POST", "/auth/dev/login"), ("POST", "/test/a/b/bodies"), ("PATCH", "/test/a/bodies")):
        answer = door.request(method, path, content=bytes(1_048_577))
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_an_endless_body_without_a_length_is_ended_at_the_limit(door: httpx.Client, folder: Path) -> None:
    head = b"PUT /test/a/bodies HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk, sent = b"10000\r\n" + bytes(65_536) + b"\r\n", 0
    with connected(door) as client:
        client.sendall(head)
        # What the system takes meanwhile is bounded by its own buffers.
        while not select.select([client], [], [], 0)[0]:
            assert sent < 4 * LIMITS.file_bytes
            client.sendall(chunk)
            sent += len(chunk)
        assert b"UPLOAD_TOO_LARGE" in answer_of(client)
    assert sent >= LIMITS.file_bytes
    until(lambda: spooled(folder) == 0)


def connected(door: httpx.Client) -> socket.socket:
    found = socket.create_connection(("127.0.0.1", door.base_url.port or 0), timeout=20)
    found.settimeout(20)
    return found


def answer_of(client: socket.socket) -> bytes:
    """Return the answer as far as it has a body."""
    answer = b""
    while b"\r\n\r\n" not in answer or not answer.partition(b"\r\n\r\n")[2]:
        part = client.recv(65_536)
        assert part, answer
        answer += part
    return answer


def test_a_connection_that_is_cut_leaves_nothing_behind(door: httpx.Client, folder: Path) -> None:
    form = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'
    for kind, start in ((b"image/jpeg", b""), (b"multipart/form-data; boundary=x", form)):
        with connected(door) as client:
            head = (
                b"PUT /test/a/bodies HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: 9000000\r\n\r\n"
            )
            client.sendall(head % kind + start + bytes(4_000_000))
            until(lambda: spooled(folder) == 1)
        until(lambda: spooled(folder) == 0)
    assert door.put("/test/a/bodies", content=b"next").json()["size"] == 4


def test_a_body_that_comes_is_waited_for_and_one_that_does_not_is_given_up(tmp_path: Path) -> None:
    """When the silent one, which began later, has its answer, the other has taken longer than the deadline."""
    head = b"PUT /test/a/bodies HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\n"
    with (
        _api(_NOWHERE, tmp_path, deadline=timedelta(milliseconds=300), upload_bytes_per_second=1_000) as api,
        connected(api.client()) as talking,
        connected(api.client()) as silent,
    ):
        # Worth half a minute.
        talking.sendall(head + bytes(30_000))
        until(lambda: spooled(tmp_path) == 1)
        silent.sendall(head)
        assert answer_of(silent).startswith(b"HTTP/1.1 503")
        talking.sendall(bytes(30_000))
        assert b'"size":60000' in answer_of(talking)


def test_patience_grows_with_what_came() -> None:
    common = BodyLimit(1, timedelta(seconds=15))
    assert common.deadline_after(10**9) == common.deadline
    own = BodyLimits(_rows(), Limits()).of("PUT", "/test/a/bodies")
    assert own.deadline_after(0) == own.deadline == timedelta(seconds=15)
    # The slowest that is waited for has some three minutes for the largest file.
    assert own.deadline_after(LIMITS.file_bytes) == timedelta(seconds=175)


def digest(content: bytes, name: str = "sha-256") -> str:
    made = hashlib.new(name.replace("-", ""), content).digest()
    return f"{name}=:{base64.b64encode(made).decode()}:"


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (digest(_PHOTO), 200),
        (digest(_PHOTO, "sha-512"), 200),
        (f"unixsum=:AAAA:, {digest(_PHOTO)};q=1 , {digest(_PHOTO, 'sha-512')}", 200),
        ("md5=:AAAA:", 200),
        (digest(_PHOTO[:-1]), 422),
        (f"{digest(_PHOTO)}, {digest(b'', 'sha-512')}", 422),
        ("sha-256=:AAAA:", 422),
        ("sha-256=:A:", 422),
        ("sha-256=AAAA", 422),
        ("nonsense", 422),
    ],
)
def test_a_promised_digest_is_verified(door: httpx.Client, said: str, status: int) -> None:
    answer = door.put("/test/a/bodies", content=_PHOTO, headers={"content-digest": said})
    assert answer.status_code == status
    assert status == 200 or answer.json()["code"] == "UPLOAD_CHECKSUM_MISMATCH"


def test_a_form_brings_one_file_and_some_words(door: httpx.Client) -> None:
    files = {"file": ("C:\\photos\\..\\\u202emoc.jpg", _PHOTO, "image/jpeg")}
    answer = door.post("/test/a/bodies", files=files, data={"kind": "COMPLETION", "note": "ü"})
    said = answer.json()
    assert (said["size"], said["declared"], said["label"]) == (len(_PHOTO), "image/jpeg", "moc.jpg")
    assert said["fields"] == {"kind": "COMPLETION", "note": "ü"}
    assert said["sha256"] == hashlib.sha256(_PHOTO).hexdigest() != said["body"]


_PART = b'--x\r\nContent-Disposition: form-data; name="n%d"%s\r\n\r\n%s\r\n'
_FILE = b'; filename="f"'


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (_PART % (1, _FILE, b"a") + _PART % (2, _FILE, b"b"), 400),
        (_PART % (1, b"", b"a"), 400),
        (_PART % (1, _FILE, b"a") + _PART % (2, b"", b"b" * 5_000), 400),
        (_PART % (1, _FILE, b"a") + b"".join(_PART % (at, b"", b"") for at in range(21)), 400),
        (_PART % (1, _FILE, bytes(LIMITS.file_bytes + 1)), 413),
        (b"--y\r\nno form", 400),
        (b"", 400),
    ],
    ids=["two-files", "no-file", "long-field", "many-fields", "large-file", "other-boundary", "nothing"],
)
@pytest.mark.parametrize("how", ["x", "x; charset=idna", 'x"; charset=rot13'])
def test_a_form_that_is_none_or_too_much_is_refused_and_leaves_nothing(
    door: httpx.Client, folder: Path, body: bytes, status: int, how: str
) -> None:
    content = body + b"--x--\r\n" if body else b""
    headers = {"content-type": f"multipart/form-data; boundary={how}"}
    answer = door.post("/test/a/bodies", content=content, headers=headers)
    assert answer.status_code in {status, 400}
    assert answer.json()["code"] in {"bad_request", "UPLOAD_TOO_LARGE"}
    until(lambda: spooled(folder) == 0)


def test_a_form_without_a_boundary_is_refused(door: httpx.Client) -> None:
    answer = door.post("/test/a/bodies", content=b"x", headers={"content-type": "multipart/form-data"})
    assert answer.status_code == 400


@pytest.fixture
def served(database_url: str, tmp_path: Path) -> Iterator[Api]:
    with _api(database_url, tmp_path) as running:
        yield running


@pytest.fixture
def ours(served: Api, make_house: Callable[[Api], House]) -> House:
    return make_house(served)


def test_files_are_judged_and_kept_once(served: Api, ours: House, tmp_path: Path) -> None:
    ann = served.person(ours.org_id)
    before = rows(served.db, "SELECT count(*) FROM blobs")[0][0]
    first = ann.post("/test/files", content=_PHOTO, headers={"content-type": "image/jpeg"}).json()
    assert first["type"] == "image/jpeg"
    assert (first["name"], first["width"], first["height"]) == ("photo.jpg", 48, 16)
    assert first["taken_at"].startswith("2026-05-01T08:11:12")
    assert first["position"] == [48.137222, -11.575556]
    again = ann.post("/test/files", files={"file": ("evil.html", _PHOTO, "application/octet-stream")}).json()
    assert again == first | {"label": "evil.html"}
    stored = served.app.state.services.raws.store().get(KIND, [first["sha256"], first["thumbnail"]])
    assert not any(CAMERA in content for content in stored.values())
    assert len(stored[first["sha256"]]) == first["size"]
    assert len(stored) == 2
    assert rows(served.db, "SELECT count(*) FROM blobs") == [(before + 2,)]
    receipt = pdf("Receipt")
    kept = ann.post("/test/files", content=receipt).json()
    assert (kept["sha256"], kept["name"], kept["thumbnail"]) == (
        hashlib.sha256(receipt).hexdigest(),
        "document.pdf",
        None,
    )
    assert ann.post("/test/files", content=b"Two screws").json()["type"] == "text/plain"
    refused_files(ann.http)


def refused_files(client: httpx.Client) -> None:
    """Send what is not taken; each has its code, its status and its words."""
    asked = {
        "nothing": (b"", "", 422, "UPLOAD_EMPTY"),
        "an HTML page called a picture": (HTML, "image/jpeg", 415, "UPLOAD_TYPE_NOT_ALLOWED"),
        "SVG": (b"<svg onload='alert(1)'/>", "image/svg+xml", 415, "UPLOAD_TYPE_NOT_ALLOWED"),
        "another type": (_PHOTO, "image/png", 415, "UPLOAD_TYPE_MISMATCH"),
        "half a photo": (_PHOTO[:-200], "image/jpeg", 422, "UPLOAD_UNREADABLE"),
        "half a picture": (encoded(halves(), "PNG")[:-40], "", 422, "UPLOAD_UNREADABLE"),
        "a PDF with a page behind": (pdf("x") + HTML, "", 422, "UPLOAD_UNREADABLE"),
        "a bomb": (png(50_000, 50_000), "image/png", 422, "UPLOAD_TOO_MANY_PIXELS"),
        "a wide screen": (b"GIF89a\xff\xff\xff\xff" + gif(1)[10:], "", 422, "UPLOAD_TOO_MANY_PIXELS"),
    }
    for what, (content, kind, status, code) in asked.items():
        answer = client.post("/test/files", content=content, headers={"content-type": kind} if kind else {})
        assert (answer.status_code, answer.json()["code"]) == (status, code), what
        assert 10 < len(answer.json()["detail"]) < 200


def test_nobody_uploads_before_signing_in_and_a_key_is_bound_to_the_file(served: Api, ours: House) -> None:
    assert served.client().post("/test/files", content=chunks(bytes(5_000_000))).status_code == 401
    ann = served.person(ours.org_id)
    said = [
        ann.post("/test/commands", files={"file": (name, content)}, headers={"idempotency-key": "k"}).json()
        for name, content in (("a.jpg", _PHOTO), ("a.jpg", _PHOTO), ("a.jpg", photo(6)), ("b.jpg", _PHOTO))
    ]
    assert said[0] == said[1]
    assert said[0]["key"] == "k"
    assert len({one["body"] for one in said}) == 3


def test_while_a_body_comes_no_transaction_is_open(served: Api, ours: House, tmp_path: Path) -> None:
    ann = served.person(ours.org_id)
    open_ones = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'"
    )
    with talking(ann.http, "/test/commands", tmp_path):
        assert rows(served.db, open_ones) == [(0,)]


@contextmanager
def talking(client: httpx.Client, path: str, folder: Path) -> Iterator[None]:
    """Have half a body sent while the block runs."""
    cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    head = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Cookie: {cookies}", "Content-Length: 200000"]
    head += [f"{name}: {value}" for name, value in client.headers.items() if name.startswith("x-")]
    with connected(client) as sender:
        sender.sendall("\r\n".join([*head, "", ""]).encode() + bytes(100_000))
        until(lambda: spooled(folder) == 1)
        yield
    until(lambda: spooled(folder) == 0)


def test_what_cannot_be_judged_or_stored_now_is_to_be_sent_again(
    database_url: str, tmp_path: Path, make_house: Any
) -> None:
    with _api(database_url, tmp_path) as api:
        ann = api.person(make_house(api).org_id)
        (tmp_path / "blobs").mkdir(exist_ok=True)
        (tmp_path / "blobs" / KIND).write_text("no folder")
        answer = ann.post("/test/files", content=_PHOTO)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")


def test_a_route_that_takes_a_file_says_so(door: httpx.Client) -> None:
    described = door.get("/openapi.json").json()["paths"]["/test/files"]["post"]
    content = described["requestBody"]["content"]
    assert {"image/jpeg", "application/pdf", "multipart/form-data"} <= set(content)
    assert {"400", "413", "415", "422"} <= set(described["responses"])
