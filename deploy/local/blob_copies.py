"""Copies of a folder of blobs: what the copy lacks is added, nothing is ever changed or removed.

A blob's name is the hash of its content, so a copy that has the name has the content, and a copy may be made while
the store is written to. Copied after a copy of the database, it holds every blob that database names, for a blob is
stored before the row that names it commits.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from pipeline.adapters.blob_codec import KINDS

_AT_ONCE = 4
_SUFFIX = ".zst"


class BlobCopies:
    """Brings one folder of blobs up to another; remembers which parts were unchanged, so that a pass costs little."""

    def __init__(self, source: Path, target: Path) -> None:
        """Prepare to copy from `source`, which may not exist yet, to `target`."""
        self._source, self._target = source, target
        #: When each part was changed last, as it was before it was listed.
        self._stamps: dict[Path, int] = {}
        #: Parts that were listed again after that: a blob may come within the tick of the clock that a stamp is.
        self._settled: set[Path] = set()

    def bring_up(self) -> int:
        """Copy what is missing; return how many blobs. Raises OSError when the target is full or away.

        Afterwards the copies are on the disk. A part that nobody has written to since the last pass is not listed.
        """
        stamps = {folder: _changed_at(folder) for folder in _parts(self._source)}
        same = {folder for folder, stamp in stamps.items() if self._stamps.get(folder) == stamp}
        changed = [folder for folder in stamps if folder not in same & self._settled]
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="blob-copies") as pool:
            count = sum(pool.map(partial(_bring_up, root=self._source, target=self._target), changed))
        if count:
            os.sync()
        self._stamps, self._settled = stamps, same
        return count


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
    """Return the blobs of a part with their sizes; one that is being written has another name."""
    if not folder.is_dir():
        return {}
    with os.scandir(folder) as entries:
        return {entry.name: entry.stat().st_size for entry in entries if entry.name.endswith(_SUFFIX)}


def _bring_up(folder: Path, *, root: Path, target: Path) -> int:
    """Copy what one part lacks. A copy of another size was cut short by a full disk or a power cut."""
    copy = target / folder.relative_to(root)
    wanted, there = _blobs(folder), _blobs(copy)
    missing = [name for name, size in wanted.items() if there.get(name) != size]
    if missing:
        copy.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in missing:
        fresh = copy / f"{name}.part"
        shutil.copyfile(folder / name, fresh)
        fresh.replace(copy / name)
    return len(missing)
