"""The messages behind an inventory in order, with their ids: what a listing of files pages through."""

from __future__ import annotations

import hashlib
import os
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

from pipeline.adapters.blob_codec import MAX_CONTENT_BYTES
from pipeline.adapters.gzip_spool import unpacked
from pipeline.adapters.inventory import Container, ContainerKind, Inventory, raise_own_trouble
from pipeline.adapters.mbox import ID_BYTES, MboxIndex, Span, index_mbox
from pipeline.ports import Listed
from pipeline.runtime.errors import Permanent

_ABSENT = bytes(ID_BYTES)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the bytes of one message are: a whole file, or a span of an mbox."""

    path: Path
    span: Span | None = None

    def locator(self) -> str:
        """Return the place as text: `file:<path>` or `mbox:<offset>:<length>:<path>`, the path percent-encoded."""
        path = quote_from_bytes(os.fsencode(self.path))
        return f"file:{path}" if self.span is None else f"mbox:{self.span.offset}:{self.span.length}:{path}"

    @classmethod
    def parse(cls, locator: str) -> Place:
        """Return the place a locator names; `Permanent` for a text of another form."""
        try:
            kind, _, rest = locator.partition(":")
            if kind == "file":
                return cls(_path_of(rest))
            offset, length, path = rest.split(":", 2)
            if kind == "mbox":
                return cls(_path_of(path), Span(int(offset), int(length)))
        except ValueError:
            pass
        raise Permanent(f"not a place of a message: {locator!r}")


def provider_id_of(raw: bytes) -> str:
    """Return the id of a message in files: 40 hex digits of the SHA-256 of its bytes."""
    return hashlib.sha256(raw).hexdigest()[: ID_BYTES * 2]


@dataclass(frozen=True, slots=True)
class FolderState:
    """One version of a folder's message files; two are equal when path, names, times and sizes are."""

    path: Path
    signature: bytes
    names: tuple[str, ...] = field(compare=False)


class FileIndex:
    """Every message once, oldest first: about 50 bytes each for an mbox, and the file's name for the rest.

    A byte-identical copy inside one container gets an id of its own (`.2`, `.3`, ...); the same message in another
    container has the same id and is listed once, so that overlapping exports import each message once.
    """

    def __init__(self, inventory: Inventory, spool: Path) -> None:
        self._containers = [_read(container, spool) for container in inventory.containers]
        self._of = array("L")
        self._position = array("Q")
        self._copy = array("L")
        listed: set[bytes] = set()
        for number in range(len(self._containers)):
            self._add(number, listed)

    def __len__(self) -> int:
        return len(self._of)

    def provider_id(self, entry: int) -> str:
        """Return the id of the message at `entry`."""
        digest = _digest_at(self._containers[self._of[entry]].digests, self._position[entry])
        copy = self._copy[entry]
        return digest.hex() if copy == 1 else f"{digest.hex()}.{copy}"

    def listed(self, entry: int) -> Listed:
        """Return the message at `entry` as a listing names it."""
        return Listed(self.provider_id(entry), locator=self.place(entry).locator())

    def place(self, entry: int) -> Place:
        """Return where the bytes of the message at `entry` are."""
        return self._containers[self._of[entry]].place(self._position[entry])

    def find(self, provider_id: str) -> int | None:
        """Return where the message with this id stands, or None."""
        digest, _, copy = provider_id.partition(".")
        try:
            wanted, number = bytes.fromhex(digest), int(copy or 1)
        except ValueError:
            return None
        for of, container in enumerate(self._containers):
            position = next(islice(_positions(container.digests, wanted), number - 1, None), None)
            entry = None if position is None else self._entry(of, position)
            if entry is not None:
                return entry
        return None

    def _entry(self, of: int, position: int) -> int | None:
        """Return the entry of a position; None when another container listed that id first."""
        sought = (of, position)
        entry = bisect_left(range(len(self)), sought, key=lambda each: (self._of[each], self._position[each]))
        found = entry < len(self) and (self._of[entry], self._position[entry]) == sought
        return entry if found else None

    def _add(self, number: int, listed: set[bytes]) -> None:
        container = self._containers[number]
        copies: dict[bytes, int] = {}
        for position in range(len(container)):
            digest = _digest_at(container.digests, position)
            if digest == _ABSENT:
                continue
            copy = copies[digest] = copies.get(digest, 0) + 1
            key = digest if copy == 1 else b"%b%d" % (digest, copy)
            if key not in listed:
                listed.add(key)
                self._of.append(number)
                self._position.append(position)
                self._copy.append(copy)


class _Mbox:
    """The messages of one mbox."""

    def __init__(self, path: Path, index: MboxIndex) -> None:
        self._path = path
        self._index = index
        self.digests = index.digests

    def __len__(self) -> int:
        return len(self._index)

    def place(self, position: int) -> Place:
        return Place(self._path, Span(self._index.offsets[position], self._index.lengths[position]))


class _Folder:
    """The message files of one folder or Maildir."""

    def __init__(self, path: Path, names: Sequence[str], digests: bytes) -> None:
        self._path = path
        self._names = names
        self.digests = digests

    def __len__(self) -> int:
        return len(self._names)

    def place(self, position: int) -> Place:
        return Place(self._path / self._names[position])


def _digest_at(digests: bytes, position: int) -> bytes:
    return digests[position * ID_BYTES : (position + 1) * ID_BYTES]


def _positions(digests: bytes, wanted: bytes) -> Iterator[int]:
    """Yield the positions of a digest; a hit that straddles two digests is none."""
    if len(wanted) != ID_BYTES:
        return
    found = digests.find(wanted)
    while found >= 0:
        if found % ID_BYTES == 0:
            yield found // ID_BYTES
        found = digests.find(wanted, found + 1)


def _read(container: Container, spool: Path) -> _Mbox | _Folder:
    if container.kind in {ContainerKind.MBOX, ContainerKind.MBOX_GZ}:
        path = container.path if container.kind is ContainerKind.MBOX else unpacked(container.path, spool)
        return _Mbox(path, index_mbox(path))
    digests = _folder_digests(_state_of(container))
    return _Folder(container.path, container.names, digests)


def _state_of(container: Container) -> FolderState:
    signature = hashlib.sha256()
    for name in container.names:
        try:
            state = (container.path / name).stat()
        except OSError:
            continue
        signature.update(b"%b\0%d\0%d\0" % (os.fsencode(name), state.st_mtime_ns, state.st_size))
    return FolderState(container.path, signature.digest(), container.names)


@lru_cache(maxsize=256)
def _folder_digests(state: FolderState) -> bytes:
    return b"".join(_file_digest(state.path / name) for name in state.names)


def _file_digest(path: Path) -> bytes:
    """Return the digest of a file, or zeros when it went away after it was seen: then it is not listed.

    Raises `Transient` when this process can open no more files.
    """
    try:
        with path.open("rb") as file:
            return hashlib.sha256(file.read(MAX_CONTENT_BYTES)).digest()[:ID_BYTES]
    except OSError as error:
        raise_own_trouble(error)
        return _ABSENT


def _path_of(quoted: str) -> Path:
    if not quoted.startswith("/"):
        raise ValueError(quoted)
    return Path(os.fsdecode(unquote_to_bytes(quoted)))
