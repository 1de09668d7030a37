"""`fieldpost raw`: the bytes of a message, by every name it has."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import text

from models.enums import BlobKind
from pipeline.adapters.blobs import open_blob_store
from pipeline.runtime.db import Database
from pipeline.runtime.settings import Settings
from tests.cli.archive import Archive
from tests.cli.conftest import Command

RAW = b"From: ann@example.org\r\nSubject: caf\xc3\xa9 \x00\r\n\r\nbody\n"
SHA256 = hashlib.sha256(RAW).hexdigest()


@dataclass(frozen=True)
class Kept:
    """The ids of a message whose bytes are kept."""

    occurrence_id: int
    message_id: int


@pytest.fixture
def kept(db: Database, served: Settings) -> Kept:
    assert served.blob_url
    open_blob_store(served.blob_url).put(BlobKind.RAW, {SHA256: RAW})
    with db.begin() as connection:
        archive = Archive(connection)
        for number in range(5):  # so that no two ids are equal
            archive.occurrence(f"other{number}")
        message_id = archive.message("charger", "<m@x>")
        occurrence_id = archive.occurrence("one", "routed", message_id)
        connection.execute(
            text("UPDATE occurrences SET raw_sha256 = decode(:h, 'hex') WHERE id = :i"),
            {"h": SHA256, "i": occurrence_id},
        )
        connection.execute(text("UPDATE messages SET raw_sha256 = decode(:h, 'hex')"), {"h": SHA256})
        connection.execute(
            text(
                "INSERT INTO blobs (org_id, kind, sha256, size, stored_size)"
                " VALUES (:org, 'raw', decode(:h, 'hex'), 1, 1)"
            ),
            {"org": archive.org_id, "h": SHA256},
        )
    return Kept(occurrence_id, message_id)


def test_the_bytes_of_an_occurrence_are_written_to_a_new_file(fieldpost: Command, kept: Kept, tmp_path: Path) -> None:
    path = tmp_path / "mail.eml"
    ran = fieldpost("raw", kept.occurrence_id, "-o", path)
    assert (ran.code, ran.out) == (0, "")
    assert path.read_bytes() == RAW
    again = fieldpost("raw", kept.occurrence_id, "-o", path)
    assert (again.code, "exists already" in again.err) == (2, True)


@pytest.mark.parametrize("name", ["<m@x>", "m@x", f"sha256:{SHA256}"])
def test_a_message_is_found_by_the_names_that_an_export_gives_it(
    fieldpost: Command, kept: Kept, name: str, tmp_path: Path
) -> None:
    path = tmp_path / "mail.eml"
    assert fieldpost("raw", name, "-o", path).code == 0
    assert path.read_bytes() == RAW


def test_a_number_is_an_occurrence_unless_it_is_called_a_message(
    fieldpost: Command, kept: Kept, tmp_path: Path
) -> None:
    assert kept.occurrence_id != kept.message_id
    path = tmp_path / "mail.eml"
    assert fieldpost("raw", "--message", kept.message_id, "--output", path).code == 0
    assert path.read_bytes() == RAW
    assert fieldpost("raw", "--message", 999_999, "-o", tmp_path / "other").code == 2


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("999999", "no occurrence 999999"),
        ("1", "is seen: its bytes were not fetched"),
        ("<other@x>", "no message has the Message-ID"),
        (f"sha256:{'0' * 64}", "no message has raw bytes"),
        ("charger", "`fieldpost export` lists them"),
        ("9" * 40, "is no occurrence's id"),
    ],
)
def test_what_is_not_there_is_told_in_one_line(
    fieldpost: Command, kept: Kept, name: str, said: str, tmp_path: Path
) -> None:
    ran = fieldpost("raw", name, "-o", tmp_path / "mail.eml")
    assert ran.code == 2
    assert said in ran.err
    assert len(ran.err.strip().splitlines()) == 1
    assert not (tmp_path / "mail.eml").exists()


def test_a_message_id_that_two_mails_have_names_both(
    fieldpost: Command, kept: Kept, db: Database, tmp_path: Path
) -> None:
    with db.begin() as connection:
        Archive(connection, "other@example.org").message("another", "<m@x>")
    ran = fieldpost("raw", "<m@x>", "-o", tmp_path / "mail.eml")
    assert (ran.code, "2 messages" in ran.err, f"sha256:{SHA256}" in ran.err) == (2, True, True)


def test_bytes_that_are_gone_from_the_store_are_told_with_their_hash(
    fieldpost: Command, kept: Kept, db: Database, tmp_path: Path
) -> None:
    with db.begin() as connection:
        connection.execute(text("UPDATE occurrences SET raw_sha256 = decode(repeat('00', 32), 'hex')"))
        connection.execute(text("UPDATE blobs SET sha256 = decode(repeat('00', 32), 'hex') WHERE kind = 'raw'"))
    ran = fieldpost("raw", kept.occurrence_id, "-o", tmp_path / "mail.eml")
    assert (ran.code, "sha256:" + "0" * 64 in ran.err) == (1, True)


def test_a_pipe_gets_the_bytes_and_a_terminal_does_not(
    fieldpost: Command, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    piped = fieldpost("raw", kept.occurrence_id)
    assert piped.code == 0
    assert piped.out.splitlines() == RAW.decode().splitlines()
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    ran = fieldpost("raw", kept.occurrence_id)
    assert (ran.code, ran.out, "terminal" in ran.err) == (2, "", True)
