"""A Gmail mailbox behind the MailSource port, on Google's own client."""

from __future__ import annotations

import binascii
import math
import re
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial

from google.auth.credentials import Credentials

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.gmail_calls import Answer, GmailCalls, OnCall
from pipeline.adapters.gmail_errors import TooManyAtOnce, doubted
from pipeline.adapters.guarded_http import Guard
from pipeline.adapters.meter import NullMeter, Payer
from pipeline.ports import ALL, Changes, Clock, Fetched, Label, Listed, Missed, Page, Profile, Span, Watch
from pipeline.runtime.errors import (
    CursorExpired,
    FieldpostError,
    Forbidden,
    Gone,
    NeedsAuthorization,
    OutOfBudget,
    Permanent,
    Suspended,
    Throttled,
)

PAGE_LIMIT = 500

#: A number above 0. Google's has 64 bits; other implementations write longer ones.
_HISTORY_ID = re.compile(r"0*[1-9][0-9]{0,39}")
_BASE64URL = bytes.maketrans(b"-_", b"+/")


class GmailSource:
    """The MailSource port over the Gmail API. Keep one per mailbox and process: to make it costs more than a call.

    As many messages are got at a time as the meter has slots for, each call on a kept-alive connection. Batches are
    not used: they save no quota and trip the limit of concurrent calls. When Gmail says that there are too many calls
    at once, the worker that was told so stops. Any other throttling, or a need for authorization, ends the fetch: what
    was not yet asked for is returned as missed without a call, for the same reason.

    Before anything else is read the profile is, once: credentials of another account raise `NeedsAuthorization`, so
    that another's mail never gets into this mailbox.
    """

    has_dates = True

    def __init__(
        self,
        address: str,
        credentials: Credentials,
        endpoint: str | None = None,
        *,
        clock: Clock | None = None,
        on_call: OnCall | None = None,
        meter: Payer | None = None,
        guard: Guard | None = None,
    ) -> None:
        self._address = address
        self._clock = clock or SystemClock()
        self._meter = meter or NullMeter()
        self._calls = GmailCalls(credentials, endpoint, self._clock, self._meter, on_call, guard=guard)
        self._owner = threading.Lock()
        self._owner_is_known = False

    def profile(self) -> Profile:
        """Return the mailbox and its newest history id; `NeedsAuthorization` when the credentials are another's."""
        request = self._calls.users.getProfile(userId="me")
        profile = self._calls.call("getProfile", request, _profile)
        if profile.address.casefold() != self._address.casefold():
            text = f"these credentials belong to {profile.address}, not to {self._address}"
            raise doubted("getProfile", text, self._clock.now())
        self._owner_is_known = True
        return profile

    def list_page(self, cursor: str | None, *, span: Span = ALL, limit: int, label_id: str | None = None) -> Page:
        """Return one page of ids, newest first, spam and trash included; at most 500. The cursor is a page token."""
        self._check_owner()
        options: dict[str, object] = {"maxResults": max(1, min(limit, PAGE_LIMIT)), "includeSpamTrash": True}
        if cursor is not None:
            options["pageToken"] = cursor
        if label_id is not None:
            options["labelIds"] = [label_id]
        if query := _query(span):
            options["q"] = query
        return self._calls.call("messages.list", self._calls.messages.list(userId="me", **options), _page)

    def changes(self, cursor: str, page: str | None) -> Changes:
        """Return one page of history after `cursor`, a history id in digits; only that of the last page may be kept.

        `CursorExpired` also for a cursor that never was one, and when the mailbox's history is behind it, as after a
        restore.
        """
        if _HISTORY_ID.fullmatch(cursor) is None:
            raise CursorExpired(f"{cursor!r} is no history id")
        self._check_owner()
        options = {"startHistoryId": cursor, "maxResults": PAGE_LIMIT}
        if page is not None:
            options["pageToken"] = page
        changes = self._calls.call("history.list", self._calls.history.list(userId="me", **options), _changes)
        if int(changes.cursor) < int(cursor):
            text = f"the history of {self._address} went back from {cursor} to {changes.cursor}"
            raise doubted("history.list", text, self._clock.now())
        return changes

    def fetch(self, items: Sequence[Listed]) -> Sequence[Fetched | Missed]:
        """Return the raw messages in order of the items."""
        try:
            self._check_owner()
        except FieldpostError as error:
            return [Missed(item.provider_id, error) for item in items]
        work = _Work(items)
        with self._meter.slots(len(items)) as at_once:
            self._drain_together(work, at_once)
        return work.outcomes()

    def labels(self) -> Sequence[Label]:
        """Return every label with Gmail's count of its messages; one that vanishes meanwhile is left out."""
        self._check_owner()
        resource = self._calls.users.labels()
        ids = self._calls.call("labels.list", resource.list(userId="me"), _label_ids)
        found: list[Label] = []
        for label_id in ids:
            try:
                found.append(self._calls.call("labels.get", resource.get(userId="me", id=label_id), _label))
            except Gone:
                continue
        return found

    def watch(self, topic: str) -> Watch:
        """Ask for announcements of the whole mailbox on a Pub/Sub topic, or renew that; it lasts seven days."""
        self._check_owner()
        request = self._calls.users.watch(userId="me", body={"topicName": topic})
        return self._calls.call("watch", request, _watch)

    def wait_for_news(self, duration: timedelta) -> bool:  # noqa: ARG002 - the port's signature
        """Raise `Permanent`: Gmail announces changes on a topic only."""
        raise Permanent("a Gmail mailbox cannot be waited on; set up push, or let the schedule ask")

    def close(self) -> None:
        """Close every connection, one that a call uses after that call; calls to come open one each."""
        self._calls.close()

    def _check_owner(self) -> None:
        """Read the profile unless it was read before; threads that come meanwhile wait for it."""
        if self._owner_is_known:
            return
        with self._owner:
            if not self._owner_is_known:
                self.profile()

    def _drain_together(self, work: _Work, at_once: int) -> None:
        """Work with this thread and some that end with the fetch: a thousand mailboxes keep no threads."""
        if at_once < 2:
            self._drain(work)
            return
        with ThreadPoolExecutor(at_once - 1, thread_name_prefix="gmail") as pool:
            others = [pool.submit(self._drain, work) for _ in range(at_once - 1)]
            self._drain(work)
        for other in others:
            other.result()

    def _drain(self, work: _Work) -> None:
        """Get one message after the other until none is left or Gmail asks for patience."""
        while (taken := work.take()) is not None:
            number, item = taken
            try:
                work.settle(number, self._get(item, work.left))
            except FieldpostError as error:
                work.settle(number, Missed(item.provider_id, error))
                if not work.goes_on_after(error):
                    return

    def _get(self, item: Listed, left: int) -> Fetched:
        request = self._calls.messages.get(userId="me", id=item.provider_id, format="raw")
        read = partial(_fetched, item.provider_id)
        return self._calls.call("messages.get", request, read, wanted=left + 1)


class _Work:
    """The items of one fetch and what became of them, shared by its workers."""

    def __init__(self, items: Sequence[Listed]) -> None:
        self._left = deque(enumerate(items))
        self._outcomes: dict[int, Fetched | Missed] = {}
        self._ended_by: FieldpostError | None = None
        self.crowded_by: TooManyAtOnce | None = None

    @property
    def left(self) -> int:
        """How many items nobody has taken yet."""
        return len(self._left)

    def take(self) -> tuple[int, Listed] | None:
        """Return the next item with its number, or None when there is nothing more to do."""
        if self._ended_by is not None:
            return None
        try:
            return self._left.popleft()
        except IndexError:
            return None

    def settle(self, number: int, outcome: Fetched | Missed) -> None:
        """Keep what became of an item."""
        self._outcomes[number] = outcome

    def goes_on_after(self, error: FieldpostError) -> bool:
        """Tell a worker whether to take another item after an error."""
        if isinstance(error, TooManyAtOnce):
            self.crowded_by = error
        elif isinstance(error, Throttled | NeedsAuthorization | Forbidden | Suspended):
            self._ended_by = error
        else:
            return True
        return False

    def outcomes(self) -> list[Fetched | Missed]:
        """Return the outcomes in order; items nobody asked for missed for the reason that ended the fetch."""
        reason = self._ended_by or self.crowded_by
        if isinstance(reason, Throttled) and not isinstance(reason, TooManyAtOnce):
            reason = OutOfBudget(str(reason), reason.retry_after, reason.reach)
        for number, item in self._left:
            assert reason is not None
            self._outcomes[number] = Missed(item.provider_id, reason)
        return [self._outcomes[number] for number in range(len(self._outcomes))]


def _profile(answer: Answer) -> Profile:
    messages = answer.get("messagesTotal")
    return Profile(str(answer["emailAddress"]), _history_id(answer), None if messages is None else int(messages))


def _history_id(answer: Answer) -> str:
    """Return the history id in digits, as Gmail writes it."""
    return str(int(answer["historyId"]))


def _query(span: Span) -> str:
    """Return the search for a span, a second wider on both sides.

    Whether Gmail's `after:` and `before:` include their second is not documented, and an id listed twice does no harm.
    """
    words: list[str] = []
    if span.after is not None:
        words.append(f"after:{math.floor(span.after.timestamp()) - 1}")
    if span.before is not None:
        words.append(f"before:{math.ceil(span.before.timestamp()) + 1}")
    return " ".join(words)


def _page(answer: Answer) -> Page:
    items = [_listed(message) for message in answer.get("messages", ())]
    return Page(items, answer.get("nextPageToken"), answer.get("resultSizeEstimate"))


def _listed(message: Answer) -> Listed:
    return Listed(str(message["id"]), message.get("threadId"), labels=tuple(message.get("labelIds", ())))


def _changes(answer: Answer) -> Changes:
    """Read one page of history; a page may lack `history` and still have a next one, or repeat a record.

    Records are taken by id, so that the last word on a message's labels wins.
    """
    added: dict[str, Listed] = {}
    deleted: dict[str, None] = {}
    labels: dict[str, tuple[str, ...]] = {}
    for record in sorted(answer.get("history", ()), key=lambda record: int(record["id"])):
        for each in record.get("messagesAdded", ()):
            added.setdefault(str(each["message"]["id"]), _listed(each["message"]))
        for each in record.get("messagesDeleted", ()):
            deleted[str(each["message"]["id"])] = None
        for each in [*record.get("labelsAdded", ()), *record.get("labelsRemoved", ())]:
            labels[str(each["message"]["id"])] = tuple(each["message"].get("labelIds", ()))
    # The id of a record is a place to go on from, when there are more pages than one job reads.
    so_far = max((int(record["id"]) for record in answer.get("history", ())), default=None)
    return Changes(
        _history_id(answer),
        list(added.values()),
        list(deleted),
        labels,
        answer.get("nextPageToken"),
        None if so_far is None else str(so_far),
    )


def _label_ids(answer: Answer) -> list[str]:
    return [str(label["id"]) for label in answer.get("labels", ())]


def _label(answer: Answer) -> Label:
    return Label(str(answer["id"]), str(answer.get("name", answer["id"])), int(answer.get("messagesTotal", 0)))


def _watch(answer: Answer) -> Watch:
    expires_at = datetime.fromtimestamp(int(answer["expiration"]) / 1000, UTC)
    return Watch(expires_at, _history_id(answer))


def _fetched(provider_id: str, answer: Answer) -> Fetched:
    if answer["id"] != provider_id:
        raise ValueError(f"{answer['id']} was sent instead of {provider_id}")
    return Fetched(
        provider_id,
        _decoded(answer["raw"]),
        answer.get("threadId"),
        tuple(answer.get("labelIds", ())),
        _internal_at(answer.get("internalDate")),
    )


def _decoded(raw: str) -> bytes:
    """Return the bytes of base64url with or without padding; `ValueError` for any other character or a cut end."""
    text = raw.encode("ascii").translate(_BASE64URL)
    return binascii.a2b_base64(text + b"=" * (-len(text) % 4), strict_mode=True)


def _internal_at(milliseconds: object) -> datetime | None:
    if milliseconds is None:
        return None
    try:
        return datetime.fromtimestamp(int(str(milliseconds)) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
