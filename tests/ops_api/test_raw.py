"""The raw bytes of an occurrence over HTTP: unchanged, never shown, and only to its own organization."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from models.enums import BlobKind
from ops_api.limits import Limits
from ops_api.raws import READS
from ops_api.routes import raw as route
from pipeline.adapters.blobs import open_blob_store
from pipeline.runtime.blob_rows import note_blobs
from tests.ops_api.serving import Api, House, change, house, serving, settings_for
from tests.worker_process import until

RAW = b"From: ann@example.org\r\nSubject: <script>\xff\x00\r\n\r\n" + os.urandom(200_000)


@pytest.fixture
def api(database_url: str, tmp_path: Path) -> Iterator[Api]:
    """Serve with a blob store that holds one mail."""
    url = (tmp_path / "blobs").as_uri()
    open_blob_store(url).put(BlobKind.RAW, {hashlib.sha256(RAW).hexdigest(): RAW})
    with serving(settings_for(database_url, blob_url=url)) as running:
        yield running


@pytest.fixture
def mail(api: Api) -> House:
    """A house whose occurrence has the mail's bytes; it is quarantined, as what cannot be read is."""
    found = house(api.db, "mail")
    name(api, found, hashlib.sha256(RAW).digest())
    return found


def name(api: Api, found: House, sha256: bytes) -> None:
    """Say of the house's occurrence that its bytes are these, and are kept."""
    with api.db.begin() as connection:
        note_blobs(connection, BlobKind.RAW, [(found.org_id, sha256, 1, 1)])
    change(api.db, "UPDATE occurrences SET raw_sha256 = :sha256 WHERE id = :id", id=found.occurrence_id, sha256=sha256)


def _path(found: House) -> str:
    return f"/ops/occurrences/{found.occurrence_id}/raw"


def test_the_bytes_come_unchanged_as_a_file_that_no_browser_shows(api: Api, mail: House) -> None:
    answer = api.person(mail.org_id).get(_path(mail))
    assert answer.status_code == 200
    assert answer.content == RAW
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == f'attachment; filename="occurrence-{mail.occurrence_id}.eml"'
    assert answer.headers["content-length"] == str(len(RAW))
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert "no-store" in answer.headers["cache-control"]


def test_another_organizations_mail_does_not_exist(api: Api, mail: House) -> None:
    other = house(api.db, "other")
    answer = api.person(other.org_id).get(_path(mail))
    assert answer.status_code == 404
    assert api.person(mail.org_id).get("/ops/occurrences/999999/raw").json()["detail"] == answer.json()["detail"]


@pytest.mark.parametrize("role", ["agent", "viewer"])
def test_only_operators_may_have_it(api: Api, mail: House, role: str) -> None:
    assert api.person(mail.org_id, role).get(_path(mail)).status_code == 403


def test_what_was_not_fetched_has_no_bytes(api: Api, mail: House) -> None:
    change(api.db, "UPDATE occurrences SET state = 'seen', raw_sha256 = NULL WHERE id = :id", id=mail.occurrence_id)
    answer = api.person(mail.org_id).get(_path(mail))
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert "not fetched" in answer.json()["detail"]


def test_bytes_that_the_store_does_not_have_are_not_the_callers_fault(api: Api, mail: House) -> None:
    name(api, mail, bytes(32))
    answer = api.person(mail.org_id).get(_path(mail))
    assert (answer.status_code, "not in the blob store" in answer.json()["detail"]) == (503, True)


def test_a_server_without_a_blob_store_says_what_to_set(database_url: str) -> None:
    with serving(settings_for(database_url)) as running:
        found = house(running.db, "mail")
        answer = running.person(found.org_id).get(_path(found))
    assert (answer.status_code, "FIELDPOST_BLOB_URL" in answer.json()["detail"]) == (503, True)


@pytest.mark.parametrize("number", ["0", "-1", "x", "9" * 30])
def test_nonsense_is_refused(api: Api, mail: House, number: str) -> None:
    assert api.person(mail.org_id).get(f"/ops/occurrences/{number}/raw").status_code == 422


def slow_client(api: Api, found: House) -> socket.socket:
    """Ask for the mail, take its head, and read no further."""
    http = api.person(found.org_id).http
    asked = f"GET {_path(found)} HTTP/1.1\r\nHost: {http.base_url.host}:{http.base_url.port}\r\n"
    asked += f"Cookie: {'; '.join(f'{name}={value}' for name, value in http.cookies.items())}\r\n\r\n"
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(30)
    client.connect((http.base_url.host, http.base_url.port or 80))
    client.sendall(asked.encode())
    assert client.recv(64).startswith(b"HTTP/1.1 200")
    return client


@pytest.fixture
def large(database_url: str, tmp_path: Path) -> Iterator[tuple[Api, House]]:
    """Serve a mail that no socket's buffers hold, with little patience for those who wait for their turn."""
    raw = os.urandom(16_000_000)
    url = (tmp_path / "blobs").as_uri()
    open_blob_store(url).put(BlobKind.RAW, {hashlib.sha256(raw).hexdigest(): raw})
    with serving(settings_for(database_url, blob_url=url), limits=Limits(deadline=timedelta(seconds=1))) as running:
        found = house(running.db, "mail")
        name(running, found, hashlib.sha256(raw).digest())
        yield running, found


def test_no_more_mails_are_held_than_there_are_turns_however_slow_their_readers_are(large: tuple[Api, House]) -> None:
    api, found = large
    clients = [slow_client(api, found) for _ in range(READS)]
    assert api.person(found.org_id).get(_path(found)).status_code == 503
    clients[0].close()
    until(lambda: api.person(found.org_id).get(_path(found)).status_code == 200, "a turn is free")
    for one in clients:
        one.close()


def test_who_takes_too_long_loses_the_connection_and_the_next_has_the_turn(
    large: tuple[Api, House], monkeypatch: pytest.MonkeyPatch
) -> None:
    api, found = large
    monkeypatch.setattr(route, "_PATIENCE", timedelta(milliseconds=300))
    monkeypatch.setattr(route, "_PER_CHUNK", timedelta(milliseconds=1))
    clients = [slow_client(api, found) for _ in range(READS)]
    monkeypatch.setattr(route, "_PATIENCE", timedelta(seconds=30))
    until(lambda: api.person(found.org_id).get(_path(found)).status_code == 200, "a turn is free")
    for one in clients:
        taken = sum(map(len, iter(lambda one=one: one.recv(1_000_000), b"")))
        assert taken < 16_000_000
        one.close()
