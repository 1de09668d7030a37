"""What a blob store promises: content-addressed, whole, checked, durable, clear about a disk in trouble."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
import zstandard
from obstore.store import MemoryStore, S3Store

from pipeline.adapters import local_blobs
from pipeline.adapters.blob_codec import MAX_CONTENT_BYTES, BlobCodec, blob_key
from pipeline.adapters.blobs import ObjectBlobs, open_blob_store
from pipeline.adapters.local_blobs import PARTS, STALE, LocalBlobs, disk_trouble
from pipeline.ports import BlobStore
from pipeline.runtime.errors import Permanent, Transient, UserError


def addressed(*contents: bytes) -> dict[str, bytes]:
    return {hashlib.sha256(content).hexdigest(): content for content in contents}


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    return open_blob_store((tmp_path / "blobs").as_uri()) if request.param == "folder" else ObjectBlobs(MemoryStore())


@pytest.mark.parametrize("kind", ["raw", "attachment"])
def test_what_was_put_comes_back_under_its_hash(store: BlobStore, kind: str) -> None:
    contents = addressed(b"", b"one", b"two" * 10_000, bytes(range(256)))
    sizes = store.put(kind, contents)
    assert set(sizes) == set(contents)
    assert all(size > 0 for size in sizes.values())
    assert store.get(kind, list(contents)) == contents


def test_an_absent_content_is_missing_from_the_answer(store: BlobStore) -> None:
    (present,) = contents = addressed(b"here")
    (absent,) = addressed(b"nowhere")
    store.put("raw", contents)
    assert store.get("raw", [absent, present]) == contents
    assert store.get("attachment", [present]) == {}


def test_putting_twice_changes_nothing_and_tells_the_same_size(store: BlobStore) -> None:
    contents = addressed(b"again " * 500)
    assert store.put("raw", contents) == store.put("raw", contents)
    assert store.get("raw", list(contents)) == contents


def test_nothing_to_put_and_nothing_to_get(store: BlobStore) -> None:
    assert store.put("raw", {}) == {}
    assert store.get("raw", []) == {}


def test_a_wrong_hash_is_refused_and_stores_nothing(store: BlobStore) -> None:
    (name,) = addressed(b"what was meant")
    with pytest.raises(Permanent, match="hashes to"):
        store.put("raw", {name: b"what was given"})
    assert store.get("raw", [name]) == {}


@pytest.mark.parametrize("name", ["", "ab", "../../etc/passwd", "A" * 64, "0" * 63 + "\n", "0" * 64 + "\n"])
def test_a_hash_of_another_shape_never_becomes_a_path(store: BlobStore, name: str) -> None:
    with pytest.raises(ValueError, match="SHA-256"):
        store.get("raw", [name])


def test_an_unknown_kind_is_a_mistake_of_the_caller(store: BlobStore) -> None:
    with pytest.raises(ValueError, match="unknown kind"):
        store.put("cooked", addressed(b"x"))


def test_many_threads_put_the_same_and_different_contents(store: BlobStore) -> None:
    common = addressed(*(b"common %d" % number for number in range(20)))

    def put(number: int) -> Mapping[str, int]:
        return store.put("raw", common | addressed(b"own %d" % number))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(32)))
    expected = common | addressed(*(b"own %d" % number for number in range(32)))
    assert store.get("raw", list(expected)) == expected


def test_a_blob_lies_under_kind_and_two_levels_of_its_hash(tmp_path: Path) -> None:
    (name,) = contents = addressed(b"place")
    LocalBlobs(tmp_path).put("raw", contents)
    path = tmp_path / "raw" / name[:2] / f"{name}.zst"
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == [path]
    assert zstandard.ZstdDecompressor().decompress(path.read_bytes()) == b"place"


def flip_a_byte(stored: bytes) -> bytes:
    return stored[:-1] + bytes([stored[-1] ^ 1])


def another_content(stored: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(b"somebody else's mail")


def half(stored: bytes) -> bytes:
    return stored[: len(stored) // 2]


def nothing(stored: bytes) -> bytes:
    return b""


def a_lying_header(stored: bytes) -> bytes:
    size = (MAX_CONTENT_BYTES * 4).to_bytes(8, "little")
    return b"\x28\xb5\x2f\xfd" + bytes([0b1110_0000]) + size + b"\x01\x00\x00"


@pytest.mark.parametrize("damage", [flip_a_byte, another_content, half, nothing, a_lying_header])
def test_a_corrupt_blob_is_noticed_and_repaired_by_the_next_put(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    store = LocalBlobs(tmp_path)
    (name,) = contents = addressed(b"precious " * 100)
    store.put("raw", contents)
    path = tmp_path / blob_key("raw", name)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(Permanent, match="corrupt"):
        store.get("raw", [name])
    store.put("raw", contents)
    assert store.get("raw", [name]) == contents


def test_an_intact_blob_is_never_written_again(tmp_path: Path) -> None:
    store = LocalBlobs(tmp_path)
    (name,) = contents = addressed(b"durable")
    store.put("raw", contents)
    before = (tmp_path / blob_key("raw", name)).stat()
    store.put("raw", contents)
    after = (tmp_path / blob_key("raw", name)).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_a_failed_rename_leaves_no_half_file_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(temporary: str, path: str) -> None:
        assert Path(temporary).parent == tmp_path / PARTS
        raise OSError(errno.EIO, f"{path} cannot be written")

    monkeypatch.setattr(local_blobs, "_rename", refuse)
    with pytest.raises(Transient, match="cannot use"):
        LocalBlobs(tmp_path).put("raw", addressed(b"in the way"))
    assert list((tmp_path / PARTS).iterdir()) == []


def test_without_syncfs_each_file_is_synced_and_stored_alike(tmp_path: Path) -> None:
    store = LocalBlobs(tmp_path)
    store._syncfs = None
    contents = addressed(*(b"number %d" % number for number in range(10)))
    store.put("raw", contents)
    assert store.get("raw", list(contents)) == contents


@pytest.mark.parametrize("count", [1, 10])
def test_put_returns_only_after_the_sync(tmp_path: Path, count: int) -> None:
    store = LocalBlobs(tmp_path)
    contents = addressed(*(b"number %d" % number for number in range(count)))
    names_at_sync: list[int] = []
    store._sync = lambda paths: names_at_sync.append(sum(Path(path).exists() for path in paths))  # type: ignore[method-assign]
    store.put("raw", contents)
    store.put("raw", contents)
    assert names_at_sync == [count, count]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.ENOSPC, "no space left on /data/blobs"),
        (errno.EDQUOT, "the disk quota is used up on /data/blobs"),
        (errno.EACCES, "not allowed to use /data/blobs"),
        (errno.EROFS, "/data/blobs is mounted read-only"),
        (errno.EIO, "cannot use /data/blobs"),
    ],
)
def test_trouble_with_the_disk_passes_by_itself_and_says_what_is_wrong(number: int, text: str) -> None:
    error = disk_trouble(OSError(number, "as the system says"), "/data/blobs")
    assert type(error) is Transient
    assert str(error).startswith(text)
    assert "as the system says" in str(error)


def test_a_root_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Transient, match="cannot use"):
        open_blob_store((tmp_path / "file" / "blobs").as_uri())


@pytest.mark.parametrize(
    "url",
    ["", "/var/blobs", "ftp://host/x", "http://host/x", "memory:///", "file://host/x", "file:///", "s3://", "az://"],
)
def test_a_url_of_another_form_is_explained(url: str) -> None:
    with pytest.raises(UserError, match=r"file:///folder|three slashes"):
        open_blob_store(url)


def test_a_folder_url_may_have_escaped_characters(tmp_path: Path) -> None:
    folder = tmp_path / "with space"
    open_blob_store(folder.as_uri()).put("raw", addressed(b"x"))
    assert (folder / "raw").is_dir()


def test_what_cannot_be_removed_keeps_no_other_rest_of_a_dead_process(tmp_path: Path) -> None:
    parts = tmp_path / "blobs" / PARTS
    for number in range(20):
        (parts / f"folder-{number}").mkdir(parents=True)
        (parts / f"file-{number}").write_bytes(b"half")
    for path in parts.iterdir():
        os.utime(path, (0, path.stat().st_mtime - STALE.total_seconds() - 60))
    LocalBlobs(tmp_path / "blobs")
    assert {path.name.partition("-")[0] for path in parts.iterdir()} == {"folder"}


def test_bucket_urls_open_without_a_request() -> None:
    assert isinstance(open_blob_store("s3://bucket/prefix"), ObjectBlobs)


def test_a_bucket_out_of_reach_passes_by_itself() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
    bucket = S3Store(
        "bucket",
        endpoint=address,
        region="us-east-1",
        access_key_id="key",
        secret_access_key="secret",
        client_options={"allow_http": True},
        retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=1)},
    )
    with pytest.raises(Transient, match="bucket did not answer"):
        ObjectBlobs(bucket).put("raw", addressed(b"x"))


def test_a_content_above_the_limit_is_refused() -> None:
    class Huge(bytes):
        def __len__(self) -> int:
            return MAX_CONTENT_BYTES + 1

    with pytest.raises(Permanent, match="larger"):
        BlobCodec().verify("0" * 64, Huge())
