"""How messages, folders and places of an IMAP mailbox are named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.imap_names import (
    Folder,
    ListingCursor,
    Place,
    escaped,
    folders_to_read,
    labels_of,
    listing_cursor,
    place_of,
    shown,
    unescaped,
)
from pipeline.core.uid_sets import GREATEST

NAMES = st.text(min_size=1, max_size=30)
PLACES = st.builds(Place, NAMES, st.integers(0, GREATEST), st.integers(1, GREATEST))

Row = tuple[tuple[str, ...], str, str]


def named(*rows: Row, wanted: list[str] | None = None) -> list[tuple[str, str | None]]:
    return [(folder.name, folder.role) for folder in folders_to_read(rows, wanted)]


@given(PLACES)
def test_a_place_is_read_as_it_was_written(place: Place) -> None:
    assert place_of(place.text()) == place
    assert place.text().isascii()
    assert place.text().count("/") == 2


@given(st.text(max_size=40))
def test_a_text_that_is_no_place_is_refused_or_says_itself(text: str) -> None:
    try:
        found = place_of(text)
    except ValueError:
        return
    assert found.text() == text


@given(NAMES, st.integers(0, GREATEST), st.integers(1, GREATEST))
def test_a_listing_cursor_is_read_as_it_was_written(folder: str, uidvalidity: int, below: int) -> None:
    cursor = ListingCursor(folder, uidvalidity, below)
    assert listing_cursor(cursor.text()) == cursor


def test_views_and_folders_that_cannot_be_opened_are_left_out_and_inbox_is_first() -> None:
    rows: list[Row] = [
        (("\\HasNoChildren", "\\All"), "/", "All Mail"),
        (("\\Flagged",), "/", "Starred"),
        (("\\Important",), "/", "Important"),
        (("\\Noselect",), "/", "[Gmail]"),
        (("\\NonExistent",), "/", "gone"),
        ((), "/", "Archive"),
        ((), "/", "Inbox"),
    ]
    assert named(*rows) == [("INBOX", None), ("Archive", None)]


def test_wanted_folders_are_read_alone_also_views_but_none_that_is_not_there() -> None:
    rows: list[Row] = [((), "/", "INBOX"), (("\\All",), "/", "All Mail"), (("\\Noselect",), "/", "top"), ((), "/", "Z")]
    assert named(*rows, wanted=["All Mail", "inbox", "top", "nowhere"]) == [("INBOX", None), ("All Mail", None)]


def test_roles_come_from_attributes_and_only_without_them_from_names() -> None:
    said: list[Row] = [(("\\Junk",), ".", "INBOX.Werbung"), ((), ".", "INBOX.Spam"), ((), ".", "INBOX.Sent Items")]
    assert named(*said) == [("INBOX.Sent Items", "SENT"), ("INBOX.Spam", None), ("INBOX.Werbung", "SPAM")]
    assert ("Deleted Items", "TRASH") in named(((), "/", "Deleted Items"))


@pytest.mark.parametrize(
    ("folder", "flags", "labels"),
    [
        (Folder("INBOX"), (), ("INBOX", "UNREAD")),
        (Folder("INBOX"), ("\\Seen", "\\Flagged"), ("INBOX", "STARRED")),
        (Folder("Junk", "SPAM"), ("\\seen",), ("Junk", "SPAM")),
        (Folder("Drafts", "DRAFT"), ("\\Seen", "\\Draft"), ("Drafts", "DRAFT")),
        (Folder("Work"), ("\\Seen", "\\DRAFT", "$Label"), ("Work", "DRAFT")),
    ],
)
def test_labels_are_the_folder_and_the_words_of_gmail(folder: Folder, flags: tuple[str, ...], labels: object) -> None:
    assert labels_of(folder, flags) == labels


@given(st.text(st.characters(), min_size=1, max_size=20))
def test_a_label_can_be_stored_whatever_the_folder_is_called(name: str) -> None:
    (shown,) = Folder(name).words
    assert not any(ord(character) < 32 for character in shown)
    assert shown.encode("utf-8")


@given(st.binary(min_size=1, max_size=30))
def test_an_escaped_name_gives_its_bytes_back_and_makes_places(wire: bytes) -> None:
    name = escaped(wire)
    assert unescaped(name) == (wire if name != wire.decode("latin-1") else None)
    assert place_of(Place(name, 7, 1).text()).folder == name
    assert shown(name).encode("utf-8")


@given(NAMES)
def test_a_name_that_was_decoded_is_never_taken_for_an_escaped_one(name: str) -> None:
    assert unescaped(name) is None


def test_an_escaped_name_is_shown_as_it_reads() -> None:
    assert shown(escaped(b"R&D")) == "R&D"
    assert shown(escaped("Prüfung".encode())) == "Prüfung"
    assert shown("R&D") == "R&D" != escaped(b"R&D")
