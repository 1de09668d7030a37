"""What is told of the paths a person gives."""

from __future__ import annotations

import gzip
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.adapters.file_index import _folder_digests, _state_of
from pipeline.adapters.inventory import ContainerKind, inspect
from pipeline.runtime.errors import Transient, UserError
from tests.adapters.mail import letter, mbox_of, write_folder, write_maildir, write_mbox

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"


def kinds(*paths: Path) -> list[tuple[ContainerKind, str]]:
    return [(each.kind, each.path.name) for each in inspect(paths).containers]


def test_each_form_of_mail_is_recognized_by_its_content(tmp_path: Path) -> None:
    letters = [letter(1), letter(2)]
    plain = write_mbox(tmp_path / "archive", letters)
    packed = write_mbox(tmp_path / "archive.gz", letters)
    maildir = write_maildir(tmp_path / "Maildir", letters)
    folder = write_folder(tmp_path / "folder", letters)
    assert kinds(plain, packed, maildir, folder) == [
        (ContainerKind.MBOX, "archive"),
        (ContainerKind.MBOX_GZ, "archive.gz"),
        (ContainerKind.MAILDIR, "Maildir"),
        (ContainerKind.FOLDER, "folder"),
    ]


def test_a_single_eml_is_one_message_whatever_it_contains(tmp_path: Path) -> None:
    path = tmp_path / "odd.EML"
    for content in [
        b"\n",
        b"no header at all",
        b"\x00bad\x00",
        mbox_of(letter(1)),
        bytes(range(128, 256)),
        b":\n" * 99,
    ]:
        path.write_bytes(content)
        (container,) = inspect([path]).containers
        assert (container.kind, container.names) == (ContainerKind.FOLDER, ("odd.EML",))


def test_a_message_needs_no_eml_in_its_name_when_it_begins_with_mail_headers(tmp_path: Path) -> None:
    (tmp_path / "00001.7c53").write_bytes(letter(1))
    (tmp_path / "long").write_bytes(b"Received: from x\n" + b"X-Filler: " + b"y" * 9000 + b"\n\nbody")
    (tmp_path / "notes.txt").write_bytes(b"Dear all: bring cake\nFrom: me\n")
    inventory = inspect([tmp_path])
    assert inventory.containers[0].names == ("00001.7c53", "long")
    assert [each.path.name for each in inventory.ignored] == ["notes.txt"]


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("photo.png", PNG, "a PNG image"),
        ("photo.eml", PNG, "a PNG image"),
        ("empty.mbox", b"", "empty"),
        ("empty.eml", b"", "empty"),
        ("export.zip", b"PK\x03\x04rest", "a ZIP archive: unpack it first"),
        ("archive.pst", b"!BDN" + b"\0" * 600, "export it as mbox"),
        ("dump", b"\0\1\2\3" * 300, "binary"),
        ("letter.txt", b"Dear all,\n", "neither an mbox"),
        ("broken.mbox.gz", b"\x1f\x8b\x08\x00junk", "damaged gzip"),
        ("short.mbox.gz", gzip.compress(mbox_of(letter(1)), mtime=0)[:20], "damaged gzip"),
        ("text.gz", gzip.compress(b"just text", mtime=0), "without an mbox"),
    ],
)
def test_what_is_no_mail_is_told_with_what_to_give_instead(
    tmp_path: Path, name: str, content: bytes, text: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError, match=text) as told:
        inspect([path])
    assert str(path) in str(told.value)
    assert "Give an mbox" in str(told.value)


def test_a_path_that_is_not_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    for path in [tmp_path / "nowhere", tmp_path / "file" / "below"]:
        with pytest.raises(UserError, match="does not exist"):
            inspect([path])
    with pytest.raises(UserError, match="no path was given"):
        inspect([])


def test_a_link_to_itself_is_told(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UserError, match="cannot be read"):
        inspect([tmp_path / "loop"])


def test_a_pipe_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.eml")
    with pytest.raises(UserError, match="not a regular file"):
        inspect([tmp_path / "pipe.eml"])


def test_other_files_in_folders_are_ignored_with_a_reason(tmp_path: Path) -> None:
    write_folder(tmp_path / "mail" / "deep", [letter(1)])
    (tmp_path / "mail" / "photo.png").write_bytes(PNG)
    (tmp_path / "mail" / "empty.eml").write_bytes(b"")
    (tmp_path / "mail" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "mail" / ".git").mkdir()
    (tmp_path / "mail" / "dangling.eml").symlink_to("nowhere")
    os.mkfifo(tmp_path / "mail" / "pipe")
    inventory = inspect([tmp_path / "mail"])
    assert [each.path.name for each in inventory.containers] == ["deep"]
    reasons = {each.path.name: each.reason for each in inventory.ignored}
    assert set(reasons) == {"photo.png", "empty.eml", ".DS_Store", ".git", "dangling.eml", "pipe"}
    assert reasons["empty.eml"] == "empty"
    assert reasons["pipe"] == "not a regular file"


def test_a_folder_without_any_mail_is_an_error_that_names_what_was_seen(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no files"):
        inspect([tmp_path])
    (tmp_path / "photo.png").write_bytes(PNG)
    with pytest.raises(UserError, match=r"holds no mail: 1 files were looked at, such as .*photo.png \(a PNG image"):
        inspect([tmp_path])


def test_an_empty_maildir_holds_no_mail(tmp_path: Path) -> None:
    write_maildir(tmp_path / "Maildir", [])
    with pytest.raises(UserError, match="holds no"):
        inspect([tmp_path / "Maildir"])


def test_a_maildir_lists_cur_and_new_in_order_of_delivery_and_its_subfolders(tmp_path: Path) -> None:
    maildir = write_maildir(tmp_path / "Maildir", [letter(number) for number in range(4)])
    write_maildir(maildir / ".Sent", [letter(9)])
    (maildir / "tmp" / "1.half").write_bytes(letter(7))
    (maildir / "dovecot.index").write_bytes(b"\0" * 100)
    inventory = inspect([maildir])
    assert [each.path.name for each in inventory.containers] == ["Maildir", ".Sent"]
    assert [name.partition("/")[2].partition(":")[0] for name in inventory.containers[0].names] == [
        f"{1000 + number}.M{number}.host" for number in range(4)
    ]
    assert [each.reason for each in inventory.ignored] == ["bookkeeping of a Maildir"]


def test_a_path_given_twice_and_files_of_one_folder_make_one_container(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", [letter(1), letter(2)])
    box = write_mbox(tmp_path / "box", [letter(1)])
    (tmp_path / "link").symlink_to(box)
    inventory = inspect([folder / "00001.eml", box, folder / "00000.eml", tmp_path / "link", folder])
    assert [(each.path.name, each.names) for each in inventory.containers] == [
        ("folder", ("00000.eml", "00001.eml")),
        ("box", ()),
    ]


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Leave this process no file descriptor but those that are open."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    first_free = os.dup(0)
    os.close(first_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (first_free, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.fault("F-61")
def test_mail_that_cannot_be_opened_for_want_of_descriptors_is_not_taken_for_no_mail(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", [letter(1), letter(2)])
    maildir = write_maildir(tmp_path / "Maildir", [letter(3)])
    for path in (folder, maildir, min(folder.iterdir())):
        with no_descriptors(), pytest.raises(Transient, match="Too many open files"):
            inspect([path])
        (found,) = inspect([path]).containers
        with no_descriptors(), pytest.raises(Transient, match="Too many open files"):
            _folder_digests(_state_of(found))
        assert any(_folder_digests(_state_of(found)))
