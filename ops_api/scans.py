"""Walks through the archive, one page per reading: exact while it fits on a page, else as of the last whole pass.

Counting millions at every scrape would cost more than the work itself; the proof for one mailbox is `fieldpost audit`.
The newest rows, where things go wrong, are looked at in every reading.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable
from dataclasses import replace

from sqlalchemy import Connection

from models.queries import overview, strands
from models.queries.silence import PATIENCE
from models.queries.strands import FIRST_MESSAGE, FIRST_TICKET, Kind, Page, Strand

#: Rows looked at per reading: of the walk, and at the archive's newest end.
_PAGE, _TAIL = 20_000, 1_000
#: What a person's question looks at: the newest rows, within about a second.
_TOLD = 100_000

#: The kinds of strand that only the archive shows.
ARCHIVED = frozenset({Kind.OCCURRENCE, Kind.MESSAGE, Kind.TICKET})


class OccurrenceScan:
    """Counts all occurrences by mailbox and state, and those with work left and no job."""

    def __init__(self, page: int = _PAGE) -> None:
        self._page, self._after = page, 0
        self._counts: Tally[tuple[str, str]] = Tally()
        self._stranded = 0
        #: Of the last whole pass: by mailbox and state, and how many are stranded. None before the first.
        self.counts: Tally[tuple[str, str]] | None = None
        self.stranded: int | None = None

    def read_on(self, connection: Connection) -> None:
        """Look at the next page; at the end of a pass publish it and begin again."""
        found = overview.occurrence_page(connection, self._after, self._page)
        for count in found:
            self._counts[str(count.mailbox_id), count.state.value] += count.occurrences
            self._stranded += count.stranded
        self._after = max((count.last_id for count in found), default=self._after)
        if sum(count.occurrences for count in found) < self._page:
            self.counts, self.stranded = self._counts, self._stranded
            self._counts, self._stranded, self._after = Tally(), 0, 0

    @property
    def found(self) -> int:
        """Return how many are stranded by the last whole pass, or by the pass under way when that has found more."""
        return max(self.stranded or 0, self._stranded)


class StrandWalk:
    """Finds strands of one kind among the rows of one table; tells at once of those in the pass under way."""

    def __init__(self, look: Callable[[Connection, str, int], Page], first: str, page: int = _PAGE) -> None:
        self._look, self._first, self._page = look, first, page
        self._after = first
        self._last: Strand | None = None
        self._so_far: Strand | None = None

    def read_on(self, connection: Connection) -> None:
        """Look at the next page; behind the last one begin again."""
        found = self._look(connection, self._after, self._page)
        self._so_far = joined(self._so_far, found.strand)
        self._after = found.last_id or self._first
        if found.rows < self._page:
            self._last, self._so_far, self._after = self._so_far, None, self._first

    def found(self) -> Strand | None:
        """Return the strand of the last whole pass, or of the pass under way when that has found more."""
        return most([self._last, self._so_far])


class ArchiveScan:
    """All walks together: the counts of occurrences, and the strands that only the archive shows."""

    def __init__(self, page: int = _PAGE, tail: int = _TAIL) -> None:
        self.occurrences = OccurrenceScan(page)
        self._walks = (
            StrandWalk(_messages, FIRST_MESSAGE, page),
            StrandWalk(_tickets, FIRST_TICKET, page),
        )
        self._tail = tail
        self._newest: list[Strand] = []

    def read_on(self, connection: Connection) -> list[Strand]:
        """Take one step of each walk and look at the newest rows; return what stands still, as `strands`."""
        self.occurrences.read_on(connection)
        for walk in self._walks:
            walk.read_on(connection)
        self._newest = newest(connection, self._tail)
        return self.strands()

    def strands(self) -> list[Strand]:
        """Return what stands still; an occurrence's age is not known."""
        counted = self.occurrences.found
        walked = [Strand(Kind.OCCURRENCE, counted, 0.0, "")] if counted else []
        everything = [*walked, *(found for walk in self._walks if (found := walk.found())), *self._newest]
        return [one for kind in Kind if (one := most(each for each in everything if each.kind is kind))]


def newest(connection: Connection, size: int = _TOLD) -> list[Strand]:
    """Return the strands among the newest `size` occurrences, messages and tickets."""
    tails = strands.tails(connection, size)
    stranded = [one for one in overview.occurrence_page(connection, tails.occurrence, size) if one.stranded]
    found = [_messages(connection, tails.message, size).strand, _tickets(connection, tails.ticket, size).strand]
    if stranded:
        example = f"of mailbox {stranded[0].mailbox_id}"
        found.append(Strand(Kind.OCCURRENCE, sum(one.stranded for one in stranded), 0.0, example))
    return [one for one in found if one is not None]


def joined(one: Strand | None, other: Strand | None) -> Strand | None:
    """Return two strands of different pages as one; the example is the older one's."""
    if one is None or other is None:
        return one or other
    older = max(one, other, key=lambda strand: strand.seconds)
    return replace(older, count=one.count + other.count)


def most(found: Iterable[Strand | None]) -> Strand | None:
    """Return the largest of several views of the same strand; None when there is none."""
    return max((one for one in found if one is not None), key=lambda strand: strand.count, default=None)


def _messages(connection: Connection, after: str, limit: int) -> Page:
    return strands.message_page(connection, after, limit, PATIENCE)


def _tickets(connection: Connection, after: str, limit: int) -> Page:
    return strands.ticket_page(connection, after, limit, PATIENCE)
