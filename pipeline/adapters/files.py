"""Mail in files as a mailbox: mbox, mbox.gz, Maildir, .eml files and folders of those."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from pipeline.adapters.blob_codec import MAX_CONTENT_BYTES
from pipeline.adapters.file_index import FileIndex, Place, provider_id_of
from pipeline.adapters.inventory import Inventory, inspect
from pipeline.adapters.mbox import Span as Stretch
from pipeline.adapters.mbox import read_message, separator_date
from pipeline.ports import ALL, Changes, Fetched, Label, Listed, Missed, Page, Profile, Span, Watch
from pipeline.runtime.errors import FieldpostError, Gone, PageExpired, Permanent, Transient, UserError


class FileSource:
    """The MailSource port over files. Keep one per mailbox and process: it holds the index between pages.

    The id of a message is 40 hex digits of the SHA-256 of its bytes, so the same file imported from another path names
    the same ids; the N-th identical copy inside one container adds `.N`. Files have no history: the profile has no
    cursor, and `changes`, `watch` and `wait_for_news` are `Permanent`. They have no labels, and a span does not narrow
    a listing: a file says too little about dates to leave a message out. Paths that are wrong raise `UserError` from
    `inspect`, `prepare` and `list_page`.
    """

    has_dates = False

    def __init__(self, paths: Sequence[Path], spool: Path, *, address: str = "") -> None:
        self._paths = tuple(paths)
        self._spool = spool
        self._address = address
        self._lock = threading.Lock()
        self._index: FileIndex | None = None

    def prepare(self) -> Inventory:
        """Look at the paths, unpack and index them; what a person should be told at once is raised here."""
        inventory = inspect(self._paths)
        with self._lock:
            self._index = FileIndex(inventory, self._spool)
        return inventory

    def profile(self) -> Profile:
        """Return the address given at creation, and no cursor."""
        return Profile(self._address, None)

    def list_page(
        self,
        cursor: str | None,
        *,
        span: Span = ALL,  # noqa: ARG002 - see the class
        limit: int,
        label_id: str | None = None,
    ) -> Page:
        """Return one page, newest first: the reverse of the order in the container.

        A cursor names the last message listed, so it stands when files grow between pages, also in another process;
        `PageExpired` when that message is no longer there. Nothing carries a label.
        """
        if label_id is not None:
            return Page((), None, 0)
        index = self._current_index(cursor is None)
        start = len(index) if cursor is None else _resume(index, cursor)
        stop = max(0, start - max(1, limit))
        items = [index.listed(entry) for entry in range(start - 1, stop - 1, -1)]
        return Page(items, f"{stop}:{index.provider_id(stop)}" if stop else None, len(index))

    def changes(self, cursor: str, page: str | None) -> Changes:  # noqa: ARG002 - the port's signature
        """Raise `Permanent`: files have no history."""
        raise Permanent("mail in files has no history; import the files again to find what is new")

    def fetch(self, items: Sequence[Listed]) -> Sequence[Fetched | Missed]:
        """Return the messages, each checked against its id; one that moved inside the paths is found again."""
        with _Reader() as reader:
            finder = _Finder(self._current_index)
            return [_fetch(reader, finder, item) for item in items]

    def labels(self) -> Sequence[Label]:
        """Return none: files carry no labels."""
        return ()

    def watch(self, topic: str) -> Watch:  # noqa: ARG002 - the port's signature
        """Raise `Permanent`: files announce nothing."""
        raise Permanent("mail in files announces nothing; import the files again to find what is new")

    def wait_for_news(self, duration: timedelta) -> bool:  # noqa: ARG002 - the port's signature
        """Raise `Permanent`: files cannot be waited on."""
        raise Permanent("mail in files cannot be waited on; import the files again to find what is new")

    def close(self) -> None:
        """Forget the index; no file stays open between calls."""
        self._index = None

    def _current_index(self, fresh: bool) -> FileIndex:
        index = self._index
        if index is None or fresh:
            self.prepare()
            index = self._index
        assert index is not None
        return index


class _Reader:
    """Opens each mbox once for all the messages of one call."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._files: dict[Path, tuple[BinaryIO, datetime]] = {}

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def read(self, place: Place) -> tuple[bytes, datetime]:
        """Return the message and its date: that of the From_ line, else the file's time."""
        if place.span is None:
            with place.path.open("rb") as file:
                return _bounded(file, place.path), _time_of(place.path)
        return self._read_span(place.path, place.span)

    def _read_span(self, path: Path, span: Stretch) -> tuple[bytes, datetime]:
        if path not in self._files:
            self._files[path] = self._stack.enter_context(path.open("rb")), _time_of(path)
        file, changed_at = self._files[path]
        if span.length > MAX_CONTENT_BYTES:
            raise Permanent(_too_large(path))
        separator, raw = read_message(file, span)
        return raw, separator_date(separator) or changed_at


class _Finder:
    """Looks for messages that are not where they were, with a new index at most once a call."""

    def __init__(self, current_index: Callable[[bool], FileIndex]) -> None:
        self._current_index = current_index
        self._index: FileIndex | None = None
        self._is_fresh = False

    def find(self, provider_id: str, *, fresh: bool) -> Place:
        """Return where the message is; `Gone` when it is nowhere, as when a given path itself is gone."""
        try:
            if self._index is None or (fresh and not self._is_fresh):
                self._index, self._is_fresh = self._current_index(fresh), fresh
        except UserError as error:
            raise Gone(str(error)) from error
        entry = self._index.find(provider_id)
        if entry is None:
            raise Gone("no file has this message any more")
        return self._index.place(entry)


def _fetch(reader: _Reader, finder: _Finder, item: Listed) -> Fetched | Missed:
    try:
        place = Place.parse(item.locator) if item.locator else finder.find(item.provider_id, fresh=False)
        return _read(reader, item, place)
    except (Gone, _ChangedError) as error:
        return _fetch_moved(reader, finder, item, error)
    except FieldpostError as error:
        return Missed(item.provider_id, error)


def _fetch_moved(reader: _Reader, finder: _Finder, item: Listed, why: FieldpostError) -> Fetched | Missed:
    """Read a message from where it is now: mail programs rename files of a Maildir and rewrite an mbox."""
    try:
        return _read(reader, item, finder.find(item.provider_id, fresh=True))
    except Gone:
        return Missed(item.provider_id, why)
    except FieldpostError as error:
        return Missed(item.provider_id, error)


def _read(reader: _Reader, item: Listed, place: Place) -> Fetched:
    try:
        raw, internal_at = reader.read(place)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Gone(f"{place.path} is no longer there") from error
    except OSError as error:
        raise Transient(f"{place.path} cannot be read: {error.strerror or error}") from error
    if provider_id_of(raw) != item.provider_id.partition(".")[0]:
        raise _ChangedError(f"{place.path} has changed since it was listed: import it again")
    return Fetched(item.provider_id, raw, internal_at=internal_at)


class _ChangedError(Permanent):
    """The bytes at a place are not the message that was listed there."""


def _resume(index: FileIndex, cursor: str) -> int:
    position, _, provider_id = cursor.partition(":")
    if not position.isdecimal() or not provider_id:
        raise PageExpired(f"not a cursor of a listing of files: {cursor!r}")
    entry = int(position)
    if entry < len(index) and index.provider_id(entry) == provider_id:
        return entry
    found = index.find(provider_id)
    if found is None:
        raise PageExpired("the message at which the listing stood is no longer in the files")
    return found


def _bounded(file: BinaryIO, path: Path) -> bytes:
    raw = file.read(MAX_CONTENT_BYTES + 1)
    if len(raw) > MAX_CONTENT_BYTES:
        raise Permanent(_too_large(path))
    return raw


def _too_large(path: Path) -> str:
    return f"{path} holds a message of more than {MAX_CONTENT_BYTES} bytes, the most that is stored"


def _time_of(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)
