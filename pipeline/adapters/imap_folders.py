"""One folder of an IMAP mailbox: what lies in it, and how that differs from what is remembered of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from pipeline.adapters.imap_client import Fields, IdKind, ImapClient, Opened, flags_of, id_of
from pipeline.core.imap_names import Folder, Place, labels_of, shown
from pipeline.core.imap_state import FLAG_WINDOW, Counters, FolderState, MailboxState, flag_digit
from pipeline.ports import Listed
from pipeline.runtime.errors import CursorExpired, Gone, Transient

#: New messages of one folder in one answer.
MOST_ADDED = 5_000


@dataclass(frozen=True, slots=True)
class FolderChange:
    """How a folder differs from what is remembered: its state now, and what was added, vanished and got other flags.

    `is_whole` is False when it holds more new messages than one answer takes; it is to be looked at again.
    """

    state: FolderState
    added: Mapping[int, Fields]
    vanished: Sequence[int]
    reflagged: Mapping[int, Fields]
    is_whole: bool


def facts_wanted(kind: IdKind | None) -> list[str]:
    """Return the items that name a message and its labels."""
    return ["FLAGS"] if kind is None else ["FLAGS", kind.message, kind.thread]


def listed(folder: Folder, uidvalidity: int, uid: int, fields: Fields, kind: IdKind | None) -> Listed:
    """Return a message as the product names it; without a stable id its place is its id."""
    place = Place(folder.name, uidvalidity, uid).text()
    labels = labels_of(folder, flags_of(fields))
    named = id_of(fields, kind.message) if kind is not None else None
    if kind is None or named is None:
        return Listed(place, labels=labels)
    return Listed(named, id_of(fields, kind.thread), place, labels)


def snapshot(client: ImapClient, folders: Sequence[Folder]) -> MailboxState:
    """Return what lies in every folder now."""
    kind = client.id_kind
    states: dict[str, FolderState] = {}
    for folder in folders:
        try:
            states[folder.name] = _folder_now(client, folder.name, client.counters(folder.name), kind)
        except Gone:  # it went between the list and the look
            continue
    return MailboxState(kind.message if kind else None, states)


def compare(client: ImapClient, name: str, before: FolderState | None, counters: Counters) -> FolderChange:
    """Return how a folder differs from `before`; None: it is new. Raises `CursorExpired`, or `Gone` when it went;
    `Transient` when there are more new messages than one answer takes and none of those asked for was described.

    What is remembered is exactly what was seen, and counters are those from before the look: a message that arrives
    meanwhile is new the next time.
    """
    opened, kind = client.open(name), client.id_kind
    old = before or FolderState(opened.uidvalidity, 1, opened.modseq)
    if opened.uidvalidity != old.uidvalidity:
        raise CursorExpired(f"{shown(name)} was made anew at the server: its UIDVALIDITY is now {opened.uidvalidity}")
    present = client.all_uids()
    kept = frozenset(old.uids).intersection(present)
    fresh = [uid for uid in present if uid not in kept]
    added = client.facts(fresh[:MOST_ADDED], facts_wanted(kind))
    is_whole = len(fresh) <= MOST_ADDED
    if not added and not is_whole:  # to look again would find the same ones, without end
        raise Transient(f"IMAP fetch: of {MOST_ADDED} new messages in {shown(name)} the server described none")
    state = _state(opened, counters, [*kept, *added], old.named() | _names(opened, added, kind), present)
    reflagged: Mapping[int, Fields]
    if opened.modseq is not None and old.modseq is not None:
        is_moved = opened.modseq != old.modseq
        reflagged = client.facts_changed(kept, ["FLAGS"], old.modseq) if is_moved else {}
    else:
        state, reflagged = _compare_flags(client, old, state, added)
    # No server gives this UIDNEXT: a folder that was not read to its end is looked at again.
    left_open = state if is_whole else replace(state, uidnext=0, modseq=old.modseq)
    return FolderChange(left_open, added, sorted(frozenset(old.uids) - kept), reflagged, is_whole)


def _folder_now(client: ImapClient, name: str, counters: Counters, kind: IdKind | None) -> FolderState:
    opened = client.open(name)
    uids = client.all_uids()
    names = _names(opened, client.facts(uids, [kind.message]), kind) if kind is not None else {}
    # One that vanished before it was named was never there.
    state = _state(opened, counters, names if kind is not None else uids, names, uids)
    return _compare_flags(client, state, state, {})[0] if state.modseq is None else state


def _state(
    opened: Opened, counters: Counters, uids: Collection[int], names: Mapping[int, str], present: Sequence[int]
) -> FolderState:
    ordered = tuple(sorted(uids))
    return FolderState(
        opened.uidvalidity,
        max(opened.uidnext or 1, present[-1] + 1 if present else 1),
        opened.modseq,
        counters.unseen if opened.modseq is None else None,
        ordered,
        tuple(names[uid] for uid in ordered) if names else (),
    )


def _names(opened: Opened, facts: Mapping[int, Fields], kind: IdKind | None) -> dict[int, str]:
    if kind is None:
        return {}
    folder = Folder(opened.folder)
    return {uid: listed(folder, opened.uidvalidity, uid, fields, kind).provider_id for uid, fields in facts.items()}


def _compare_flags(
    client: ImapClient, old: FolderState, state: FolderState, added: Mapping[int, Fields]
) -> tuple[FolderState, Mapping[int, Fields]]:
    """Compare the flags of the newest messages one by one: the server keeps no count of changes."""
    window = state.uids[-FLAG_WINDOW:]
    now = client.facts([uid for uid in window if uid not in added], ["FLAGS"])
    was = old.flag_digits()
    digits = was | {uid: flag_digit(flags_of(fields)) for uid, fields in [*now.items(), *added.items()]}
    reflagged = {uid: fields for uid, fields in now.items() if digits[uid] != was.get(uid, digits[uid])}
    flags = "".join(digits.get(uid, "0") for uid in window) if state.modseq is None else ""
    return replace(state, flags=flags), reflagged
