"""Mailboxes in memory: messages, labels, threads and the history of their changes."""

from __future__ import annotations

import base64
import bisect
import hashlib
import random
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

import orjson

from tests.gmail_server import mail_text
from tests.gmail_server.clock import TimeSource
from tests.gmail_server.errors import invalid, not_found
from tests.gmail_server.history import Change, HistoryLog, Record

SYSTEM_LABELS = (
    *("INBOX", "SPAM", "TRASH", "UNREAD", "STARRED", "IMPORTANT", "SENT", "DRAFT", "CHAT"),
    *("CATEGORY_PERSONAL", "CATEGORY_SOCIAL", "CATEGORY_PROMOTIONS", "CATEGORY_UPDATES", "CATEGORY_FORUMS"),
)
HIDDEN = frozenset({"SPAM", "TRASH"})


class Message:
    """One stored mail; its bytes are kept only as base64url, ready to be served."""

    __slots__ = (
        *("base64url", "head", "history_id", "id", "internal_ms", "labels", "recipients"),
        *("rfc_id", "sender", "sha256", "size", "snippet", "subject", "thread_id"),
    )

    def __init__(
        self, message_id: str, raw: bytes, headers: list[mail_text.Header], labels: Iterable[str], internal_ms: int
    ) -> None:
        self.id = message_id
        self.thread_id = message_id
        self.labels = tuple(dict.fromkeys(labels))
        self.internal_ms = internal_ms
        self.history_id = 0
        self.size = len(raw)
        self.base64url = base64.urlsafe_b64encode(raw)
        self.sha256 = hashlib.sha256(raw).hexdigest()
        self.snippet = mail_text.snippet_of(raw)
        self.rfc_id = next(iter(mail_text.message_ids(mail_text.first(headers, "Message-ID"))), "")
        self.subject = mail_text.decoded(mail_text.first(headers, "Subject"))
        self.sender = mail_text.decoded(mail_text.first(headers, "From"))
        self.recipients = " ".join(
            mail_text.decoded(value) for name, value in headers if name.lower() in {"to", "cc", "bcc"}
        )
        self.head: bytes | None = None

    @property
    def raw(self) -> bytes:
        """The bytes as they were added."""
        return base64.urlsafe_b64decode(self.base64url)

    def brief(self) -> dict[str, object]:
        """Ids and labels; like Gmail's, an empty list of labels is left out."""
        short: dict[str, object] = {"id": self.id, "threadId": self.thread_id}
        return short | {"labelIds": self.labels} if self.labels else short

    def fields(self) -> dict[str, object]:
        """What every format of `messages.get` has in common."""
        return self.brief() | {
            "snippet": self.snippet,
            "sizeEstimate": self.size,
            "historyId": str(self.history_id),
            "internalDate": str(self.internal_ms),
        }

    def raw_head(self) -> bytes:
        """JSON of `fields` left open before the value of `raw`; rendered once per change."""
        if self.head is None:
            self.head = orjson.dumps(self.fields())[:-1] + b',"raw":"'
        return self.head


class Mailbox:
    """The mail of one address. Every method may be called from any thread.

    Message ids are 16 hex digits that grow with arrival; history ids grow with every change, with gaps.
    """

    def __init__(self, address: str, clock: TimeSource, lock: threading.RLock, seed: int = 0) -> None:
        number = zlib.crc32(f"{seed}:{address}".encode())
        self.address = address
        self.lock = lock
        self.messages: dict[str, Message] = {}
        self.order: list[tuple[int, str]] = []
        self.history = HistoryLog(10_000 + number % 90_000, number)
        self.threads: Counter[str] = Counter()
        self.label_names: dict[str, str] = {}
        #: Other addresses it may send as, with `accepted` or `pending`.
        self.send_as: dict[str, str] = {}
        self.watched: tuple[str, int] | None = None
        self.on_change: Callable[[Mailbox], None] = lambda _: None
        self._clock = clock
        self._last_id = (0x18 << 56) | (number << 20)
        self._steps = random.Random(number + 1)
        self._thread_keys: dict[tuple[str, str], str] = {}

    @property
    def history_id(self) -> int:
        """The newest history id."""
        with self.lock:
            return self.history.current

    def add(
        self,
        raw: bytes,
        labels: Sequence[str] = ("INBOX", "UNREAD"),
        at: datetime | float | None = None,
        thread_id: str | None = None,
        *,
        dated_by_header: bool = False,
    ) -> str:
        """A mail arrives; answers its id. `at` (aware time or epoch seconds) is its internalDate, default now.

        With `dated_by_header` the Date header comes before now. A `thread_id` that exists is taken as it is.
        """
        headers = mail_text.headers_of(raw)
        seconds = at.timestamp() if isinstance(at, datetime) else at
        if seconds is None and dated_by_header:
            seconds = mail_text.sent_at(headers)
        with self.lock:
            self._last_id += self._steps.randrange(1 << 12, 1 << 24)
            internal_ms = self._clock.now_ms() if seconds is None else int(seconds * 1000)
            message = Message(f"{self._last_id:016x}", raw, headers, labels, internal_ms)
            for label in message.labels:
                if label not in SYSTEM_LABELS:
                    self.label_names.setdefault(label, label)
            message.thread_id = self._thread_of(message, headers, thread_id)
            self.messages[message.id] = message
            self.threads[message.thread_id] += 1
            bisect.insort(self.order, (message.internal_ms, message.id))
            self._record(message, Change.MESSAGE_ADDED)
            return message.id

    def get(self, message_id: str) -> Message:
        """The message, or ApiError 404."""
        found = self.messages.get(message_id)
        if found is None:
            raise not_found()
        return found

    def delete(self, message_id: str) -> None:
        """Remove for ever."""
        with self.lock:
            message = self.get(message_id)
            del self.messages[message_id]
            self.order.pop(bisect.bisect_left(self.order, (message.internal_ms, message_id)))
            self._leave_thread(message.thread_id)
            self._record(message, Change.MESSAGE_DELETED)

    def modify(self, message_id: str, add: Iterable[str] = (), remove: Iterable[str] = ()) -> Message:
        """Change labels; only real changes make history. ApiError 400 for a label that does not exist."""
        with self.lock:
            message = self.get(message_id)
            for label in (add := tuple(add)) + (remove := tuple(remove)):
                if label not in SYSTEM_LABELS and label not in self.label_names:
                    raise invalid(f"Invalid label: {label}")
            gone = tuple(label for label in message.labels if label in remove)
            new = tuple(label for label in dict.fromkeys(add) if label not in message.labels and label not in remove)
            message.labels = tuple(label for label in message.labels if label not in gone) + new
            if new:
                self._record(message, Change.LABEL_ADDED, new)
            if gone:
                self._record(message, Change.LABEL_REMOVED, gone)
            return message

    def trash(self, message_id: str) -> Message:
        """Move to the trash."""
        return self.modify(message_id, add=("TRASH",), remove=("INBOX",))

    def untrash(self, message_id: str) -> Message:
        """Take out of the trash, into the inbox."""
        return self.modify(message_id, add=("INBOX",), remove=("TRASH",))

    def rethread(self, message_id: str, thread_id: str) -> None:
        """Give a message another thread id without any history record, as a provider may."""
        with self.lock:
            message = self.get(message_id)
            self._leave_thread(message.thread_id)
            message.thread_id = thread_id
            message.head = None
            self.threads[thread_id] += 1

    def create_label(self, name: str) -> str:
        """A user label; the answer is its id (`Label_1`, ...). ApiError 400 when the name is taken."""
        with self.lock:
            if name in SYSTEM_LABELS or name in self.label_names.values():
                raise invalid("Label name exists or conflicts")
            label_id = f"Label_{len(self.label_names) + 1}"
            self.label_names[label_id] = name
            return label_id

    def ids(self) -> list[str]:
        """Every message id, oldest first by internalDate, spam and trash included."""
        with self.lock:
            return [message_id for _, message_id in self.order]

    def state(self) -> dict[str, dict[str, object]]:
        """`{id: {"sha256", "labels" (sorted), "thread_id"}}` of every message: what a mirror has to equal."""
        with self.lock:
            return {
                message.id: {
                    "sha256": message.sha256,
                    "labels": sorted(message.labels),
                    "thread_id": message.thread_id,
                }
                for message in self.messages.values()
            }

    def expire_history(self, before: int | None = None) -> int:
        """Forget history before an id (default: all of it); answers the lowest id that still works."""
        with self.lock:
            return self.history.expire(before)

    def _leave_thread(self, thread_id: str) -> None:
        self.threads[thread_id] -= 1
        if not self.threads[thread_id]:
            del self.threads[thread_id]

    def _record(self, message: Message, change: Change, changed: tuple[str, ...] = ()) -> None:
        message.history_id = self.history.next_id()
        message.head = None
        self.history.write(Record(message.history_id, change, message.id, message.thread_id, message.labels, changed))
        self.on_change(self)

    def _thread_of(self, message: Message, headers: list[mail_text.Header], wanted: str | None) -> str:
        """The thread of a mail that shares an identifier and its base subject with it, else a new one."""
        subject = mail_text.base_subject(message.subject)
        parents = mail_text.message_ids(mail_text.first(headers, "In-Reply-To"))
        parents += reversed(mail_text.message_ids(mail_text.first(headers, "References")))
        keys = [(rfc_id, subject) for rfc_id in dict.fromkeys([*parents, message.rfc_id]) if rfc_id]
        if wanted in self.threads:
            thread_id = wanted
        else:
            known = (self._thread_keys.get(key) for key in keys)
            thread_id = next((thread for thread in known if thread in self.threads), message.id)
        assert thread_id is not None
        for key in keys:
            if self._thread_keys.get(key) not in self.threads:
                self._thread_keys[key] = thread_id
        return thread_id
