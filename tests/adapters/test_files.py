"""Mail in files as a mailbox: ids, order, cursors, and what a fetch says when files change under it."""

from __future__ import annotations

import errno
import gzip
import hashlib
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.adapters import file_index
from pipeline.adapters.file_index import Place
from pipeline.adapters.files import FileSource
from pipeline.adapters.mbox import Span as Stretch
from pipeline.ports import Fetched, Listed, MailSource, Missed, Span
from pipeline.runtime.errors import Gone, PageExpired, Permanent, Transient, UserError
from tests.adapters.mail import letter, mbox_of, write_folder, write_maildir, write_mbox


def source_of(tmp_path: Path, *paths: Path) -> FileSource:
    return FileSource(paths, tmp_path / "spool", address="support@example.org")


def listed(source: MailSource, limit: int = 3) -> list[Listed]:
    items: list[Listed] = []
    cursor = None
    while True:
        page = source.list_page(cursor, limit=limit)
        items += page.items
        if page.next_cursor is None:
            return items
        cursor = page.next_cursor


def fetched(source: MailSource, items: Sequence[Listed]) -> list[Fetched]:
    outcomes = source.fetch(items)
    assert all(isinstance(each, Fetched) for each in outcomes), outcomes
    return [each for each in outcomes if isinstance(each, Fetched)]


def only_miss(source: MailSource, item: Listed) -> Missed:
    (outcome,) = source.fetch([item])
    assert isinstance(outcome, Missed)
    assert outcome.provider_id == item.provider_id
    return outcome


def id_of(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()[:40]


LETTERS = [letter(number) for number in range(7)]


def test_the_newest_message_comes_first_and_every_byte_is_kept(tmp_path: Path) -> None:
    source = source_of(tmp_path, write_mbox(tmp_path / "box", LETTERS))
    items = listed(source)
    assert [item.provider_id for item in items] == [id_of(raw) for raw in reversed(LETTERS)]
    assert [each.raw for each in fetched(source, items)] == LETTERS[::-1]


def test_the_same_mail_in_any_container_has_the_same_ids(tmp_path: Path) -> None:
    expected = {id_of(raw) for raw in LETTERS}
    for path in [
        write_mbox(tmp_path / "box", LETTERS),
        write_mbox(tmp_path / "box.gz", LETTERS),
        write_maildir(tmp_path / "Maildir", LETTERS),
        write_folder(tmp_path / "folder", LETTERS),
    ]:
        items = listed(source_of(tmp_path, path))
        assert {item.provider_id for item in items} == expected
        assert len(items) == len(LETTERS)
    overlapping = source_of(tmp_path, *(tmp_path / name for name in ("box", "box.gz", "Maildir", "folder")))
    assert len(listed(overlapping)) == len(LETTERS)


def test_identical_copies_inside_one_container_are_counted(tmp_path: Path) -> None:
    path = write_mbox(tmp_path / "box", [LETTERS[0], LETTERS[1], LETTERS[0], LETTERS[0]])
    source = source_of(tmp_path, path)
    first, second = id_of(LETTERS[0]), id_of(LETTERS[1])
    items = listed(source)
    assert [item.provider_id for item in items] == [f"{first}.3", f"{first}.2", second, first]
    assert [each.raw for each in fetched(source, items)] == [LETTERS[0], LETTERS[0], LETTERS[1], LETTERS[0]]
    without_places = [Listed(item.provider_id) for item in items]
    assert [each.raw for each in fetched(source, without_places)] == [each.raw for each in fetched(source, items)]


def test_a_copy_that_only_a_later_container_has_is_still_listed(tmp_path: Path) -> None:
    one = write_mbox(tmp_path / "one", [LETTERS[0]])
    two = write_mbox(tmp_path / "two", [LETTERS[0], LETTERS[0]])
    first = id_of(LETTERS[0])
    assert [item.provider_id for item in listed(source_of(tmp_path, one, two))] == [f"{first}.2", first]


@pytest.mark.parametrize("form", [write_mbox, write_maildir, write_folder])
def test_a_cursor_stands_in_another_process_and_while_mail_arrives(tmp_path: Path, form: object) -> None:
    assert callable(form)
    form(tmp_path / "mail", LETTERS)
    page = source_of(tmp_path, tmp_path / "mail").list_page(None, limit=3)
    for path in sorted((tmp_path / "mail").rglob("*")) or [tmp_path / "mail"]:
        os.utime(path, (1, 1))
    file_index._folder_digests.cache_clear()
    if (tmp_path / "mail").is_file():
        with (tmp_path / "mail").open("ab") as file:
            file.write(mbox_of(letter(99)))
    else:
        new = tmp_path / "mail" / ("new/0.first" if form is write_maildir else "!first.eml")
        new.write_bytes(letter(99))
    rest = source_of(tmp_path, tmp_path / "mail").list_page(page.next_cursor, limit=100)
    seen = [item.provider_id for item in [*page.items, *rest.items]]
    assert [each for each in seen if each != id_of(letter(99))] == [id_of(raw) for raw in reversed(LETTERS)]


@pytest.mark.parametrize("cursor", ["", "x", "3", "3:", "-1:" + "0" * 40, "2:" + "0" * 40, "2:zz"])
def test_a_cursor_whose_message_is_gone_asks_for_a_new_listing(tmp_path: Path, cursor: str) -> None:
    source = source_of(tmp_path, write_mbox(tmp_path / "box", LETTERS))
    with pytest.raises(PageExpired):
        source.list_page(cursor, limit=3)


def test_a_span_leaves_nothing_out(tmp_path: Path) -> None:
    source = source_of(tmp_path, write_mbox(tmp_path / "box", LETTERS))
    page = source.list_page(None, span=Span(after=datetime(2099, 1, 1, tzinfo=UTC)), limit=100)
    assert (len(page.items), page.estimate, page.next_cursor) == (7, 7, None)


def test_an_mbox_tells_when_mail_arrived_and_other_files_tell_when_they_were_written(tmp_path: Path) -> None:
    box = write_mbox(tmp_path / "box", LETTERS[:1])
    folder = write_folder(tmp_path / "folder", LETTERS[1:2])
    os.utime(folder / "00000.eml", (1_000_000_000, 1_000_000_000))
    source = source_of(tmp_path, box, folder)
    times = {each.raw: each.internal_at for each in fetched(source, listed(source))}
    assert times == {
        LETTERS[0]: datetime(2026, 11, 20, 12, 0, tzinfo=UTC),
        LETTERS[1]: datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC),
    }


def test_files_have_no_history(tmp_path: Path) -> None:
    source = source_of(tmp_path, write_mbox(tmp_path / "box", LETTERS))
    profile = source.profile()
    assert (profile.address, profile.cursor) == ("support@example.org", None)
    with pytest.raises(Permanent, match="no history"):
        source.changes("1", None)


def test_files_have_no_dates_no_labels_and_announce_nothing(tmp_path: Path) -> None:
    source = source_of(tmp_path, write_mbox(tmp_path / "box", LETTERS))
    assert source.has_dates is False
    assert list(source.labels()) == []
    assert list(source.list_page(None, limit=10, label_id="INBOX").items) == []
    with pytest.raises(Permanent, match="announces nothing"):
        source.watch("projects/acme/topics/mail")
    with pytest.raises(Permanent, match="cannot be waited on"):
        source.wait_for_news(timedelta(seconds=1))


def test_a_vanished_file_is_gone_and_the_others_are_not_harmed(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", LETTERS)
    source = source_of(tmp_path, folder)
    items = listed(source)
    (folder / "00003.eml").unlink()
    outcomes = source.fetch(items)
    assert [type(each) for each in outcomes] == [Fetched] * 3 + [Missed] + [Fetched] * 3
    missed = outcomes[3]
    assert isinstance(missed, Missed)
    assert type(missed.error) is Gone


def test_when_the_whole_path_is_gone_so_is_each_message(tmp_path: Path) -> None:
    path = write_mbox(tmp_path / "box", LETTERS)
    source = source_of(tmp_path, path)
    items = listed(source)
    path.unlink()
    assert {type(each.error) for each in source.fetch(items) if isinstance(each, Missed)} == {Gone}
    with pytest.raises(UserError, match="does not exist"):
        source.list_page(None, limit=1)


def test_a_changed_message_is_not_passed_off_as_the_listed_one(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", LETTERS)
    source = source_of(tmp_path, folder)
    newest = listed(source)[0]
    (folder / "00006.eml").write_bytes(b"Subject: another\n\n")
    error = only_miss(source, newest).error
    assert isinstance(error, Permanent)
    assert not isinstance(error, Gone)
    assert "changed" in str(error)


def test_a_message_that_moved_is_found_again(tmp_path: Path) -> None:
    maildir = write_maildir(tmp_path / "Maildir", LETTERS)
    box = write_mbox(tmp_path / "box", [letter(100), letter(101)])
    source = source_of(tmp_path, maildir, box)
    items = listed(source)
    for path in list((maildir / "new").iterdir()):
        path.rename(maildir / "cur" / f"{path.name}:2,FS")
    write_mbox(box, [letter(101)])
    outcomes = source.fetch(items)
    assert [each.provider_id for each in outcomes if isinstance(each, Missed)] == [id_of(letter(100))]
    assert len(outcomes) == 9


@pytest.mark.parametrize(
    "locator", ["", "file:", "file:relative", "mbox:1:2", "mbox:a:b:/x", "http://host/x", "mbox:1:2:x"]
)
def test_a_place_of_another_form_is_permanent(tmp_path: Path, locator: str) -> None:
    with pytest.raises(Permanent):
        Place.parse(locator)


@pytest.mark.parametrize(
    "name", ["plain", "with space", "new\nline", "100%", "caf\u00e9", os.fsdecode(b"latin-\xe9"), "a:b:c"]
)
def test_any_file_name_survives_in_a_locator_that_is_plain_text(tmp_path: Path, name: str) -> None:
    path = write_mbox(tmp_path / name, LETTERS[:1])
    (item,) = items = listed(source_of(tmp_path, path))
    assert item.locator is not None
    assert item.locator.isascii()
    assert item.locator.isprintable()
    assert [each.raw for each in fetched(source_of(tmp_path, path), items)] == LETTERS[:1]
    assert Place.parse(Place(path, Stretch(3, 4)).locator()) == Place(path, Stretch(3, 4))


def test_a_directory_in_the_place_of_a_file_passes_by_itself(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", LETTERS[:2])
    source = source_of(tmp_path, folder)
    item = listed(source)[0]
    (folder / "00001.eml").unlink()
    (folder / "00001.eml").mkdir()
    assert type(only_miss(source, item).error) is Transient


def test_a_compressed_mbox_is_unpacked_once_and_again_when_the_spool_was_emptied(tmp_path: Path) -> None:
    path = write_mbox(tmp_path / "box.gz", LETTERS)
    source = source_of(tmp_path, path)
    items = listed(source)
    (unpacked,) = (tmp_path / "spool").iterdir()
    assert unpacked.name == f"{hashlib.sha256(path.read_bytes()).hexdigest()}.mbox"
    inode = unpacked.stat().st_ino
    assert listed(source_of(tmp_path, path)) == items
    assert unpacked.stat().st_ino == inode
    unpacked.unlink()
    assert [each.raw for each in fetched(source, items)] == LETTERS[::-1]


def test_a_compressed_mbox_in_several_members_is_one_mbox(tmp_path: Path) -> None:
    (tmp_path / "box.gz").write_bytes(b"".join(gzip.compress(mbox_of(raw)) for raw in LETTERS))
    assert len(listed(source_of(tmp_path, tmp_path / "box.gz"))) == len(LETTERS)


@pytest.mark.parametrize("damage", ["cut", "checksum", "garbage behind"])
def test_a_damaged_compressed_mbox_is_told_and_leaves_no_half_mailbox(tmp_path: Path, damage: str) -> None:
    whole = gzip.compress(mbox_of(*(letter(number, os.urandom(2000).hex()) for number in range(50))))
    broken = {"cut": whole[:-2000], "checksum": whole[:-5] + b"\0\0\0\0\0", "garbage behind": whole + b"garbage"}[
        damage
    ]
    (tmp_path / "box.gz").write_bytes(broken)
    for _ in range(2):
        with pytest.raises(UserError, match="damaged gzip"):
            source_of(tmp_path, tmp_path / "box.gz").prepare()
    assert list((tmp_path / "spool").glob("*.mbox")) == []
    assert [each.stat().st_size for each in (tmp_path / "spool").iterdir()] == [0]


def test_a_full_disk_while_unpacking_is_told_clearly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_mbox(tmp_path / "box.gz", LETTERS)

    def full(source: object, target: object, length: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", full)
        with pytest.raises(UserError, match="no space left in"):
            source_of(tmp_path, path).prepare()
    assert len(listed(source_of(tmp_path, path))) == len(LETTERS)


def test_a_spool_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    path = write_mbox(tmp_path / "box.gz", LETTERS)
    with pytest.raises(UserError, match="cannot be unpacked into"):
        FileSource([path], path / "spool").prepare()


def test_several_threads_unpack_one_file_and_read_it_whole(tmp_path: Path) -> None:
    path = write_mbox(tmp_path / "box.gz", [letter(number, "x" * 5000 + "\n") for number in range(300)])
    with ThreadPoolExecutor(4) as pool:
        counts = list(pool.map(lambda _: len(listed(source_of(tmp_path, path), limit=100)), range(8)))
    assert counts == [300] * 8
    assert [each.suffix for each in (tmp_path / "spool").iterdir()] == [".mbox"]


def test_prepare_tells_what_was_found_and_what_was_ignored(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", LETTERS)
    (folder / "readme").write_bytes(b"hello")
    source = source_of(tmp_path, folder)
    inventory = source.prepare()
    assert len(inventory.containers[0].names) == len(LETTERS)
    assert [each.path.name for each in inventory.ignored] == ["readme"]
    source.close()
    assert len(listed(source)) == len(LETTERS)
