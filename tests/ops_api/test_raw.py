"""The raw bytes of an occurrence over HTTP: unchanged, never shown, and only to its own organization."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.enums import BlobKind
from ops_api.access import Role
from pipeline.adapters.blobs import open_blob_store
from tests.ops_api.serving import Api, House, change, house, serving, settings_for

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
    change(
        api.db, "UPDATE occurrences SET raw_sha256 = :sha256 WHERE id = :id",
        id=found.occurrence_id, sha256=hashlib.sha256(RAW).digest(),
    )  # fmt: skip
    return found


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


@pytest.mark.parametrize("role", [Role.AGENT, Role.VIEWER])
def test_only_operators_may_have_it(api: Api, mail: House, role: Role) -> None:
    assert api.person(mail.org_id, role).get(_path(mail)).status_code == 403


def test_what_was_not_fetched_has_no_bytes(api: Api, mail: House) -> None:
    change(api.db, "UPDATE occurrences SET state = 'seen', raw_sha256 = NULL WHERE id = :id", id=mail.occurrence_id)
    answer = api.person(mail.org_id).get(_path(mail))
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert "not fetched" in answer.json()["detail"]


def test_bytes_that_the_store_does_not_have_are_not_the_callers_fault(api: Api, mail: House) -> None:
    change(api.db, "UPDATE occurrences SET raw_sha256 = :sha256", sha256=bytes(32))
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
