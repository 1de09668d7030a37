"""What is known of an IMAP mailbox at one moment: the cursor that is kept, and what to look at to find changes."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.core.imap_names import INBOX
from pipeline.core.uid_sets import pack, unpack

#: How many of the newest messages of a folder are compared flag by flag, where the server keeps no count of changes.
FLAG_WINDOW = 500

_VERSION = 1
#: Bits of a hexadecimal digit.
_FLAGS = ("\\seen", "\\flagged", "\\draft")


@dataclass(frozen=True, slots=True)
class FolderState:
    """A folder as it was when it was read: its counters, its UIDs ascending, and the stable id of each where offered.

    `modseq` is None without CONDSTORE; then `flags` holds a digit for each of the newest messages. `unseen` tells
    cheaply that something was read.
    """

    uidvalidity: int
    uidnext: int
    modseq: int | None = None
    unseen: int | None = None
    uids: tuple[int, ...] = ()
    ids: tuple[str, ...] = ()
    flags: str = ""

    def named(self) -> dict[int, str]:
        """Return the stable id of each UID."""
        return dict(zip(self.uids, self.ids, strict=True)) if self.ids else {}

    def flag_digits(self) -> dict[int, str]:
        """Return the digit of each UID that has one."""
        window = self.uids[len(self.uids) - len(self.flags) :]
        return dict(zip(window, self.flags, strict=True))


@dataclass(frozen=True, slots=True)
class Counters:
    """What STATUS says of a folder; None: it did not say."""

    uidvalidity: int
    uidnext: int | None
    messages: int | None
    modseq: int | None = None
    unseen: int | None = None


@dataclass(frozen=True, slots=True)
class MailboxState:
    """The cursor: every folder, what names the messages (`kind`), and ids that vanished and may have moved."""

    kind: str | None = None
    folders: Mapping[str, FolderState] = field(default_factory=dict)
    pending: tuple[str, ...] = ()

    @property
    def messages(self) -> int:
        """How many messages there are; one that lies in several folders counts once where that can be told."""
        if self.kind is not None:
            return len({one for state in self.folders.values() for one in state.ids})
        return sum(len(state.uids) for state in self.folders.values())

    def text(self) -> str:
        """Return it as the text that is kept."""
        folders = {name: _folder_json(state) for name, state in self.folders.items()}
        return _dump({"v": _VERSION, "kind": self.kind, "folders": folders, "pending": list(self.pending)})


@dataclass(frozen=True, slots=True)
class Progress:
    """The page token of changes: folders that are still to be looked at, and how those stand that were."""

    left: tuple[str, ...]
    done: Mapping[str, FolderState] = field(default_factory=dict)
    same: tuple[str, ...] = ()
    touched: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()

    def text(self) -> str:
        """Return it as an opaque text; it lives as long as one reading of changes."""
        done = {name: _folder_json(state) for name, state in self.done.items()}
        return _dump({
            "v": _VERSION, "left": list(self.left), "done": done, "same": list(self.same),
            "touched": list(self.touched), "pending": list(self.pending),
        })  # fmt: skip

    def is_same(self, name: str) -> Progress:
        """Return the progress after a folder in which nothing changed."""
        return replace(self, left=self.left[1:], same=(*self.same, name))

    def state(self, before: MailboxState) -> MailboxState:
        """Return the cursor that is reached: folders that went are not in it."""
        folders = {name: before.folders[name] for name in self.same} | dict(self.done)
        return MailboxState(before.kind, folders, self.pending)


def mailbox_state(text: str) -> MailboxState:
    """Return the state of a kept text. Raises `ValueError` for a text this version did not make."""
    found = _load(text)
    try:
        folders = {str(name): _folder(state) for name, state in found["folders"].items()}
        return MailboxState(found["kind"], folders, tuple(map(str, found["pending"])))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("this is no cursor of an IMAP mailbox") from error


def progress(text: str) -> Progress:
    """Return the progress of a page token. Raises `ValueError` for a text this version did not make."""
    found = _load(text)
    try:
        done = {str(name): _folder(state) for name, state in found["done"].items()}
        lists = (tuple(map(str, found[name])) for name in ("left", "same", "touched", "pending"))
        left, same, touched, pending = lists
        return Progress(left, done, same, touched, pending)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("this is no page token of an IMAP mailbox") from error


def is_unchanged(name: str, state: FolderState, counters: Counters) -> bool:
    """Tell whether the counters prove that a folder is as it was.

    Without CONDSTORE flags may change behind equal counters, so INBOX is always looked at; elsewhere a star then shows
    with the folder's next other change.
    """
    if (counters.uidvalidity, counters.uidnext, counters.messages) != (
        state.uidvalidity,
        state.uidnext,
        len(state.uids),
    ):
        return False
    if state.modseq is not None:
        return counters.modseq == state.modseq
    return name != INBOX and counters.unseen is not None and counters.unseen == state.unseen


def flag_digit(flags: Iterable[str]) -> str:
    """Return one hexadecimal digit for the flags that make labels."""
    known = {flag.lower() for flag in flags}
    return f"{sum(1 << bit for bit, flag in enumerate(_FLAGS) if flag in known):x}"


def where(ids: Iterable[str], folders: Mapping[str, FolderState]) -> dict[str, list[tuple[str, int]]]:
    """Return for each id the (folder, UID) pairs under which it lies; an id that lies nowhere has none."""
    found: dict[str, list[tuple[str, int]]] = {one: [] for one in ids}
    for name, state in folders.items():
        for uid, one in zip(state.uids, state.ids, strict=False):
            if one in found:
                found[one].append((name, uid))
    return found


def _folder_json(state: FolderState) -> dict[str, Any]:
    said = {
        "validity": state.uidvalidity, "next": state.uidnext, "modseq": state.modseq, "unseen": state.unseen,
        "uids": pack(state.uids), "ids": _pack_ids(state.ids), "flags": state.flags,
    }  # fmt: skip
    return {name: value for name, value in said.items() if value not in (None, "")}


def _folder(said: Mapping[str, Any]) -> FolderState:
    uids, ids, flags = tuple(unpack(said.get("uids", ""))), _unpack_ids(said.get("ids", "")), said.get("flags", "")
    if (ids and len(ids) != len(uids)) or len(flags) > len(uids):
        raise ValueError("this state of a folder contradicts itself")
    return FolderState(
        int(said["validity"]), int(said["next"]), said.get("modseq"), said.get("unseen"), uids, ids, str(flags)
    )


def _pack_ids(ids: Sequence[str]) -> str:
    return base64.b64encode(zlib.compress("\n".join(ids).encode())).decode() if ids else ""


def _unpack_ids(text: str) -> tuple[str, ...]:
    try:
        return tuple(zlib.decompress(base64.b64decode(text, validate=True)).decode().split("\n")) if text else ()
    except zlib.error as error:
        raise ValueError("the ids of this folder cannot be read") from error


def _dump(value: Mapping[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"))


def _load(text: str) -> dict[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict) or found.get("v") != _VERSION:
        raise ValueError("this text was made by another version")
    return found
