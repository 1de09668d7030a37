"""Attachments over HTTP: safe whatever they hold, only within reach, and by links that prove themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from models.enums import BlobKind
from ops_api.downloads import Link, Links, disposition, path_of
from ops_api.raws import READS
from pipeline.adapters.blobs import ObjectBlobs, open_blob_store
from tests import factories
from tests.bucket import bucket
from tests.ops_api.serving import Api, Person, change, serving, settings_for
from tests.ops_api.test_tickets import message
from tests.worker_process import until

CONTENT = b"%PDF-1.7 a plan\x00\xff" * 10_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
_ATTACH = text("""
    WITH kept AS (
        INSERT INTO blobs (org_id, kind, sha256, size, stored_size)
        VALUES (:org, 'attachment', decode(:sha256, 'hex'), 1, 1) ON CONFLICT DO NOTHING
    )
    INSERT INTO attachments (org_id, message_id, position, sha256, filename, content_type, size, disposition,
                             is_quarantined)
    VALUES (:org, :message, :position, decode(:sha256, 'hex'), :name, :type, 1, 'attachment', :quarantined) RETURNING id
""")
_positions = iter(range(1_000))


@dataclass(frozen=True, slots=True)
class Filed:
    """A ticket with a message, in an organization with an agent."""

    api: Api
    org_id: UUID
    ticket_id: UUID
    message_id: int
    agent: Person

    def attach(self, name: str = "plan.pdf", kind: str = "application/pdf", **more: Any) -> str:
        """Attach something; return its path."""
        values = {"org": self.org_id, "message": self.message_id, "position": next(_positions), "quarantined": False}
        with self.api.db.begin() as connection:
            row = connection.execute(_ATTACH, values | {"name": name, "type": kind, "sha256": SHA256} | more)
            return f"/tickets/{self.ticket_id}/attachments/{row.scalar_one()}"


@pytest.fixture
def api(database_url: str, tmp_path: Path) -> Iterator[Api]:
    url = (tmp_path / "blobs").as_uri()
    open_blob_store(url).put(BlobKind.ATTACHMENT, {SHA256: CONTENT})
    with serving(settings_for(database_url, blob_url=url)) as running:
        yield running


def filed(api: Api, name: str) -> Filed:
    with api.db.begin() as connection:
        org_id = factories.organization(connection, name)
        ticket_id = factories.ticket(connection, org_id)
        message_id = message(connection, org_id, ticket_id)
    return Filed(api, org_id, ticket_id, message_id, api.person(org_id, "agent", f"agent@{name}.example"))


@pytest.fixture
def ours(api: Api) -> Filed:
    return filed(api, "ours")


def test_the_bytes_come_unchanged_as_a_file(ours: Filed) -> None:
    answer = ours.agent.get(f"{ours.attach()}/download", follow_redirects=False)
    assert (answer.status_code, answer.content) == (200, CONTENT)
    assert answer.headers["content-length"] == str(len(CONTENT))
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.headers["content-disposition"] == "attachment; filename=\"plan.pdf\"; filename*=UTF-8''plan.pdf"


def test_nothing_that_it_holds_is_shown_guessed_or_run(ours: Filed) -> None:
    kinds = ("text/html", "image/svg+xml", "text/xml", "application/xhtml+xml", "application/javascript", "x/y\r\nz")
    for kind in kinds:
        answer = ours.agent.get(f"{ours.attach('a.html', kind)}/download")
        assert answer.headers["content-type"] == "application/octet-stream", kind
        assert answer.headers["content-disposition"].startswith("attachment; ")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
        assert "no-store" in answer.headers["cache-control"]


def test_a_name_from_a_mail_cannot_leave_its_header(ours: Filed) -> None:
    path = ours.attach('../..\\etc/Ärger "x"\r\nSet-Cookie: a=b;\u202efdp.exe')
    answer = ours.agent.get(f"{path}/download")
    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers
    said = answer.headers["content-disposition"]
    assert said.count('"') == 2
    assert ".." not in said
    assert "%C3%84rger" in disposition("Ärger.pdf")


@given(name=st.text(max_size=200))
def test_every_name_makes_a_header_of_one_line_in_ascii(name: str) -> None:
    said = disposition(name)
    assert said.isascii()
    assert said.isprintable()
    assert said.count('"') == 2
    assert not set("/\\%") & set(said.split('"')[1])


def test_only_what_stands_in_the_ticket_and_looks_harmless_is_given(api: Api, ours: Filed) -> None:
    theirs = filed(api, "theirs")
    path = ours.attach()
    with api.db.begin() as connection:
        other = factories.ticket(connection, ours.org_id)
    assert theirs.agent.get(f"{path}/download").status_code == 404
    assert ours.agent.get(f"{path}/download".replace(str(ours.ticket_id), str(other))).status_code == 404
    assert theirs.agent.get(f"{path}/download".replace(str(ours.ticket_id), str(theirs.ticket_id))).status_code == 404
    refused = ours.agent.get(f"{ours.attach('virus.exe', quarantined=True)}/download")
    assert (refused.status_code, "dangerous" in refused.json()["detail"]) == (409, True)
    lost = ours.agent.get(f"{ours.attach(sha256='ab' * 32)}/download")
    assert (lost.status_code, lost.json()["code"]) == (502, "blob_missing")
    assert [ours.agent.get(f"{path}/{what}").status_code for what in ("download", "link")] == [200, 200]
    change(api.db, "UPDATE blobs SET erased_at = now() WHERE org_id = :org", org=ours.org_id)
    assert [ours.agent.get(f"{path}/{what}").status_code for what in ("download", "link")] == [404, 404]


def test_a_turn_ends_with_its_answer(ours: Filed) -> None:
    path = f"{ours.attach()}/download"
    assert [ours.agent.get(path).status_code for _ in range(3 * READS)] == [200] * (3 * READS)
    until(lambda: ours.agent.get(path).status_code == 200, "a turn is free")


def test_a_bucket_gives_the_bytes_out_itself(api: Api, ours: Filed) -> None:
    with bucket() as there:
        blobs = ObjectBlobs(there.store())
        blobs.put(BlobKind.ATTACHMENT, {SHA256: CONTENT})
        api.app.state.services.raws._store = blobs
        answer = ours.agent.get(f"{ours.attach('<b>.html', 'text/html')}/download", follow_redirects=False)
        assert (answer.status_code, answer.headers["x-content-type-options"]) == (307, "nosniff")
        found = httpx.get(answer.headers["location"], trust_env=False)
        assert found.content == CONTENT
        assert found.headers["content-type"] == "application/octet-stream"
        assert found.headers["content-disposition"].startswith('attachment; filename="_b_.html"')
        lost = ours.agent.get(f"{ours.attach(sha256='ab' * 32)}/download", follow_redirects=False)
        assert lost.status_code == 502


def test_a_link_needs_no_session_and_is_for_its_path_bytes_and_person_only(api: Api, ours: Filed) -> None:
    first, second = ours.attach(), ours.attach()
    made = ours.agent.get(f"{first}/link").json()
    nobody = api.client()
    answer = nobody.get(made["url"])
    assert (answer.status_code, answer.content) == (200, CONTENT)
    assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
    token = parse_qs(urlsplit(made["url"]).query)["token"][0]
    confused = (
        *(f"{second}/signed/download", f"{first}/signed/download/", f"{first}/download"),
        f"{first}/../{second.rpartition('/')[2]}/signed/download",
        f"{first.replace('/tickets/', '/tickets/%2e/')}/signed/download",
    )
    assert {nobody.get(path, params={"token": token}).status_code for path in confused} <= {401, 403, 404, 422}
    assert nobody.get(f"{second}/signed/download", params={"token": token}).status_code == 403
    # What else is there or not is nothing that a link tells.
    hidden, missing = ours.attach("virus.exe", quarantined=True), f"{first.rpartition('/')[0]}/999999"
    nowhere = first.replace(str(ours.ticket_id), str(uuid4()))
    for path in (hidden, missing, nowhere):
        assert nobody.get(f"{path}/signed/download", params={"token": token}).status_code == 403
    for altered in (f"{token}x", f"x{token}", token[:-1], token.replace(".", ""), "e30.e30", "."):
        assert nobody.get(f"{first}/signed/download", params={"token": altered}).status_code == 403
    other = api.person(ours.org_id, "viewer")
    assert [person.get(made["url"]).status_code for person in (other, ours.agent)] == [403, 200]


def test_a_link_ends_by_itself_and_with_its_person(api: Api, ours: Filed) -> None:
    links: Links = api.app.state.services.links
    made = ours.agent.get(f"{ours.attach()}/link").json()
    path, _, token = made["url"].partition("?token=")
    link = links.read(token)
    assert link is not None
    nobody = api.client()

    def status(changed: Link) -> int:
        return nobody.get(path, params={"token": links.make(changed)}).status_code

    assert status(link) == 200
    assert status(replace(link, expires_at=link.expires_at - timedelta(minutes=5, seconds=2))) == 403
    assert status(replace(link, sha256="00" * 32)) == 403
    assert status(replace(link, person_id=uuid4())) == 403
    assert status(replace(link, org_id=uuid4())) == 403
    assert status(replace(link, path=path_of(uuid4(), 1))) == 403
    change(api.db, "UPDATE memberships SET is_active = false WHERE person_id = :id", id=ours.agent.person_id)
    assert status(link) == 403


def test_a_link_lasts_five_minutes(ours: Filed, api: Api) -> None:
    made = ours.agent.get(f"{ours.attach()}/link").json()
    link = api.app.state.services.links.read(made["url"].partition("?token=")[2])
    with api.db.begin() as connection:
        left = connection.execute(text("SELECT :until - now()"), {"until": link.expires_at}).scalar_one()
    assert timedelta(minutes=4) < left <= timedelta(minutes=5)
