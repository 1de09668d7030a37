"""Reading messages of an IMAP mailbox: where each lies now, its size first, then the bytes in bounded pieces."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.adapters.imap_client import Fields, IdKind, ImapClient, flags_of, id_of, internal_date
from pipeline.adapters.imap_connections import ImapConnections
from pipeline.adapters.imap_search import Found, Search
from pipeline.core.imap_names import Folder, labels_of, place_of
from pipeline.core.uid_sets import pack
from pipeline.ports import Fetched, Listed, Missed
from pipeline.runtime.errors import FieldpostError, Gone, Permanent, Throttled, Transient

#: One command asks for no more than this, unless a single message is larger.
BYTES_PER_COMMAND = 4 * 1024 * 1024
MESSAGES_PER_COMMAND = 20
#: Messages failing one after the other, each asked for alone: then it is not the messages.
MOST_FAILURES_IN_ROW = 2

_FACTS = ("RFC822.SIZE", "FLAGS", "INTERNALDATE")
_SAFE_ID = re.compile(r"[A-Za-z0-9_-]{1,255}")


@dataclass(slots=True)
class MessageReader:
    """Reads one batch of items. What passes by itself or needs a person ends the batch: the rest is missed alike.

    A message that the server cannot give harms no other: what failed together is asked for one by one.
    """

    connections: ImapConnections
    folders: Callable[[ImapClient], Sequence[Folder]]
    most_bytes: int
    outcomes: dict[str, Fetched | Missed] = field(default_factory=dict)
    failures_in_row: int = 0

    def read(self, items: Sequence[Listed]) -> Sequence[Fetched | Missed]:
        """Return one outcome per item, in order."""
        try:
            self._read_all(list(dict.fromkeys(item.provider_id for item in items)))
        except FieldpostError as error:
            for item in items:
                self.outcomes.setdefault(item.provider_id, Missed(item.provider_id, error))
        return [self.outcomes[item.provider_id] for item in items]

    def _read_all(self, ids: Sequence[str]) -> None:
        folders, kind = self.connections.run("list", lambda client: (self.folders(client), client.id_kind))
        found = self._by_place(ids) if kind is None else self._searched(ids, folders, kind)
        known = {folder.name: folder for folder in folders}
        together: dict[tuple[str, int], list[Found]] = {}
        for one in found:
            together.setdefault((one.place.folder, one.place.uidvalidity), []).append(one)
        for (name, _), wanted in together.items():
            self._read_folder(known.get(name) or Folder(name), wanted, kind)

    def _by_place(self, ids: Sequence[str]) -> list[Found]:
        """Return the places that the ids themselves name; an id that names none is nobody's."""
        found = []
        for one in ids:
            try:
                found.append(Found(one, place_of(one)))
            except ValueError:
                self._miss(one, Gone(f"{one!r} names no message of this mailbox"))
        return found

    def _searched(self, ids: Sequence[str], folders: Sequence[Folder], kind: IdKind) -> list[Found]:
        """Return where ids lie now. One that is nowhere is gone, unless it may have moved while it was looked for."""

        def search(client: ImapClient) -> tuple[Mapping[str, Found], bool]:
            searching = Search(client, kind)
            is_moving = searching.run([one for one in ids if _SAFE_ID.fullmatch(one)], folders)
            return searching.found, is_moving

        found, is_moving = self.connections.run("search", search)
        for one in ids:
            if one not in found:
                text = f"{one} lies in no folder that is read"
                self._miss(one, Transient(f"{text}; it may be on its way to another") if is_moving else Gone(text))
        return list(found.values())

    def _read_folder(self, folder: Folder, wanted: Sequence[Found], kind: IdKind | None) -> None:
        facts = self.connections.run("sizes", lambda client: _facts(client, wanted, kind))
        there = []
        for one in wanted:
            fields = facts.get(one.place.uid)
            if fields is None:
                self._miss(one.provider_id, _vanished(one))
            elif _size(fields) > self.most_bytes:
                self._miss(one.provider_id, self._too_large(_size(fields)))
            else:
                there.append(one)
        for piece in pieces(there, [_size(facts[one.place.uid]) for one in there]):
            self._read_piece(folder, piece, facts, kind)

    def _read_piece(
        self, folder: Folder, piece: Sequence[Found], facts: Mapping[int, Fields], kind: IdKind | None
    ) -> None:
        try:
            bodies = self.connections.run("fetch", lambda client: _bodies(client, piece, self.most_bytes))
        except Throttled:
            raise
        except (Transient, Permanent) as error:
            self._failed(folder, piece, facts, kind, error)
            return
        self.failures_in_row = 0
        for one in piece:
            self._settle(folder, one, facts[one.place.uid], bodies.get(one.place.uid), kind)

    def _failed(
        self,
        folder: Folder,
        piece: Sequence[Found],
        facts: Mapping[int, Fields],
        kind: IdKind | None,
        error: FieldpostError,
    ) -> None:
        if len(piece) > 1:
            for one in piece:
                self._read_piece(folder, [one], facts, kind)
            return
        self._miss(piece[0].provider_id, error)
        self.failures_in_row += isinstance(error, Transient)
        if self.failures_in_row >= MOST_FAILURES_IN_ROW:
            raise error

    def _settle(self, folder: Folder, one: Found, fields: Fields, body: Fields | None, kind: IdKind | None) -> None:
        raw = _raw(body) if body is not None else None
        if raw is None:
            error = _vanished(one) if body is None else Transient(f"the server gave no bytes of {one.place.text()}")
            self._miss(one.provider_id, error)
        elif len(raw) > self.most_bytes:
            self._miss(one.provider_id, self._too_large(len(raw)))
        else:
            self.outcomes[one.provider_id] = Fetched(
                one.provider_id,
                raw,
                id_of(fields, kind.thread) if kind is not None else None,
                labels_of(folder, flags_of(fields)) if one.labels is None else one.labels,
                internal_date(fields),
            )

    def _miss(self, provider_id: str, error: FieldpostError) -> None:
        self.outcomes[provider_id] = Missed(provider_id, error)

    def _too_large(self, size: int) -> Permanent:
        return Permanent(f"the message has {size} bytes or more; the most that is read is {self.most_bytes}")


def pieces(found: Sequence[Found], sizes: Sequence[int]) -> Iterator[Sequence[Found]]:
    """Yield what one command asks for: a few messages, and not too many bytes together."""
    piece: list[Found] = []
    total = 0
    for one, size in zip(found, sizes, strict=True):
        if piece and (len(piece) >= MESSAGES_PER_COMMAND or total + size > BYTES_PER_COMMAND):
            yield piece
            piece, total = [], 0
        piece.append(one)
        total += size
    if piece:
        yield piece


def _facts(client: ImapClient, wanted: Sequence[Found], kind: IdKind | None) -> Mapping[int, Fields]:
    """Return size, flags and date of messages of one folder; those of an earlier UIDVALIDITY are no longer there."""
    try:
        opened = client.open(wanted[0].place.folder)
    except Gone:
        return {}
    if opened.uidvalidity != wanted[0].place.uidvalidity:
        return {}
    uids = [one.place.uid for one in wanted]
    return client.facts(uids, [*_FACTS, *((kind.thread,) if kind is not None else ())])


def _bodies(client: ImapClient, piece: Sequence[Found], most_bytes: int) -> Mapping[int, Fields]:
    """Return the bytes of messages of one folder; PEEK leaves them unread, and the range bounds what is sent."""
    place = piece[0].place
    if client.reopen(place.folder).uidvalidity != place.uidvalidity:
        return {}
    found = client.fetch_uids(pack(one.place.uid for one in piece), [f"BODY.PEEK[]<0.{most_bytes + 1}>"])
    lacking = [one.place.uid for one in piece if one.place.uid not in found]
    # It is gone only if a fresh look does not find it either.
    there = client.facts(lacking, ["FLAGS"]) if lacking and client.open(place.folder).messages else {}
    return {**there, **found}


def _raw(fields: Fields) -> bytes | None:
    value = next((value for name, value in fields.items() if name.startswith(b"BODY[]")), None)
    return value if isinstance(value, bytes) else None


def _size(fields: Fields) -> int:
    size = fields.get(b"RFC822.SIZE")
    return size if isinstance(size, int) else 0


def _vanished(one: Found) -> FieldpostError:
    """Return that a message is gone; one that was found by a stable id a moment ago is looked for again first."""
    text = f"{one.place.text()} is no longer there"
    return Gone(text) if one.labels is None else Transient(f"{text}; it may have moved")
