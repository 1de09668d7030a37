"""A mail source whose calls are paid from its mailbox's budgets: one rest for everybody who reads it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TypeVar

from pipeline.adapters.meter import Payer
from pipeline.ports import ALL, Changes, Fetched, Label, Listed, MailSource, Missed, Page, Profile, Span, Watch
from pipeline.runtime.errors import Throttled

Value = TypeVar("Value")
#: The price of a batch of mail, and the method whose bytes are counted.
_MAIL = "messages.get"


class MeteredSource:
    """The MailSource port in front of another source that pays for nothing itself, as IMAP's.

    Each call is paid for before it is made; a refusal rests the mailbox until the told time, for every process, and
    the bytes of mail count against the mailbox's day. Waiting for news costs nothing: no answer is asked for.
    """

    def __init__(self, source: MailSource, meter: Payer) -> None:
        self._source, self._meter = source, meter

    @property
    def has_dates(self) -> bool:
        """Whether the source can bound a listing by date on both sides."""
        return self._source.has_dates

    def profile(self) -> Profile:
        """Return the source's profile."""
        return self._paid("profile", self._source.profile)

    def list_page(self, cursor: str | None, *, span: Span = ALL, limit: int, label_id: str | None = None) -> Page:
        """Return one page of the source."""
        return self._paid("list", lambda: self._source.list_page(cursor, span=span, limit=limit, label_id=label_id))

    def changes(self, cursor: str, page: str | None) -> Changes:
        """Return one page of the source's changes."""
        return self._paid("changes", lambda: self._source.changes(cursor, page))

    def fetch(self, items: Sequence[Listed]) -> Sequence[Fetched | Missed]:
        """Return the source's mail; a refusal of one item is told to the budget like one of the call."""
        if not items:
            return []
        try:
            with self._meter.slots(1):
                return self._fetch(items)
        except Throttled as error:
            return [Missed(item.provider_id, error) for item in items]

    def _fetch(self, items: Sequence[Listed]) -> Sequence[Fetched | Missed]:
        paid = self._meter.pay(_MAIL)
        try:
            answers = self._source.fetch(items)
        except Exception as error:
            self._meter.tell(paid, error, is_told=True)
            raise
        size = sum(len(one.raw) for one in answers if isinstance(one, Fetched))
        self._meter.tell(paid, _said(answers), is_told=True, size=size)
        return answers

    def labels(self) -> Sequence[Label]:
        """Return the source's labels."""
        return self._paid("labels", self._source.labels)

    def watch(self, topic: str) -> Watch:
        """Ask the source to announce changes."""
        return self._paid("watch", lambda: self._source.watch(topic))

    def wait_for_news(self, duration: timedelta) -> bool:
        """Wait for the source's news."""
        return self._source.wait_for_news(duration)

    def beside(self, other: MeteredSource) -> MeteredSource:
        """Return a source that makes the other's calls on the other's connections, paid by this one's meter."""
        return MeteredSource(other._source, self._meter)

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def _paid(self, method: str, call: Callable[[], Value]) -> Value:
        paid = self._meter.pay(method)
        try:
            value = call()
        except Exception as error:
            self._meter.tell(paid, error, is_told=True)
            raise
        self._meter.tell(paid, None)
        return value


def _said(answers: Sequence[Fetched | Missed]) -> Exception | None:
    """Return how the call ended: with a refusal if there was any, and with an error when nothing came."""
    errors = [one.error for one in answers if isinstance(one, Missed)]
    refusal = next((error for error in errors if isinstance(error, Throttled)), None)
    return refusal or (errors[0] if errors and len(errors) == len(answers) else None)
