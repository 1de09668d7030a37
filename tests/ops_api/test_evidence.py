"""Evidence over HTTP: uploaded, listed, given out within reach, and what a closeout still needs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from ops_api.limits import Limits
from pipeline.runtime import uploads
from tests.adapters.pictures import CAMERA, HTML, photo
from tests.commands.field_desk import FieldDesk
from tests.commands.site_work import on_site
from tests.ops_api.serving import Api, Person, serving, settings_for

_MANY = 10_000
KEY = "photo_before_door_edge_and_strike"
PHOTO = photo()
SENT = hashlib.sha256(PHOTO).hexdigest()
JPEG = {"content-type": "image/jpeg"}


@dataclass(frozen=True, slots=True)
class Site:
    """A ticket that a technician works on, over HTTP."""

    api: Api
    desk: FieldDesk
    ticket_id: UUID
    tech: Person
    dispatcher: Person

    def path(self, rest: str = "") -> str:
        """Return an address below the ticket's evidence."""
        return f"/tickets/{self.ticket_id}/evidence{rest}"

    def person(self, name: str) -> Person:
        """Sign somebody of the desk in."""
        person_id = self.desk.people[name].person_id
        assert person_id is not None
        return self.api.signed_in(self.desk.org_id, person_id)

    def upload(self, content: bytes = PHOTO, *, headers: dict[str, str] | None = None, **query: str) -> httpx.Response:
        """Upload a file as the technician."""
        return self.tech.post(self.path("/uploads"), content=content, headers=headers or JPEG, params=query)

    def command(self, person: Person, path: str, body: dict[str, Any]) -> httpx.Response:
        """Send a command with a key of its own."""
        return person.post(f"/tickets/{self.ticket_id}{path}", json=body, headers={"Idempotency-Key": str(uuid4())})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("blobs")


@pytest.fixture
def api(database_url: str, folder: Path) -> Iterator[Api]:
    limits = Limits(write_per_minute=_MANY, read_per_minute=_MANY, download_per_minute=_MANY)
    with serving(settings_for(database_url, blob_url=folder.as_uri()), limits=limits) as running:
        yield running


@pytest.fixture
def site(api: Api) -> Site:
    desk = FieldDesk.of(api.db)
    found = Site(api, desk, on_site(desk), Person(api.client()), Person(api.client()))
    return Site(api, desk, found.ticket_id, found.person("tech"), found.person("dispatcher"))


def code(answer: httpx.Response) -> str:
    return str(answer.json()["error"]["code"])


def test_a_photo_is_stored_without_what_the_camera_tells_and_given_out_as_a_file(site: Site) -> None:
    answer = site.upload(evidence_key=KEY)
    assert answer.status_code == 201, answer.text
    body = answer.json()
    assert (body["checksum"], body["content_type"], body["evidence_key"]) == (SENT, "image/jpeg", KEY)
    assert body["uri"] == f"fieldpost://evidence/{body['sha256']}"
    assert (body["taken_at"], body["has_thumbnail"]) == ("2026-05-01T08:11:12Z", True)
    assert round(body["position"]["latitude"], 3) == 48.137
    content = site.tech.get(site.path(f"/{body['id']}/content"))
    assert content.status_code == 200
    assert hashlib.sha256(content.content).hexdigest() == body["sha256"]
    assert CAMERA not in content.content
    assert content.headers["content-disposition"].startswith('attachment; filename="photo.jpg"')
    assert content.headers["x-content-type-options"] == "nosniff"
    assert content.headers["content-security-policy"] == "sandbox; default-src 'none'"
    small = site.dispatcher.get(site.path(f"/{body['id']}/thumbnail"))
    assert (small.status_code, small.headers["content-type"]) == (200, "image/jpeg")
    again = site.upload(evidence_key=KEY)
    assert (again.status_code, again.json()) == (200, body)
    _refused_in_many_ways(site, body["id"])


def _refused_in_many_ways(site: Site, evidence_id: str) -> None:
    """What is no photo, too much, out of reach or not a technician's is not taken, and nothing is kept of it."""
    for content, headers, expected in (
        (HTML, JPEG, (415, "UPLOAD_TYPE_NOT_ALLOWED")),
        (b"", JPEG, (400, "UPLOAD_EMPTY")),
        (PHOTO, {"content-type": "image/png"}, (415, "UPLOAD_TYPE_MISMATCH")),
        (PHOTO[:200], JPEG, (400, "UPLOAD_UNREADABLE")),
        (PHOTO, JPEG | {"content-digest": f"sha-256=:{'A' * 43}=:"}, (400, "UPLOAD_CHECKSUM_MISMATCH")),
    ):
        answer = site.upload(content, headers=headers)
        assert (answer.status_code, code(answer)) == expected
    qa, customer = site.person("qa"), site.person("customer")
    assert qa.post(site.path("/uploads"), content=PHOTO, headers=JPEG).status_code == 403
    assert qa.get(site.path(f"/{evidence_id}/content")).status_code == 200
    assert customer.get(site.path(f"/{evidence_id}/content")).status_code == 403
    nowhere = site.tech.post(f"/tickets/{uuid4()}/evidence/uploads", content=PHOTO, headers=JPEG)
    assert (nowhere.status_code, code(nowhere)) == (404, "TICKET_NOT_FOUND")
    assert site.tech.get(site.path(f"/{uuid4()}/content")).status_code == 404
    assert len(site.tech.get(site.path()).json()["evidence"]) == 1
    # Known to be refused only when it is stored: what is left of it is erased, as nobody else would.
    others = site.person("other_tech").post(site.path("/uploads"), content=photo(size=(32, 32)), headers=JPEG)
    assert (others.status_code, code(others)) == (403, "NOT_ASSIGNED")
    site.desk.change("UPDATE blobs SET created_at = now() - interval '25 hours'")
    with site.api.db.begin() as connection:
        uploads.let_go(connection)
    left = "SELECT count(*) FILTER (WHERE erased_at IS NULL), count(*) FROM blobs WHERE kind = 'evidence'"
    assert site.desk.rows(left) == [(2, 4)]
    assert site.desk.rows("SELECT count(*) FROM jobs WHERE stage = 'forget' AND org_id = :org") == [(1,)]


def test_a_link_is_good_for_one_file_without_a_session_and_for_its_person_alone(site: Site) -> None:
    evidence_id = site.upload(evidence_key=KEY).json()["id"]
    url = site.tech.get(site.path(f"/{evidence_id}/link")).json()["url"]
    nobody = site.api.client()
    assert nobody.get(url).status_code == 200
    assert site.dispatcher.get(url).status_code == 403
    assert nobody.get(url.replace(evidence_id, str(uuid4()))).status_code == 403
    assert nobody.get(url[:-2] + "xx").status_code == 403
    site.desk.change("UPDATE blobs SET erased_at = now() WHERE org_id = :org AND kind = 'evidence'")
    gone = nobody.get(url)
    assert (gone.status_code, code(gone)) == (404, "EVIDENCE_NOT_FOUND")


def test_a_list_goes_on_page_by_page_oldest_first_in_the_contracts_words(site: Site) -> None:
    for number in range(5):
        body = {"kind": "PHOTO", "uri": f"s3://bucket/{number}.jpg", "metadata": {"evidence_key": KEY}}
        assert site.command(site.tech, "/evidence", body).status_code == 201
    whole = site.tech.get(site.path(), headers={"X-Tool-Name": "closeout.list_evidence"}).json()
    assert (whole["ticket_id"], whole["next_cursor"]) == (str(site.ticket_id), None)
    assert [one["uri"] for one in whole["evidence"]] == [f"s3://bucket/{number}.jpg" for number in range(5)]
    assert {one["metadata"]["evidence_key"] for one in whole["evidence"]} == {KEY}
    found, cursor = [], None
    while True:
        page = site.tech.get(site.path(), params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        found += page["evidence"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert found == whole["evidence"]
    assert code(site.tech.get("/tickets/none/evidence")) == "INVALID_TICKET_ID"
    assert code(site.tech.get(f"/tickets/{uuid4()}/evidence")) == "TICKET_NOT_FOUND"
    assert site.person("customer").get(site.path()).status_code == 403


def test_a_wrong_reference_is_400_by_the_name_of_its_field_and_needs_a_key_of_the_request(site: Site) -> None:
    body = {"kind": "PHOTO", "uri": "file:///tmp/a.jpg", "evidence_key": KEY}
    answer = site.command(site.tech, "/evidence", body)
    assert (answer.status_code, code(answer)) == (400, "INVALID_REQUEST")
    assert list(answer.json()["error"]["fields"]) == ["uri"]
    answer = site.command(site.tech, "/evidence", body | {"uri": "s3://bucket"})
    assert (answer.status_code, list(answer.json()["error"]["fields"])) == (400, ["uri"])
    unnamed = site.tech.post(site.path(), json=body | {"uri": "s3://bucket/a.jpg"})
    assert code(unnamed) == "MISSING_IDEMPOTENCY_KEY"


def test_the_whole_way_from_photos_on_the_way_to_a_verified_ticket(site: Site) -> None:
    """The closeout tells what is missing; the work is done with a photo outstanding, and checked when it has come."""
    for key in ("photo_after_latched_alignment", "note_adjustments_and_test_cycles"):
        body = {"kind": "NOTE", "uri": f"s3://bucket/{key}", "evidence_key": key}
        assert site.command(site.tech, "/evidence", body).status_code == 201
    report = {
        "checklist_status": dict.fromkeys(
            (
                *("work_performed", "parts_used_or_needed", "resolution_status", "onsite_photos_after"),
                "billing_authorization",
            ),
            True,
        ),
        "no_signature_reason": "nobody was there",
    }
    refused = site.command(site.tech, "/tech/complete", report)
    assert (refused.status_code, refused.json()["error"]["missing_evidence_keys"]) == (409, [KEY])
    told = site.tech.get(f"/tickets/{site.ticket_id}/closeout").json()
    assert (told["is_ready"], told["requirement_code"]) == (False, "MISSING_SIGNATURE_CONFIRMATION")
    assert told["evidence"][0] == {
        "key": KEY,
        "status": "missing",
        "said": "photo before door edge and strike is missing",
    }
    manifest = [{"sha256": SENT, "evidence_key": KEY, "captured_at": "2026-05-01T10:11:12+02:00"}]
    done = site.command(site.tech, "/tech/complete", report | {"manifest": manifest})
    assert (done.status_code, done.json()["evidence_outstanding"]) == (200, 1), done.text
    passed = {"timestamp": "2026-03-01T12:00:00Z", "result": "PASS"}
    qa = site.person("qa")
    assert code(site.command(qa, "/qa/verify", passed)) == "EVIDENCE_OUTSTANDING"
    assert site.upload().json()["evidence_key"] == KEY
    told = qa.get(f"/tickets/{site.ticket_id}/closeout").json()
    assert (told["is_ready"], told["evidence_outstanding"]) == (True, 0)
    verified = site.command(qa, "/qa/verify", passed)
    assert (verified.status_code, verified.json()["state"]) == (200, "VERIFIED"), verified.text
    frozen = site.upload(photo(size=(20, 20)))
    assert (frozen.status_code, code(frozen)) == (409, "EVIDENCE_FROZEN")


def test_templates_are_read_and_changed_over_http(site: Site) -> None:
    admin, path = site.person("admin"), "/dispatch/templates/DOOR_WONT_LATCH"
    listed = site.dispatcher.get("/dispatch/templates").json()["items"]
    assert len(listed) == 6
    assert {one["is_built_in"] for one in listed} == {True}
    own = {"name": "Our doors", "evidence_keys": ["photo_door"], "checklist_keys": ["closes"]}
    assert site.dispatcher.ask("PUT", path, json=own).status_code == 403
    wrong = admin.ask("PUT", path, json=own | {"evidence_keys": ["a", "a"]})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "INVALID_TEMPLATE_SET")
    made = admin.ask("PUT", path, json=own)
    assert (made.status_code, made.json()["version"], made.headers["etag"]) == (200, 1, '"1"')
    stale = admin.ask("PUT", path, json=own | {"name": "x"}, headers={"If-Match": '"7"'})
    assert (stale.status_code, stale.json()["code"]) == (409, "STALE_VERSION")
    versions = site.dispatcher.get(f"{path.lower()}").json()["items"]
    assert [(one["is_built_in"], one["is_current"]) for one in versions] == [(False, True), (True, True)]
    assert admin.ask("DELETE", path).status_code == 204
    assert admin.ask("DELETE", path).status_code == 404
    assert site.dispatcher.get("/dispatch/templates/NOTHING").json()["code"] == "TEMPLATE_NOT_FOUND"
    assert site.dispatcher.get("/dispatch/templates/%00").status_code == 422
    actions = site.desk.rows(
        "SELECT action FROM audit_events WHERE org_id = :org AND action LIKE 'template.%' ORDER BY number"
    )
    assert ("template.change",) in actions
    assert ("template.reset",) in actions
