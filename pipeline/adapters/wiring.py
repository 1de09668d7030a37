"""Builds the adapters from the settings; used by the composition roots only."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import orjson

from models.enums import Lane, Provider
from pipeline.adapters import gmail_credentials, imap_credentials
from pipeline.adapters.blobs import open_blob_store
from pipeline.adapters.clock import SystemClock
from pipeline.adapters.files import FileSource
from pipeline.adapters.gmail import GmailSource
from pipeline.adapters.imap import ImapSource
from pipeline.adapters.meter import Meter, Meters
from pipeline.adapters.metered import MeteredSource
from pipeline.ports import Clock, MailboxRef, MailSource, Ports
from pipeline.runtime.budgets import IMAP
from pipeline.runtime.db import Database
from pipeline.runtime.errors import NeedsAuthorization, Permanent, UserError
from pipeline.runtime.metrics import Metrics
from pipeline.runtime.secrets import Secrets, SignedReplyTokens
from pipeline.runtime.settings import Settings

#: What the sealed credentials of a mailbox are for; bound to its address, so that they open nowhere else.
CREDENTIALS = "mailbox credentials"


class SourcePool:
    """Keeps one open source per mailbox and class of lanes (live or not), each with a meter of its own.

    A source is opened anew when its place or its credentials change.
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
        self._clock = clock
        self._guard = threading.Lock()
        self._open: dict[object, tuple[object, MailSource]] = {}

    def open(self, mailbox: MailboxRef, lane: Lane = Lane.LIVE) -> MailSource:
        """Return the mailbox's source for a lane, shared by every thread."""
        # Only Gmail's calls are priced by lane; IMAP servers count connections, so the lanes share them.
        key = (mailbox.mailbox_id, lane is Lane.LIVE or mailbox.provider != Provider.GMAIL)
        state = (json.dumps(dict(mailbox.source), sort_keys=True), mailbox.credentials)
        with self._guard:
            found = self._open.get(key)
            if found is not None and found[0] == state:
                return found[1]
            meter_for = None if self._meters is None else partial(self._meters.meter, mailbox.mailbox_id, lane=lane)
            source = open_source(mailbox, self._settings, self._secrets, self._on_call, meter_for, clock=self._clock)
            self._open[key] = (state, source)
        if found is not None:
            found[1].close()
        return source

    def close(self) -> None:
        """Close every source."""
        with self._guard:
            sources = [source for _, source in self._open.values()]
            self._open.clear()
        for source in sources:
            source.close()
        if self._meters is not None:
            self._meters.close()


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
    if mailbox.credentials is None:
        how = f"fieldpost mailbox add {mailbox.provider}"
        raise NeedsAuthorization(f"{mailbox.address} has no credentials; connect it with `{how}`")
    content = secrets.unseal(CREDENTIALS, mailbox.address, mailbox.credentials)
    try:
        data = orjson.loads(content)
        if mailbox.provider == Provider.IMAP:
            login = imap_credentials.load(data)
            imap = ImapSource(mailbox.address, mailbox.source, login, clock=clock, on_call=on_call)
            host = str(mailbox.source.get("host", "")).lower()
            return imap if meter_for is None else MeteredSource(imap, meter_for(mailbox.project or IMAP + host))
        credentials = gmail_credentials.load(data, subject=mailbox.address)
    except UserError as error:
        raise NeedsAuthorization(str(error)) from error
    endpoint = mailbox.source.get("endpoint") or settings.gmail_endpoint
    meter = None if meter_for is None else meter_for(mailbox.project or gmail_credentials.project_of(data))
    return GmailSource(mailbox.address, credentials, endpoint, clock=clock, on_call=on_call, meter=meter)


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

    return Ports(
        clock=clock,
        blobs=open_blob_store(settings.blob_url),
        sources=SourcePool(settings, secrets, count, make_meters(settings, db, clock), clock),
        reply_tokens=SignedReplyTokens(secrets),
    )
