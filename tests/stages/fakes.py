"""The outside world in memory: a mailbox, a blob store, and what opens mailboxes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from models.enums import Lane
from pipeline.core import mime
from pipeline.core.mime import Parsed
from pipeline.ports import (
    ALL,
    Changes,
    Fetched,
    Label,
    Listed,
    MailboxRef,
    MailSource,
    Missed,
    Page,
    Profile,
    Span,
    Watch,
)
from pipeline.runtime.errors import Gone, ParserDied


@dataclass
class MemorySource:
    """A mailbox in memory: `pages` by cursor, `history` by (cursor, page), `mails` by id; errors raised where put.

    `listed` remembers what each listing asked for: cursor, span and label.
    """

    pages: dict[str | None, Page | Exception] = field(default_factory=dict)
    history: dict[tuple[str, str | None], Changes | Exception] = field(default_factory=dict)
    mails: dict[str, Fetched | Exception] = field(default_factory=dict)
    cursor: str | None = "100"
    calls: list[str] = field(default_factory=list)
    listed: list[tuple[str | None, Span, str | None]] = field(default_factory=list)
    counts: Sequence[Label] | Exception = ()
    watched: Watch | Exception | None = None
    news: bool | Exception = False
    has_dates: bool = True
    broken: Exception | None = None

    def profile(self) -> Profile:
        self.calls.append("profile")
        return Profile("help@acme.example", self.cursor)

    def list_page(self, cursor: str | None, *, span: Span = ALL, limit: int, label_id: str | None = None) -> Page:
        self.calls.append("list")
        self.listed.append((cursor, span, label_id))
        return _or_raise(self.pages[cursor])

    def changes(self, cursor: str, page: str | None) -> Changes:
        self.calls.append("changes")
        return _or_raise(self.history[cursor, page])

    def fetch(self, items: Sequence[Listed]) -> Sequence[Fetched | Missed]:
        self.calls.append("fetch")
        if self.broken is not None:
            raise self.broken
        return [self._fetch(item.provider_id) for item in items]

    def _fetch(self, provider_id: str) -> Fetched | Missed:
        found = self.mails.get(provider_id, Gone(provider_id))
        return Missed(provider_id, found) if isinstance(found, Exception) else found

    def labels(self) -> Sequence[Label]:
        self.calls.append("labels")
        return _or_raise(self.counts)

    def watch(self, topic: str) -> Watch:
        self.calls.append(f"watch {topic}")
        return _or_raise(self.watched)

    def wait_for_news(self, duration: timedelta) -> bool:
        self.calls.append("wait")
        return _or_raise(self.news)

    def close(self) -> None:
        self.calls.append("close")


def _or_raise(answer: Any) -> Any:
    if isinstance(answer, Exception):
        raise answer
    return answer


@dataclass
class MemoryBlobs:
    """A blob store in memory; raises `broken` while it is set."""

    contents: dict[tuple[str, str], bytes] = field(default_factory=dict)
    broken: Exception | None = None

    def put(self, kind: str, contents: Mapping[str, bytes]) -> Mapping[str, int]:
        if self.broken is not None:
            raise self.broken
        for sha256, content in contents.items():
            assert hashlib.sha256(content).hexdigest() == sha256
            self.contents[kind, sha256] = content
        return {sha256: len(content) for sha256, content in contents.items()}

    def get(self, kind: str, hashes: Sequence[str]) -> Mapping[str, bytes]:
        if self.broken is not None:
            raise self.broken
        return {sha256: self.contents[kind, sha256] for sha256 in hashes if (kind, sha256) in self.contents}

    def delete(self, kind: str, hashes: Sequence[str]) -> None:
        if self.broken is not None:
            raise self.broken
        for sha256 in hashes:
            self.contents.pop((kind, sha256), None)


@dataclass
class MemorySources:
    """Opens the mailboxes it was given, or raises `refused`."""

    by_mailbox: dict[UUID, MemorySource] = field(default_factory=dict)
    refused: dict[UUID, Exception] = field(default_factory=dict)

    def open(self, mailbox: MailboxRef, lane: Lane = Lane.LIVE) -> MailSource:
        if mailbox.mailbox_id in self.refused:
            raise self.refused[mailbox.mailbox_id]
        return self.by_mailbox.setdefault(mailbox.mailbox_id, MemorySource())  # type: ignore[return-value]

    def close(self) -> None:
        self.by_mailbox.clear()


@dataclass
class MortalParser:
    """Reads mail in this process; it dies of those with the bytes `deadly` in them, which cost nobody their life here.

    `isolated` remembers how often it was asked to read apart.
    """

    deadly: bytes = b"X-Deadly: yes"
    isolated: int = 0

    def parse(self, raw: bytes, *, isolated: bool = False, patience: timedelta | None = None) -> Parsed:
        self.isolated += isolated
        if self.deadly in raw:
            raise ParserDied("the process that read it was ended by SIGSEGV")
        return mime.parse(raw)

    def close(self) -> None:
        """Nothing was started."""
