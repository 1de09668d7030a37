"""A Gmail mailbox behind the MailSource port, on Google's own client."""

from __future__ import annotations

import binascii
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from google.auth.credentials import Credentials

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.gmail_calls import Answer, GmailCalls, OnCall
from pipeline.adapters.gmail_errors import TooManyAtOnce
from pipeline.adapters.gmail_quota import COSTS_SINCE_2026_05
from pipeline.ports import Changes, Clock, Fetched, Listed, Missed, Page, Profile
from pipeline.runtime.errors import CursorExpired, FieldpostError, NeedsAuthorization, Throttled

PARALLEL_GETS = 4
PAGE_LIMIT = 500

_BASE64URL = bytes.maketrans(b"-_", b"+/")


class GmailSource:
    """The MailSource port over the Gmail API. Keep one per mailbox and process: to make it costs more than a call.

    Up to four messages are got at a time, each call on a kept-alive connection. Batches are not used: they save no
    quota and trip the limit of concurrent calls. When Gmail says that there are too many calls at once, the worker
    that was told so stops and the next fetch begins with half as many; each fetch without it adds one again. Any other
    throttling, or a need for authorization, ends the fetch: what was not yet asked for is returned as missed with the
    same error, without a call.
    """

    def __init__(
        self,
        address: str,
        credentials: Credentials,
        endpoint: str | None = None,
        *,
        clock: Clock | None = None,
        on_call: OnCall | None = None,
        costs: Mapping[str, int] = COSTS_SINCE_2026_05,
    ) -> None:
        self._address = address
        self._calls = GmailCalls(credentials, endpoint, clock or SystemClock(), costs, on_call)
        self._pool = ThreadPoolExecutor(PARALLEL_GETS, thread_name_prefix="gmail")
        self._parallel = PARALLEL_GETS

    def profile(self) -> Profile:
        """Return the mailbox and its newest history id; `NeedsAuthorization` when the credentials are another's."""
        request = self._calls.users.getProfile(userId="me")
        profile = self._calls.call("getProfile", request, _profile)
        if profile.address.casefold() != self._address.casefold():
            raise NeedsAuthorization(
                f"these credentials belong to {profile.address}, not to {self._address}: connect the right account"
            )
        return profile

    def list_page(self, cursor: str | None, *, since: datetime | None, limit: int) -> Page:
        """Return one page of ids, newest first, spam and trash included; at most 500. The cursor is a page token."""
        options: dict[str, object] = {"maxResults": max(1, min(limit, PAGE_LIMIT)), "includeSpamTrash": True}
        if cursor is not None:
            options["pageToken"] = cursor
        if since is not None:
            # One second earlier: whether Gmail's `after:` includes the second itself is not documented.
            options["q"] = f"after:{int(since.timestamp()) - 1}"
        return self._calls.call("messages.list", self._calls.messages.list(userId="me", **options), _page)

    def changes(self, cursor: int, page: str | None) -> Changes:
        """Return one page of history after `cursor`; only the cursor of the last page may be kept.

        `CursorExpired` also for a cursor that never was one, and when the mailbox's history is behind it, as after a
        restore.
        """
        if cursor <= 0:
            raise CursorExpired(f"{cursor} is no history id")
        options = {"startHistoryId": str(cursor), "maxResults": PAGE_LIMIT}
        if page is not None:
            options["pageToken"] = page
        changes = self._calls.call("history.list", self._calls.history.list(userId="me", **options), _changes)
        if changes.cursor < cursor:
            raise CursorExpired(f"the history of {self._address} went back from {cursor} to {changes.cursor}")
        return changes

    def fetch(self, items: Sequence[Listed]) -> Sequence[Fetched | Missed]:
        """Return the raw messages in order of the items."""
        work = _Work(items)
        workers = [self._pool.submit(self._drain, work) for _ in range(min(self._parallel, len(items)))]
        for worker in workers:
            worker.result()
        self._parallel = max(1, self._parallel // 2) if work.crowded_by else min(PARALLEL_GETS, self._parallel + 1)
        return work.outcomes()

    def close(self) -> None:
        """Wait for calls under way and close every connection."""
        self._pool.shutdown()
        self._calls.close()

    def _drain(self, work: _Work) -> None:
        """Get one message after the other until none is left or Gmail asks for patience."""
        while (taken := work.take()) is not None:
            number, item = taken
            try:
                work.settle(number, self._get(item))
            except FieldpostError as error:
                work.settle(number, Missed(item.provider_id, error))
                if not work.goes_on_after(error):
                    return

    def _get(self, item: Listed) -> Fetched:
        request = self._calls.messages.get(userId="me", id=item.provider_id, format="raw")
        return self._calls.call("messages.get", request, lambda answer: _fetched(item.provider_id, answer))


class _Work:
    """The items of one fetch and what became of them, shared by its workers."""

    def __init__(self, items: Sequence[Listed]) -> None:
        self._left = deque(enumerate(items))
        self._outcomes: dict[int, Fetched | Missed] = {}
        self._ended_by: FieldpostError | None = None
        self.crowded_by: TooManyAtOnce | None = None

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
        elif isinstance(error, Throttled | NeedsAuthorization):
            self._ended_by = error
        else:
            return True
        return False

    def outcomes(self) -> list[Fetched | Missed]:
        """Return the outcomes in order; items nobody asked for missed for the reason that ended the fetch."""
        reason = self._ended_by or self.crowded_by
        for number, item in self._left:
            assert reason is not None
            self._outcomes[number] = Missed(item.provider_id, reason)
        return [self._outcomes[number] for number in range(len(self._outcomes))]


def _profile(answer: Answer) -> Profile:
    return Profile(str(answer["emailAddress"]), int(answer["historyId"]))


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
    cursor = int(answer["historyId"])
    return Changes(cursor, list(added.values()), list(deleted), labels, answer.get("nextPageToken"))


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
