"""One page of an IMAP mailbox: folder after folder, each from its newest message down."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.adapters.imap_client import ImapClient, day_before
from pipeline.adapters.imap_folders import facts_wanted, listed
from pipeline.core.imap_names import Folder, ListingCursor, folder_order, listing_cursor, shown
from pipeline.core.uid_sets import GREATEST, windows_down
from pipeline.ports import Listed, Page, Span
from pipeline.runtime.errors import Gone, PageExpired

#: The first range that is searched is this many times as wide as the page: UIDs of deleted messages are not reused.
SPARSE = 4

#: UIDVALIDITY of a folder that was not opened yet.
_UNKNOWN = 0


def list_page(
    client: ImapClient, folders: Sequence[Folder], cursor: str | None, *, span: Span, limit: int, label_id: str | None
) -> Page:
    """Return the next page; it ends with its folder. Raises `PageExpired`."""
    chosen = [folder for folder in folders if label_id is None or label_id in folder.words]
    start = _read(cursor) if cursor is not None else None
    if start is not None:
        chosen = [folder for folder in chosen if folder_order(folder.name) >= folder_order(start.folder)]
    for place, folder in enumerate(chosen):
        below = start if start is not None and start.folder == folder.name else None
        items, next_below = _folder_page(client, folder, below, span, limit)
        if next_below is None and place + 1 < len(chosen):
            next_below = ListingCursor(chosen[place + 1].name, _UNKNOWN, GREATEST)
        if items or next_below is None:
            return Page(items, next_below.text() if next_below is not None else None)
    return Page((), None)


def _folder_page(
    client: ImapClient, folder: Folder, start: ListingCursor | None, span: Span, limit: int
) -> tuple[list[Listed], ListingCursor | None]:
    """Return items of one folder, newest first, and where it goes on; None: it is at its end."""
    try:
        opened = client.open(folder.name)
    except Gone:
        return [], None
    if start is not None and start.uidvalidity not in {opened.uidvalidity, _UNKNOWN}:
        raise PageExpired(f"{shown(folder.name)} was made anew at the server while it was listed")
    if not opened.messages:
        return [], None
    top = opened.uidnext or GREATEST
    uids, is_end = _newest(client, top if start is None else min(start.below, top), span, limit)
    facts = client.facts(uids, facts_wanted(client.id_kind))
    items = [listed(folder, opened.uidvalidity, uid, facts[uid], client.id_kind) for uid in uids if uid in facts]
    return items, None if is_end else ListingCursor(folder.name, opened.uidvalidity, uids[-1])


def _newest(client: ImapClient, below: int, span: Span, limit: int) -> tuple[list[int], bool]:
    """Return the newest UIDs under a bound, and whether none is left; one search of everything would be long."""
    assert client.opened is not None
    since = [] if span.after is None else ["SINCE", day_before(span.after)]
    found: list[int] = []
    for low, high in windows_down(below, limit * SPARSE, client.widest_search):
        found += reversed(client.uids(["UID", f"{low}:{high}", *since]))
        if len(found) > limit or (len(found) == limit and low > 1):
            return found[:limit], False
    return found, True


def _read(cursor: str) -> ListingCursor:
    try:
        return listing_cursor(cursor)
    except ValueError as error:
        raise PageExpired("this is no cursor of a listing of an IMAP mailbox") from error
