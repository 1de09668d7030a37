"""What changed in an IMAP mailbox since a cursor: one folder after the other, then messages that lie in several."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from pipeline.adapters.imap_client import ImapClient, flags_of
from pipeline.adapters.imap_folders import FolderChange, compare, listed
from pipeline.core.imap_names import Folder, Place, labels_of
from pipeline.core.imap_state import FolderState, MailboxState, Progress, is_unchanged, where
from pipeline.ports import Changes
from pipeline.runtime.errors import CursorExpired, Gone

#: Messages whose labels are put together in one answer.
MOST_TOUCHED = 2_000


@dataclass(frozen=True, slots=True)
class ChangesReader:
    """Reads one page of changes over one connection.

    Where only its place names a message, each folder's page is final: a move is a deletion here and an addition there.
    With stable ids a folder's page names only what is new to the mailbox; whatever else happened to an id is decided
    after the last folder, from all folders together. An id that lies nowhere is deleted, unless mail came into a folder
    after that was looked at: then it may have moved there, and waits for the next reading.
    """

    client: ImapClient
    folders: Mapping[str, Folder]
    before: MailboxState

    def first(self) -> Progress:
        """Return the start of a reading. Raises `CursorExpired` when messages are named otherwise than before."""
        kind = self.client.id_kind
        if self.before.kind != (kind.message if kind else None):
            raise CursorExpired("the server names messages otherwise than before")
        return Progress(tuple(self.folders), touched=self.before.pending)

    def page(self, progress: Progress | None, cursor: str) -> Changes:
        """Return the next page that says something, or the last one."""
        now, changes = self._went(cursor) if progress is None else (progress, Changes(cursor))
        while now.left and not _says(changes):
            now, changes = self._look(now, cursor)
        if not now.left and not _says(changes) and now.touched:
            now, changes = self._settle(now, cursor)
        if now.left or now.touched:
            return replace(changes, next_page=now.text())
        return replace(changes, cursor=now.state(self.before).text())

    def _went(self, cursor: str) -> tuple[Progress, Changes]:
        """Start with the folders that are no longer there."""
        gone = {name: state for name, state in self.before.folders.items() if name not in self.folders}
        lost = [one for name, state in gone.items() for one in _ids(name, state, state.uids)]
        if self.before.kind is not None:
            return _touch(self.first(), lost), Changes(cursor)
        return self.first(), Changes(cursor, deleted=lost)

    def _look(self, now: Progress, cursor: str) -> tuple[Progress, Changes]:
        """Look at the next folder."""
        name = now.left[0]
        state = now.done.get(name) or self.before.folders.get(name)
        try:
            counters = self.client.counters(name)
            if state is not None and is_unchanged(name, state, counters):
                return now.is_same(name), Changes(cursor)
            change = compare(self.client, name, state, counters)
        except Gone:
            empty = FolderState(0, 0) if state is None else replace(state, uids=(), ids=(), flags="")
            change = FolderChange(empty, {}, state.uids if state else (), {}, is_whole=True)
            return self._note(now, name, state, change, keep=False), self._said(now, name, state, change, cursor)
        return self._note(now, name, state, change, keep=True), self._said(now, name, state, change, cursor)

    def _said(self, now: Progress, name: str, state: FolderState | None, change: FolderChange, cursor: str) -> Changes:
        """Return what a folder's change says by itself."""
        folder, kind = self.folders.get(name, Folder(name)), self.client.id_kind
        added = [listed(folder, change.state.uidvalidity, uid, fields, kind) for uid, fields in change.added.items()]
        if self.before.kind is not None:
            known = self._known(now)
            return Changes(cursor, added=[item for item in added if item.provider_id not in known])
        reflagged = {uid: labels_of(folder, flags_of(fields)) for uid, fields in change.reflagged.items()}
        places = dict(zip(reflagged, _ids(name, change.state, reflagged), strict=True))
        return Changes(
            cursor,
            added=added,
            deleted=_ids(name, state, change.vanished) if state is not None else (),
            labels={places[uid]: labels for uid, labels in reflagged.items()},
        )

    def _note(
        self, now: Progress, name: str, state: FolderState | None, change: FolderChange, *, keep: bool
    ) -> Progress:
        """Return the progress after a folder; ids that lie, or lay, in several folders are kept for the end."""
        touched: list[str] = []
        if self.before.kind is not None:
            known, names, old = self._known(now), change.state.named(), state.named() if state is not None else {}
            touched += [old[uid] for uid in change.vanished]
            touched += [names[uid] for uid in change.reflagged if uid in names]
            touched += [names[uid] for uid in change.added if names[uid] in known]
        done = {**now.done, name: change.state} if keep else {k: v for k, v in now.done.items() if k != name}
        return _touch(replace(now, left=now.left[1:] if change.is_whole else now.left, done=done), touched)

    def _known(self, now: Progress) -> frozenset[str]:
        states = [*self.before.folders.values(), *now.done.values()]
        return frozenset(one for state in states for one in state.ids)

    def _settle(self, now: Progress, cursor: str) -> tuple[Progress, Changes]:
        """Say where the next of the touched ids lie now, all folders together."""
        piece, rest = now.touched[:MOST_TOUCHED], now.touched[MOST_TOUCHED:]
        states = now.state(self.before).folders
        places = where(piece, states)
        labels = self._labels(places)
        lost = [one for one in piece if not places[one]]
        if lost and self._has_moved(states):
            return replace(now, touched=rest, pending=(*now.pending, *lost)), Changes(cursor, labels=labels)
        return replace(now, touched=rest), Changes(cursor, labels=labels, deleted=lost)

    def _labels(self, places: Mapping[str, Sequence[tuple[str, int]]]) -> dict[str, tuple[str, ...]]:
        """Return the labels of ids from every folder they lie in."""
        by_folder: dict[str, dict[int, str]] = {}
        for one, found in places.items():
            for name, uid in found:
                by_folder.setdefault(name, {})[uid] = one
        labels: dict[str, dict[str, None]] = {}
        for name in (name for name in self.folders if name in by_folder):
            for uid, words in labels_in(self.client, self.folders[name], by_folder[name]).items():
                labels.setdefault(by_folder[name][uid], {}).update(dict.fromkeys(words))
        return {one: tuple(words) for one, words in labels.items()}

    def _has_moved(self, states: Mapping[str, FolderState]) -> bool:
        """Tell whether mail came into any folder after it was looked at."""
        return any(name not in states or self._uidnext(name) != states[name].uidnext for name in self.folders)

    def _uidnext(self, name: str) -> int | None:
        try:
            return self.client.counters(name).uidnext
        except Gone:
            return None


def labels_in(client: ImapClient, folder: Folder, uids: Iterable[int]) -> dict[int, tuple[str, ...]]:
    """Return the labels that messages have by lying in a folder; of one that vanished there are none."""
    try:
        client.open(folder.name)
    except Gone:
        return {}
    return {uid: labels_of(folder, flags_of(fields)) for uid, fields in client.facts(uids, ["FLAGS"]).items()}


def _ids(name: str, state: FolderState, uids: Iterable[int]) -> list[str]:
    """Return the ids of messages of a folder."""
    if state.ids:
        names = state.named()
        return [names[uid] for uid in uids]
    return [Place(name, state.uidvalidity, uid).text() for uid in uids]


def _touch(now: Progress, ids: Iterable[str]) -> Progress:
    return replace(now, touched=tuple(dict.fromkeys((*now.touched, *ids))))


def _says(changes: Changes) -> bool:
    return bool(changes.added or changes.deleted or changes.labels)
