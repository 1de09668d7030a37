"""What lies behind the paths a person gives: mbox files, Maildirs and folders of messages, or why it is no mail."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pipeline.adapters.file_form import FileForm, NotMailError, look, look_at_message
from pipeline.runtime.errors import Transient, UserError

#: What this process lacks says nothing of a file: who ignored the file for it would lose mail.
_OWN_TROUBLE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
FORMS = "Give an mbox, an mbox.gz, a Maildir, .eml files, or a folder of those."


class ContainerKind(StrEnum):
    """How messages are kept together."""

    MBOX = "mbox"
    MBOX_GZ = "mbox.gz"
    MAILDIR = "maildir"
    FOLDER = "folder"


@dataclass(frozen=True, slots=True)
class Container:
    """One place with messages; `names` are the message files relative to `path`, empty for an mbox."""

    kind: ContainerKind
    path: Path
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ignored:
    """One file or folder below a given folder that is not imported, and why."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Inventory:
    """Everything found behind the given paths, in the order in which it is listed."""

    containers: tuple[Container, ...]
    ignored: tuple[Ignored, ...] = ()


def raise_own_trouble(error: OSError) -> None:
    """Raise `Transient` for an error that is not the file's: no descriptor left, no memory left."""
    if error.errno in _OWN_TROUBLE:
        raise Transient(f"files cannot be read now: {error.strerror}") from error


def inspect(paths: Sequence[Path]) -> Inventory:
    """Return what the paths hold; `UserError` for one that is missing, unreadable or no mailbox, or holds no mail.

    Inside folders, files that are no mail are listed as ignored instead. Links to folders inside folders are not
    followed. Raises `Transient` when this process can open no more files.
    """
    if not paths:
        raise UserError(f"no path was given. {FORMS}")
    containers: list[Container] = []
    ignored: list[Ignored] = []
    for path in dict.fromkeys(_existing(path) for path in paths):
        if path.is_dir():
            found, left = _inspect_folder(path)
            containers += found
            ignored += left
        else:
            containers.append(_inspect_file(path))
    return Inventory(tuple(_joined(containers)), tuple(ignored))


def _existing(path: Path) -> Path:
    try:
        return path.resolve(strict=True)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path} does not exist. {FORMS}") from None
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error


def _inspect_file(path: Path) -> Container:
    try:
        form = look(path)
    except NotMailError as error:
        raise UserError(f"{path} is {error}. {FORMS}") from error
    except OSError as error:
        raise_own_trouble(error)
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    return _container_of(path, form)


def _container_of(path: Path, form: FileForm) -> Container:
    if form is FileForm.MESSAGE:
        return Container(ContainerKind.FOLDER, path.parent, (path.name,))
    return Container(ContainerKind(form.value), path)


def _inspect_folder(top: Path) -> tuple[list[Container], list[Ignored]]:
    containers: list[Container] = []
    ignored: list[Ignored] = []

    def unreadable(error: OSError) -> None:
        raise_own_trouble(error)
        ignored.append(Ignored(Path(error.filename), f"cannot be read: {error.strerror}"))

    for folder, folders, names in os.walk(top, onerror=unreadable):
        here = Path(folder)
        in_order = sorted(names, key=os.fsencode)
        if _is_maildir(folders):
            containers.append(_inspect_maildir(here, ignored))
            ignored += [Ignored(here / name, "bookkeeping of a Maildir") for name in in_order]
        else:
            containers += _inspect_plain(here, in_order, ignored)
        folders[:] = _folders_to_enter(here, folders, ignored)
    found = [each for each in containers if each.kind is not ContainerKind.MAILDIR or each.names]
    if not found:
        raise UserError(_no_mail_text(top, ignored))
    return found, ignored


def _inspect_plain(folder: Path, names: Sequence[str], ignored: list[Ignored]) -> Iterator[Container]:
    for name in names:
        form = _look_or_ignore(folder / name, ignored)
        if form is not None:
            yield _container_of(folder / name, form)


def _inspect_maildir(folder: Path, ignored: list[Ignored]) -> Container:
    """List `new` and `cur` by unique name: neither delivery order nor ids change when a mail program sets flags."""
    found: list[str] = []
    for part in ("cur", "new"):
        if (folder / part).is_dir():
            names = [each.name for each in (folder / part).iterdir() if not each.name.startswith(".")]
            found += [
                f"{part}/{name}" for name in names if _look_or_ignore(folder / part / name, ignored, any_text=True)
            ]
    return Container(ContainerKind.MAILDIR, folder, tuple(sorted(found, key=_delivery_order)))


def _look_or_ignore(path: Path, ignored: list[Ignored], *, any_text: bool = False) -> FileForm | None:
    if path.name.startswith("."):
        ignored.append(Ignored(path, "hidden"))
        return None
    try:
        return look_at_message(path) if any_text else look(path)
    except NotMailError as error:
        ignored.append(Ignored(path, str(error)))
    except OSError as error:
        raise_own_trouble(error)
        ignored.append(Ignored(path, f"cannot be read: {error.strerror or error}"))
    return None


def _folders_to_enter(here: Path, folders: Sequence[str], ignored: list[Ignored]) -> list[str]:
    """Return the folders below that may hold more mail; Maildir++ keeps its subfolders under hidden names."""
    maildir = _is_maildir(folders)
    entered = []
    for name in sorted(folders, key=os.fsencode):
        if maildir and name in {"cur", "new", "tmp"}:
            continue
        if name.startswith(".") and not maildir:
            ignored.append(Ignored(here / name, "hidden"))
        else:
            entered.append(name)
    return entered


def _is_maildir(folders: Sequence[str]) -> bool:
    present = {"cur", "new", "tmp"}.intersection(folders)
    return len(present) >= 2 and present != {"tmp"}


def _delivery_order(name: str) -> tuple[int, bytes]:
    unique = name.rpartition("/")[2].partition(":")[0]
    seconds = re.match(r"\d{1,18}", unique)
    return int(seconds[0]) if seconds else 0, os.fsencode(unique)


def _joined(containers: Sequence[Container]) -> Iterator[Container]:
    """Make one container of all messages of one folder, where the first of them stands; nothing is listed twice."""
    names: dict[tuple[ContainerKind, Path], dict[str, None]] = {}
    for each in containers:
        names.setdefault((each.kind, each.path), {}).update(dict.fromkeys(each.names))
    for (kind, path), found in names.items():
        in_order = sorted(found, key=os.fsencode) if kind is ContainerKind.FOLDER else found
        yield Container(kind, path, tuple(in_order))


def _no_mail_text(top: Path, ignored: Sequence[Ignored]) -> str:
    if not ignored:
        return f"{top} holds no files. {FORMS}"
    first = ignored[0]
    return f"{top} holds no mail: {len(ignored)} files were looked at, such as {first.path} ({first.reason}). {FORMS}"
