"""Links to contents at the bucket itself: a plain copy with safe headers, made once, behind a signature."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from obstore.store import MemoryStore, S3Store

from pipeline.adapters.blobs import ObjectBlobs, _served_key, open_blob_store
from pipeline.ports import LinkingBlobs
from pipeline.runtime.errors import Gone, Transient
from tests.bucket import Bucket, bucket

CONTENT = b"a plan " * 1_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
HEADERS = {"Content-Type": "application/pdf", "Content-Disposition": 'attachment; filename="plan.pdf"'}
LASTS = timedelta(minutes=5)


@pytest.fixture
def there() -> Iterator[Bucket]:
    with bucket() as found:
        yield found


def test_a_link_gives_the_plain_content_with_its_headers(there: Bucket) -> None:
    blobs = ObjectBlobs(there.store())
    blobs.put("attachment", {SHA256: CONTENT})
    link = blobs.link("attachment", SHA256, headers=HEADERS, lasts=LASTS)
    assert link is not None
    answer = httpx.get(link, trust_env=False)
    assert answer.content == CONTENT
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert httpx.get(link.partition("?")[0], trust_env=False).status_code == 404  # not without the signature
    assert "X-Amz-Expires=300" in link


def test_a_copy_is_made_once_for_the_same_headers(there: Bucket) -> None:
    blobs = ObjectBlobs(there.store())
    blobs.put("attachment", {SHA256: CONTENT})
    for name in ("one.pdf", "one.pdf", "other.pdf"):
        blobs.link("attachment", SHA256, headers=HEADERS | {"Content-Disposition": name}, lasts=LASTS)
    copies = [key for method, key in there.asked if method == "PUT" and key.startswith("served/")]
    assert len(copies) == len(set(copies)) == 2
    assert all(key.startswith(f"served/attachment/{SHA256[:2]}/{SHA256}/") for key in copies)


def test_what_is_not_there_has_no_link(there: Bucket) -> None:
    with pytest.raises(Gone):
        ObjectBlobs(there.store()).link("attachment", SHA256, headers=HEADERS, lasts=LASTS)


def test_a_store_that_cannot_sign_gives_no_link(tmp_path: Path) -> None:
    in_memory = ObjectBlobs(MemoryStore())
    in_memory.put("attachment", {SHA256: CONTENT})
    assert in_memory.link("attachment", SHA256, headers=HEADERS, lasts=LASTS) is None
    anonymous = ObjectBlobs(S3Store("bucket", region="eu-central-1", skip_signature=True))
    assert anonymous.link("attachment", SHA256, headers=HEADERS, lasts=LASTS) is None
    assert not isinstance(open_blob_store((tmp_path / "blobs").as_uri()), LinkingBlobs)


def test_a_bucket_that_does_not_answer_is_trouble_that_passes(there: Bucket) -> None:
    gone = Bucket()
    gone.port = 1
    with pytest.raises(Transient):
        ObjectBlobs(gone.store()).link("attachment", SHA256, headers=HEADERS, lasts=LASTS)


def test_what_is_taken_away_is_taken_with_its_copies() -> None:
    inside = MemoryStore()
    blobs = ObjectBlobs(inside)
    other = b"another plan"
    other_sha256 = hashlib.sha256(other).hexdigest()
    blobs.put("attachment", {SHA256: CONTENT, other_sha256: other})
    for name in (SHA256, other_sha256):
        blobs._serve(_served_key("attachment", name, HEADERS), "attachment", name, HEADERS)
    blobs.delete("attachment", [SHA256])
    left = [one["path"] for chunk in inside.list() for one in chunk]
    assert len(left) == 2
    assert all(other_sha256 in path for path in left)
