"""What tests of IMAP share: letters, a ledger that follows changes, and the truth as another program sees it."""

from __future__ import annotations

from dataclasses import dataclass, field

from imapclient import IMAPClient

from pipeline.core.imap_names import Folder, Place, folders_to_read, labels_of
from pipeline.ports import Changes, Fetched, Listed, MailSource, Missed


def letter(number: int, body: str = "Hello.") -> bytes:
    """Return a small message as IMAP carries it, that no other number has."""
    head = f"From: a@example.org\r\nSubject: number {number}\r\nMessage-ID: <{number}@example.org>\r\n"
    return f"{head}\r\n{body}\r\n".encode()


def listing(source: MailSource, limit: int = 500, **options: object) -> list[list[Listed]]:
    """Return every page of a listing."""
    pages, cursor = [], None
    while True:
        page = source.list_page(cursor, limit=limit, **options)  # type: ignore[arg-type]
        pages.append(list(page.items))
        cursor = page.next_cursor
        if cursor is None:
            return pages


def bytes_of(outcomes: object) -> list[bytes]:
    """Return the raw messages; fails for one that was missed."""
    assert isinstance(outcomes, list)
    assert not [each for each in outcomes if isinstance(each, Missed)], outcomes
    return [each.raw for each in outcomes if isinstance(each, Fetched)]


@dataclass
class Ledger:
    """Labels by id, as the product's history keeps them: read to the last page, then taken over at once."""

    source: MailSource
    cursor: str
    labels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    pages: int = 0

    @classmethod
    def begin(cls, source: MailSource) -> Ledger:
        """Take the cursor, list everything, and fetch it, for the labels."""
        cursor = source.profile().cursor
        assert cursor is not None
        ledger = cls(source, cursor)
        ledger.read([item for page in listing(source) for item in page])
        return ledger

    def read(self, items: list[Listed]) -> None:
        """Fetch messages and keep the labels they come with; a vanished one is not there."""
        for each in self.source.fetch(items):
            if isinstance(each, Fetched):
                self.labels[each.provider_id] = each.labels

    def follow(self) -> list[Changes]:
        """Read all changes since the cursor and take them over."""
        read: list[Changes] = []
        page = None
        while True:
            read.append(self.source.changes(self.cursor, page))
            page = read[-1].next_page
            if page is None:
                break
        deleted = {one for changes in read for one in changes.deleted}
        for changes in read:
            fresh = {item.provider_id: item.labels for item in changes.added}
            self.labels |= {one: labels for one, labels in fresh.items() if one not in self.labels}
        for changes in read:
            self.labels |= changes.labels
        self.labels = {one: labels for one, labels in self.labels.items() if one not in deleted}
        self.cursor = read[-1].cursor
        self.pages += len(read)
        return read


def truth(client: IMAPClient) -> dict[str, tuple[str, ...]]:
    """Return the labels of every message by its place, as another program reads them."""
    found = {}
    listed = [([flag.decode() for flag in flags], delimiter.decode(), name)
              for flags, delimiter, name in client.list_folders()]  # fmt: skip
    for folder in folders_to_read(listed, None):
        found |= _folder(client, folder)
    return found


def _folder(client: IMAPClient, folder: Folder) -> dict[str, tuple[str, ...]]:
    uidvalidity = client.select_folder(folder.name, readonly=True)[b"UIDVALIDITY"]
    flags = client.get_flags(client.search("ALL"))
    client.close_folder()
    return {
        Place(folder.name, uidvalidity, uid).text(): labels_of(folder, [flag.decode() for flag in some])
        for uid, some in flags.items()
    }
