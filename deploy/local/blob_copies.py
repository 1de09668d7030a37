"""Copies of a folder of blobs: what the copy lacks is added, nothing is ever changed or removed.

A blob's name is the hash of its content, so a copy that has the name has the content, and a copy may be made while
the store is written to. Copied after a copy of the database, it holds every blob that database names, for a blob is
stored before the row that names it commits. A blob is read and compared with its name when it is restored; until then
a copy of the right size is believed.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pipeline.adapters.blob_codec import KINDS, BlobCodec
from pipeline.runtime.errors import Permanent, UserError

_AT_ONCE = 4
_SUFFIX = ".zst"
_NAME = re.compile(r"[0-9a-f]{64}\.zst\Z")


class BlobCopies:
    """Brings one folder of blobs up to another; remembers which parts were unchanged, so that a pass costs little."""

    def __init__(self, source: Path, target: Path, *, sound_only: bool = False) -> None:
        """Prepare to copy from `source`, which may not exist yet, to `target`.

        With `sound_only` each blob is unpacked and compared with its hash; a damaged one is left out.
        """
        self._source, self._target = source, target
        self._codec = BlobCodec() if sound_only else None
        #: When each part was changed last, as it was before it was listed.
        self._stamps: dict[Path, int] = {}
        #: Parts that were listed again after that: a blob may come within the tick of the clock that a stamp is.
        self._settled: set[Path] = set()

    def bring_up(self) -> int:
        """Copy what is missing; return how many blobs. Raises OSError when the target is full or away.

        Raises UserError when the source cannot be read. Afterwards the copies are on the disk. A part that nobody has
        written to since the last pass is not listed.
        """
        with self._reading():
            stamps = {folder: _changed_at(folder) for folder in _parts(self._source)}
        same = {folder for folder, stamp in stamps.items() if self._stamps.get(folder) == stamp}
        changed = [folder for folder in stamps if folder not in same & self._settled]
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="blob-copies") as pool:
            count = sum(pool.map(self._bring_up, changed))
        if count:
            os.sync()
        self._stamps, self._settled = stamps, same
        return count

    def _bring_up(self, folder: Path) -> int:
        """Copy what one part lacks; return how many. A copy of another size was cut short by a full disk."""
        copy = self._target / folder.relative_to(self._source)
        with self._reading():
            wanted = _blobs(folder)
        there = _blobs(copy)
        missing = [name for name, size in wanted.items() if there.get(name) != size]
        if missing:
            copy.mkdir(mode=0o700, parents=True, exist_ok=True)
        return sum(self._copy(folder / name, copy / name) for name in missing)

    def _copy(self, blob: Path, copy: Path) -> bool:
        """Copy one blob, unless it is damaged and that matters."""
        with self._reading():
            stored = blob.read_bytes()
        if self._codec is not None and not _is_sound(self._codec, blob.name.removesuffix(_SUFFIX), stored):
            return False
        fresh = copy.with_name(f"{copy.name}.part")
        with fresh.open("wb") as file:
            file.write(stored)
            file.flush()
            # Else a power cut might leave the name, the size and no content, and that would be believed.
            os.fsync(file.fileno())
        fresh.replace(copy)
        return True

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(f"the blobs in {self._source} cannot be read ({error}): is their disk there?") from error


def names(root: Path) -> Iterator[tuple[str, str]]:
    """Yield kind and hash of every blob in a store's folder."""
    for folder in _parts(root):
        for name in _blobs(folder):
            yield folder.parent.name, name.removesuffix(_SUFFIX)


def _parts(root: Path) -> list[Path]:
    """Return the folders that hold blobs: one per kind and first two digits of the hash."""
    kinds = [root / kind for kind in sorted(KINDS) if (root / kind).is_dir()]
    return [Path(entry.path) for kind in kinds for entry in os.scandir(kind) if entry.is_dir()]


def _changed_at(folder: Path) -> int:
    return folder.stat().st_mtime_ns


def _blobs(folder: Path) -> Mapping[str, int]:
    """Return the blobs of a part with their sizes; what has another name is none, or is being written."""
    if not folder.is_dir():
        return {}
    with os.scandir(folder) as entries:
        return {entry.name: entry.stat().st_size for entry in entries if _NAME.match(entry.name)}


def _is_sound(codec: BlobCodec, content_hash: str, stored: bytes) -> bool:
    try:
        codec.unpack(content_hash, stored)
    except Permanent:
        return False
    return True
