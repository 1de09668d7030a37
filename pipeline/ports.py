"""The outside world as small protocols, and the values that cross them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol, runtime_checkable
from uuid import UUID

from models.enums import Lane
from pipeline.core.extraction import Extracted
from pipeline.core.handing_over import Finding, Handed, Outgoing
from pipeline.core.mime import Parsed
from pipeline.core.plans import Problem, Routes
from pipeline.core.pushing import Device, Push, Pushed
from pipeline.core.tellings import Judgement
from pipeline.core.uploads import Picture
from pipeline.core.uploads import Refused as UploadRefused


class Clock(Protocol):
    """Two clocks with two names: one to store, one to measure."""

    def now(self) -> datetime:
        """Return the wall clock as an aware UTC datetime."""

    def monotonic(self) -> float:
        """Return seconds that only grow; for measuring durations."""

    def wait(self, duration: timedelta) -> None:
        """Block the calling thread for `duration`."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One id the provider named, with what it said about it; `locator` finds the bytes in a file source."""

    provider_id: str
    thread_id: str | None = None
    locator: str | None = None
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Span:
    """The part of a mailbox to list, by the provider's date: `after` included, `before` not; None is open."""

    after: datetime | None = None
    before: datetime | None = None


ALL = Span()


@dataclass(frozen=True, slots=True)
class Label:
    """A label (or folder) of a mailbox, and how many messages the provider counts under it."""

    label_id: str
    name: str
    messages: int


@dataclass(frozen=True, slots=True)
class Watch:
    """A promise of the provider to announce changes, until it expires; `cursor` is the history's at that moment."""

    expires_at: datetime
    cursor: str


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing; `next_cursor` is None only on the last page (an empty page may still have one)."""

    items: Sequence[Listed]
    next_cursor: str | None
    estimate: int | None = None


@dataclass(frozen=True, slots=True)
class Changes:
    """What happened after a history cursor: ids added, ids deleted, new label sets; `cursor` is where to go on from.

    A cursor is opaque to everybody but its source; only the cursor of the last page may be kept.
    """

    cursor: str
    added: Sequence[Listed] = ()
    deleted: Sequence[str] = ()
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    next_page: str | None = None
    #: A cursor that stands for everything up to the end of this page, where the source has one.
    so_far: str | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """Who the mailbox is at its provider, and the history cursor of this moment (None: the source has no history).

    `messages` is how many messages the provider counts in it, where it says so.
    """

    address: str
    cursor: str | None
    messages: int | None = None


@dataclass(frozen=True, slots=True)
class Fetched:
    """The raw bytes of one message and the provider's own facts about it."""

    provider_id: str
    raw: bytes
    thread_id: str | None = None
    labels: tuple[str, ...] = ()
    internal_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Missed:
    """One message that could not be fetched this time; `error` is from the tree in `pipeline.runtime.errors`."""

    provider_id: str
    error: Exception


class MailSource(Protocol):
    """One mailbox at its provider. Reading anything never moves a cursor.

    Every method may raise from the tree in `pipeline.runtime.errors`: `Throttled` and `Transient` pass by themselves,
    `NeedsAuthorization` and `Forbidden` stop the mailbox until a person acts, `Suspended` until the provider opens it
    again, `Permanent` never goes away, `CursorExpired` and `PageExpired` ask for a bounded resync or a restart of the
    listing.
    """

    @property
    def has_dates(self) -> bool:
        """Whether a listing can be bounded by date on both sides; otherwise `after` may narrow it, or nothing."""

    def profile(self) -> Profile:
        """Return the mailbox's own address and its current history cursor."""

    def list_page(self, cursor: str | None, *, span: Span = ALL, limit: int, label_id: str | None = None) -> Page:
        """Return one page of ids, newest first where the provider can; `cursor` None starts the listing.

        With `label_id` only what carries that label. A listing may name more than the span asks for, never less.
        """

    def changes(self, cursor: str, page: str | None) -> Changes:
        """Return one page of what happened after `cursor`; raises `CursorExpired` when the provider forgot it."""

    def fetch(self, items: Sequence[Listed]) -> Sequence[Fetched | Missed]:
        """Return one outcome per item, in order. One bad item never fails the others; `Gone` marks a vanished one."""

    def labels(self) -> Sequence[Label]:
        """Return every label with the provider's own count; empty for a source without labels."""

    def watch(self, topic: str) -> Watch:
        """Ask the provider to announce changes on a topic, or renew that. `Permanent` where there is no such thing."""

    def wait_for_news(self, duration: timedelta) -> bool:
        """Wait until the provider says that something changed, up to `duration`; False when it said nothing.

        `Permanent` for a source that cannot be waited on.
        """

    def close(self) -> None:
        """Release connections and files."""


class BlobStore(Protocol):
    """Content-addressed bytes: the key is the lower-case hex SHA-256 of the content, the kind a folder."""

    def put(self, kind: str, contents: Mapping[str, bytes]) -> Mapping[str, int]:
        """Store each content under its hash, whole or not at all; return the stored size by hash. Idempotent."""

    def get(self, kind: str, hashes: Sequence[str]) -> Mapping[str, bytes]:
        """Return the contents by hash; an absent one is missing from the answer."""

    def delete(self, kind: str, hashes: Sequence[str]) -> None:
        """Take contents away for good; an absent one is fine."""


@runtime_checkable
class LinkingBlobs(Protocol):
    """A blob store that can let somebody fetch a content from it directly."""

    def link(self, kind: str, content_hash: str, *, headers: Mapping[str, str], lasts: timedelta) -> str | None:
        """Return an address that answers with the content and `headers` (Content-Type, Content-Disposition) for a time.

        None when the store, or what it is opened with, cannot sign one. Raises `Gone` for an absent content.
        """


@dataclass(frozen=True, slots=True)
class MailboxRef:
    """What is needed to open a mailbox at its provider; `credentials` stay sealed until the source is built."""

    mailbox_id: UUID
    address: str
    provider: str
    source: Mapping[str, Any]
    credentials: bytes | None
    #: The provider's project that pays; None: the one that the credentials belong to.
    project: str | None = None


class Sources(Protocol):
    """Opens mailboxes and keeps them open: connections and built resources are reused (perf-anchors, section 5)."""

    def open(self, mailbox: MailboxRef, lane: Lane = Lane.LIVE) -> MailSource:
        """Return the source of a mailbox, shared by every thread of the process. Raises `NeedsAuthorization`.

        Its calls are paid from the mailbox's budgets; `lane` says whether they may touch the share kept for live mail.
        """

    def close(self) -> None:
        """Close every source that was opened."""


class Parser(Protocol):
    """Understands raw mail; whatever a mail does to its reader, the caller's process lives on."""

    def parse(self, raw: bytes, *, isolated: bool = False, patience: timedelta | None = None) -> Parsed:
        """Return what is understood of a mail; `isolated` has it read apart, with limits, whatever it looks like.

        Raises `mime.Unreadable` for an empty mail, `ParserDied` when its reader died or ran into its limits, and
        `ReaderBusy` when its turn to be read apart does not come within `patience`.
        """

    def close(self) -> None:
        """End the processes that read apart."""


class ReplyTokens(Protocol):
    """Makes and checks what proves mail to be about a ticket, or ours; knows the secret so that no stage has to."""

    def address(self, code: str, mailbox_address: str) -> str | None:
        """Return the address whose mail reaches the mailbox and proves the ticket; None when it would be too long."""

    def verify(self, address: str) -> str | None:
        """Return the ticket code that `address` proves, or None."""

    def proof(self, outbound_id: UUID) -> str:
        """Return the value of the header X-Fieldpost-Message of an outbound message."""

    def outbound_id(self, header_value: str) -> UUID | None:
        """Return which outbound message a value of X-Fieldpost-Message proves, or None."""

    def loop_keys(self) -> Sequence[bytes]:
        """Return the keys of the loop header, the one that signs first."""


class Sender(Protocol):
    """Sends mail of one mailbox through its provider."""

    def send(self, mail: Outgoing) -> Handed:
        """Hand over at most once; never raises for what the provider or the network does."""

    def find(self, mail: Outgoing) -> tuple[Finding, str | None]:
        """Look for the mail among what was sent; return the copy's id, too. Raises from the tree."""

    def allowed(self) -> Mapping[str, bool] | None:
        """Return the other addresses it may send as, and whether each is proved; None where the provider cannot tell.

        Raises from the tree.
        """

    def close(self) -> None:
        """Release connections."""


class Senders(Protocol):
    """Opens senders and keeps them."""

    def open(self, mailbox: MailboxRef) -> Sender:
        """Return the mailbox's sender. Raises `Permanent` for one that cannot send, `NeedsAuthorization`."""

    def close(self) -> None:
        """Close every sender that was opened."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to tell a person themselves; `sealed` opens for whoever sends it."""

    notice_id: UUID
    recipient: str
    sealed: bytes = field(repr=False)


class Notifier(Protocol):
    """Sends people what concerns themselves."""

    @property
    def is_ready(self) -> bool:
        """Whether anything can be sent."""

    def send(self, notice: Notice) -> Handed:
        """Hand one notice over, when ready. Raises `KeyUnknown` for one that another secret key sealed."""


class Pusher(Protocol):
    """Tells devices of people; may be shared by threads."""

    @property
    def is_ready(self) -> bool:
        """Whether there is a service to push by."""

    def push(self, push: Push, device: Device) -> Pushed:
        """Push to one device, when ready; never raises for a device or an answer."""

    def close(self) -> None:
        """Close every connection."""


class TextExtractor(Protocol):
    """Reads the text of attachments."""

    def extract(self, content_type: str, content: bytes) -> Extracted:
        """Return the text of an attachment, or why there is none. Never raises for a content."""

    def close(self) -> None:
        """End the process that reads documents."""


class UploadReader(Protocol):
    """Opens uploaded files; whatever a file does to its reader, the caller's process lives on.

    Raises `Transient` when nobody can be asked, and `ReaderBusy` when its `turn` does not come in time; never for a
    content.
    """

    def picture(self, content_type: str, content: bytes, *, turn: timedelta | None = None) -> Picture | UploadRefused:
        """Return the picture made anew from its pixels, or why there is none."""

    def pdf(self, content: bytes, *, turn: timedelta | None = None) -> UploadRefused | None:
        """Return why a PDF cannot be opened; None when it can."""

    def close(self) -> None:
        """End the process that opens files."""


@dataclass(frozen=True, slots=True)
class Solved:
    """What a solver found: a plan where it found one, and what went wrong where something did."""

    routes: Routes | None
    note: str | None = None


class RoutePlanner(Protocol):
    """Looks for cheap plans of a day; whatever its solver does, the caller's process lives on."""

    def solve(self, problem: Problem, start: Routes, limit: timedelta) -> Solved:
        """Return the best plan that it finds from `start` on, within little more than `limit`.

        Never raises for a problem. What it answers is to be checked (`plans.violations`).
        """


class StatusClassifier(Protocol):
    """Judges states and symptoms, having learned it from many mails."""

    def judge(self, terms: Collection[str]) -> Judgement:
        """Return how likely each state and symptom is by the terms of what a mail tells of an asset; never raises."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything outside that the work of a stage may touch."""

    clock: Clock
    blobs: BlobStore
    sources: Sources
    reply_tokens: ReplyTokens
    senders: Senders
    texts: TextExtractor
    parser: Parser
    notifier: Notifier
    pusher: Pusher
    #: None: nobody is asked, and the rules of words alone decide.
    statuses: StatusClassifier | None = None
