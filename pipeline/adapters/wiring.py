"""Builds the adapters from the settings; used by the composition roots only."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from uuid import UUID

import orjson

from models.enums import Lane, Provider
from pipeline.adapters import gmail_credentials, imap_credentials, learned_status
from pipeline.adapters.blobs import open_blob_store
from pipeline.adapters.clock import SystemClock
from pipeline.adapters.extraction import DocumentTexts
from pipeline.adapters.fcm import FcmPusher
from pipeline.adapters.files import FileSource
from pipeline.adapters.gmail import GmailSource
from pipeline.adapters.guarded_google import guard_for
from pipeline.adapters.guarded_http import Guard
from pipeline.adapters.imap import ImapSource
from pipeline.adapters.mail_relay import MailRelay
from pipeline.adapters.meter import Meter, Meters
from pipeline.adapters.metered import MeteredSource
from pipeline.adapters.parsing import IsolatingParser
from pipeline.adapters.sending import SenderPool
from pipeline.ports import Clock, MailboxRef, MailSource, Ports
from pipeline.runtime.budgets import IMAP
from pipeline.runtime.db import Database
from pipeline.runtime.errors import NeedsAuthorization, Permanent, UserError
from pipeline.runtime.metrics import Metrics
from pipeline.runtime.secrets import Secrets, SignedReplyTokens
from pipeline.runtime.settings import Settings

#: What the sealed credentials of a mailbox are for; bound to its address, so that they open nowhere else.
CREDENTIALS = "mailbox credentials"


#: A source that nobody asked for this long is closed; the next one who asks opens it anew.
_UNUSED = timedelta(minutes=5)


@dataclass(slots=True)
class _Kept:
    """The open sources of a mailbox by class of lanes, of what they were made, and when one was last asked for."""

    made_of: bytes
    used_at: float
    sources: dict[bool, MailSource] = field(default_factory=dict)


class SourcePool:
    """Keeps one open source per mailbox and class of lanes (live or not), each with a meter of its own.

    Sources are opened anew when their place or the content of their credentials changes, and closed when nobody asks
    for them. A source works on for those who hold it when it is closed: it only keeps no connection then.
    """

    def __init__(
        self,
        settings: Settings,
        secrets: Secrets,
        on_call: Callable[[str, str, int], None],
        meters: Meters | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._settings, self._secrets, self._on_call, self._meters = settings, secrets, on_call, meters
        self._clock = clock or SystemClock()
        self._guard = threading.Lock()
        #: The one that was asked for last stands last.
        self._kept: OrderedDict[UUID, _Kept] = OrderedDict()

    def open(self, mailbox: MailboxRef, lane: Lane = Lane.LIVE) -> MailSource:
        """Return the mailbox's source for a lane, shared by every thread. Raises as `open_source`.

        Raises `OutOfBudget` when it must be opened and the database does not answer.
        """
        made_of = _made_of(mailbox, self._secrets)
        # Files are read at no price; the lanes of other mailboxes are paid apart.
        is_live = lane is Lane.LIVE or mailbox.provider == Provider.FILES
        found, unused = self._find(mailbox.mailbox_id, made_of, is_live=is_live)
        _close(unused)
        # Connecting a mailbox again forgets who pays: a new meter notes it, whatever becomes of the new source.
        if found is not None and (mailbox.project is not None or mailbox.provider == Provider.FILES):
            return found
        meter_for = None if self._meters is None else partial(self._meters.meter, mailbox.mailbox_id, lane=lane)
        # In no lock: it asks the database.
        source = open_source(mailbox, self._settings, self._secrets, self._on_call, meter_for, clock=self._clock)
        source, unused = self._keep(mailbox.mailbox_id, made_of, source, is_live=is_live)
        _close(unused)
        return source

    def close(self) -> None:
        """Close every source."""
        with self._guard:
            kept = list(self._kept.values())
            self._kept.clear()
        _close(kept)
        if self._meters is not None:
            self._meters.close()

    def _find(self, mailbox_id: UUID, made_of: bytes, *, is_live: bool) -> tuple[MailSource | None, list[_Kept]]:
        """Return the open source, if there is one, and what nobody asked for any more."""
        now = self._clock.monotonic()
        with self._guard:
            kept = self._kept.get(mailbox_id)
            if kept is not None and kept.made_of == made_of:
                kept.used_at = now
                self._kept.move_to_end(mailbox_id)
            else:
                kept = None
            return None if kept is None else kept.sources.get(is_live), self._unused(now)

    def _unused(self, now: float) -> list[_Kept]:
        found: list[_Kept] = []
        while self._kept and next(iter(self._kept.values())).used_at < now - _UNUSED.total_seconds():
            found.append(self._kept.popitem(last=False)[1])
        return found

    def _keep(
        self, mailbox_id: UUID, made_of: bytes, source: MailSource, *, is_live: bool
    ) -> tuple[MailSource, list[_Kept]]:
        """Keep a new source, unless another thread was faster; return the one that is kept, and what it replaced."""
        with self._guard:
            before = self._kept.get(mailbox_id)
            is_same = before is not None and before.made_of == made_of
            kept = before if before is not None and is_same else _Kept(made_of, self._clock.monotonic())
            self._kept[mailbox_id] = kept
            self._kept.move_to_end(mailbox_id)
            other = kept.sources.get(not is_live)
            # IMAP servers count connections, so the lanes share them.
            if isinstance(source, MeteredSource) and isinstance(other, MeteredSource):
                source = source.beside(other)
            return kept.sources.setdefault(is_live, source), [] if before is None or is_same else [before]


def _close(unused: Iterable[_Kept]) -> None:
    for kept in unused:
        for source in kept.sources.values():
            source.close()


def _made_of(mailbox: MailboxRef, secrets: Secrets) -> bytes:
    """Return a digest of what a source is made of: sealing the same credentials with another key changes nothing."""
    sealed = mailbox.credentials
    content = b"" if sealed is None else secrets.unseal(CREDENTIALS, mailbox.address, sealed)
    place = [mailbox.provider, mailbox.address, sealed is None, dict(mailbox.source)]
    return hashlib.sha256(orjson.dumps(place, option=orjson.OPT_SORT_KEYS) + content).digest()


def open_source(
    mailbox: MailboxRef,
    settings: Settings,
    secrets: Secrets,
    on_call: Callable[[str, str, int], None] | None = None,
    meter_for: Callable[[str], Meter] | None = None,
    *,
    clock: Clock | None = None,
) -> MailSource:
    """Return a new source for a mailbox. Raises `NeedsAuthorization` when its credentials do not open.

    `meter_for` makes the meter that pays for its calls, of the project that its credentials belong to.
    """
    if mailbox.provider == Provider.FILES:
        paths = [Path(path) for path in mailbox.source.get("paths", ())]
        spool = mailbox.source.get("spool")
        if not paths or not spool:
            raise Permanent(f"{mailbox.address} names no files; import them again")
        return FileSource(paths, Path(spool), address=mailbox.address)
    try:
        data = orjson.loads(unsealed(secrets, mailbox))
        if mailbox.provider == Provider.IMAP:
            guard = Guard.of(settings)
            login = imap_credentials.load(data, guard)
            imap = ImapSource(mailbox.address, mailbox.source, login, clock=clock, on_call=on_call, guard=guard)
            host = str(mailbox.source.get("host", "")).lower()
            return imap if meter_for is None else MeteredSource(imap, meter_for(mailbox.project or IMAP + host))
        credentials = gmail_credentials.load(data, subject=mailbox.address)
    except UserError as error:
        raise NeedsAuthorization(str(error)) from error
    endpoint = mailbox.source.get("endpoint") or settings.gmail_endpoint
    meter = None if meter_for is None else meter_for(mailbox.project or gmail_credentials.project_of(data))
    own = guard_for(settings, endpoint, data)
    return GmailSource(mailbox.address, credentials, endpoint, clock=clock, on_call=on_call, meter=meter, guard=own)


def unsealed(secrets: Secrets, mailbox: MailboxRef) -> bytes:
    """Return the credentials of a mailbox. Raises `NeedsAuthorization` when it has none or they do not open."""
    if mailbox.credentials is None:
        how = f"fieldpost mailbox add {mailbox.provider}"
        raise NeedsAuthorization(f"{mailbox.address} has no credentials; connect it with `{how}`")
    return secrets.unseal(CREDENTIALS, mailbox.address, mailbox.credentials)


def make_meters(settings: Settings, db: Database, clock: Clock | None = None) -> Meters:
    """Return what makes the meters of one process."""
    return Meters(db, clock or SystemClock(), timedelta(seconds=settings.quota_minute_seconds))


def make_ports(settings: Settings, metrics: Metrics, db: Database, clock: Clock | None = None) -> Ports:
    """Return the outside world of one process; calls to providers are paid from the budgets in `db`."""
    clock = clock or SystemClock()
    if settings.blob_url is None:
        raise UserError("FIELDPOST_BLOB_URL is not set; set it to file:///folder, s3://bucket, gs://bucket or az://box")
    secrets = Secrets.of(settings)

    def count(method: str, status: str, units: int) -> None:
        metrics.provider_calls.labels(method, status).inc()
        metrics.provider_units.labels(method).inc(units)

    meters = make_meters(settings, db, clock)
    return Ports(
        clock=clock,
        blobs=open_blob_store(settings.blob_url),
        sources=SourcePool(settings, secrets, count, meters, clock),
        reply_tokens=SignedReplyTokens(secrets),
        senders=SenderPool(settings, partial(unsealed, secrets), count, meters, clock),
        texts=DocumentTexts(),
        parser=IsolatingParser(),
        notifier=MailRelay(settings, secrets, clock),
        pusher=FcmPusher(settings, secrets, clock, lambda how: metrics.pushes.labels(how).inc()),
        statuses=learned_status.chosen(settings.status_model),
    )
