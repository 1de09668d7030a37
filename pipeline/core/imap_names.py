"""How an IMAP mailbox is named to the product: ids of messages, labels from folders and flags, cursors of listings."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote

from pipeline.core.uid_sets import GREATEST

INBOX = "INBOX"

#: What a folder is for (RFC 6154), in the words of Gmail that the product uses.
_ROLES = {"\\junk": "SPAM", "\\trash": "TRASH", "\\sent": "SENT", "\\drafts": "DRAFT"}
#: Folders that hold nothing themselves: they show mail that lies elsewhere, or cannot be opened (RFC 6154, RFC 5258).
_VIEWS = frozenset({"\\all", "\\flagged", "\\important", "\\noselect", "\\nonexistent"})
_CLOSED = frozenset({"\\noselect", "\\nonexistent"})
#: Names that many servers give to folders without saying what they are for.
_COMMON_NAMES = {
    "SPAM": ("junk", "spam", "junk email", "junk e-mail", "bulk mail"),
    "TRASH": ("trash", "deleted items", "deleted messages"),
    "SENT": ("sent", "sent items", "sent messages", "sent mail"),
    "DRAFT": ("drafts",),
}


#: Where lone surrogates begin; they stand for the bytes of names that are not encoded as they should be.
_ESCAPED = 0xDC00


def escaped(wire: bytes) -> str:
    """Return a folder name that is not encoded as IMAP wants it; `unescaped` gives its bytes back.

    Every byte that means something else in an encoded name becomes a lone surrogate, which no encoded name holds, so
    that both kinds never meet.
    """
    return "".join(chr(byte if _means_itself(byte) else _ESCAPED + byte) for byte in wire)


def unescaped(name: str) -> bytes | None:
    """Return the bytes of a name that `escaped` made; None for every other name."""
    codes = [ord(character) for character in name]
    if not any(_is_escape(code) for code in codes) or not all(_is_escape(code) or code < 0x7F for code in codes):
        return None
    return bytes(code - _ESCAPED if _is_escape(code) else code for code in codes)


def shown(name: str) -> str:
    """Return a folder's name for people, which is no key: one that is not encoded as it should be as it reads."""
    wire = unescaped(name)
    return _storable(name if wire is None else wire.decode("utf-8", "replace"))


def _means_itself(byte: int) -> bool:
    return 0x20 <= byte < 0x7F and byte != ord("&")


def _is_escape(code: int) -> bool:
    return _ESCAPED <= code < _ESCAPED + 0x100


@dataclass(frozen=True, slots=True)
class Place:
    """Where a message lies: only all three together name it for good (RFC 3501, 2.3.1.1)."""

    folder: str
    uidvalidity: int
    uid: int

    def text(self) -> str:
        """Return it as `folder/uidvalidity/uid`, the folder percent-encoded."""
        return f"{quote(self.folder, safe='', errors='surrogatepass')}/{self.uidvalidity}/{self.uid}"


def place_of(text: str) -> Place:
    """Return the place a text names. Raises `ValueError` for a text that `Place.text` did not make."""
    folder, uidvalidity, uid = text.split("/")
    found = Place(unquote(folder, errors="surrogatepass"), int(uidvalidity), int(uid))
    if not (found.folder and 0 < found.uid <= GREATEST and found.text() == text):
        raise ValueError("this names no place of a message")
    return found


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder that is read, and the word for what it is for, if any."""

    name: str
    role: str | None = None

    @property
    def words(self) -> tuple[str, ...]:
        """The labels that everything in the folder carries."""
        label = shown(self.name)
        return (label,) if self.role is None else (label, self.role)


def folders_to_read(listed: Iterable[tuple[Sequence[str], str, str]], wanted: Sequence[str] | None) -> list[Folder]:
    """Return the folders to read, INBOX first, from (attributes, delimiter, name) as the server lists them.

    Without `wanted` all that hold mail; with it those of its names that can be opened. A name may be wanted as it is
    shown.
    """
    seen: dict[str, tuple[frozenset[str], str]] = {}
    for attributes, delimiter, name in listed:
        known = INBOX if name.upper() == INBOX else name
        seen.setdefault(known, (frozenset(word.lower() for word in attributes), delimiter))
    roles = _roles(seen)
    without = _VIEWS if wanted is None else _CLOSED
    names = seen if wanted is None else _meant(wanted, seen)
    return [
        Folder(name, roles.get(name))
        for name in sorted(names, key=folder_order)
        if name in seen and not seen[name][0] & without
    ]


def _meant(wanted: Sequence[str], seen: Collection[str]) -> set[str]:
    """Return the folders that names stand for, those that are not there included."""
    as_shown = {shown(name): name for name in seen}
    names = {INBOX if name.upper() == INBOX else name for name in wanted}
    return {name if name in seen else as_shown.get(name, name) for name in names}


def folder_order(name: str) -> tuple[bool, str]:
    """Return the key that sorts folders in the order they are read: INBOX first."""
    return name != INBOX, name


def labels_of(folder: Folder, flags: Iterable[str]) -> tuple[str, ...]:
    """Return the labels of a message in a folder with these flags, in the words of Gmail that the product uses."""
    return (*folder.words, *(word for word in flag_words(flags) if word != folder.role))


def flag_words(flags: Iterable[str]) -> tuple[str, ...]:
    """Return what flags say: UNREAD, STARRED, DRAFT."""
    known = {flag.lower() for flag in flags}
    words = (("UNREAD", "\\seen" not in known), ("STARRED", "\\flagged" in known), ("DRAFT", "\\draft" in known))
    return tuple(word for word, holds in words if holds)


@dataclass(frozen=True, slots=True)
class ListingCursor:
    """How far a listing has come: everything of the folder from `below` up is listed, and every folder before it."""

    folder: str
    uidvalidity: int
    below: int

    def text(self) -> str:
        """Return it as an opaque text."""
        return Place(self.folder, self.uidvalidity, self.below).text()


def listing_cursor(text: str) -> ListingCursor:
    """Return the cursor of a text. Raises `ValueError` for a text that `ListingCursor.text` did not make."""
    found = place_of(text)
    return ListingCursor(found.folder, found.uidvalidity, found.uid)


def _roles(seen: dict[str, tuple[frozenset[str], str]]) -> dict[str, str]:
    said = {name: _ROLES[word] for name, (words, _) in seen.items() for word in sorted(words & _ROLES.keys())}
    for role in _COMMON_NAMES.keys() - set(said.values()):
        said |= {name: role for name, (_, delimiter) in seen.items() if _last(name, delimiter) in _COMMON_NAMES[role]}
    return said


def _last(name: str, delimiter: str) -> str:
    return (name.rpartition(delimiter)[2] if delimiter else name).lower()


def _storable(name: str) -> str:
    """Return a name that a database can hold, as the separator of labels is not in it either."""
    kept = "".join(character if character >= " " else "_" for character in name)
    return kept.encode("utf-8", "replace").decode()
