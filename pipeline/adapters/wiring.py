"""Builds the adapters from the settings; used by the composition roots only."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import orjson

from models.enums import Provider
from pipeline.adapters import gmail_credentials
from pipeline.adapters.blobs import open_blob_store
from pipeline.adapters.clock import SystemClock
from pipeline.adapters.files import FileSource
from pipeline.adapters.gmail import GmailSource
from pipeline.ports import MailboxRef, MailSource, Ports
from pipeline.runtime.errors import NeedsAuthorization, Permanent, UserError
from pipeline.runtime.metrics import Metrics
from pipeline.runtime.secrets import Secrets, SignedReplyTokens
from pipeline.runtime.settings import Settings

#: What the sealed credentials of a mailbox are for; bound to its address, so that they open nowhere else.
CREDENTIALS = "mailbox credentials"


class SourcePool:
    """Keeps one open source per mailbox, and opens it anew when its place or its credentials change."""

    def __init__(self, settings: Settings, secrets: Secrets, on_call: Callable[[str, str, int], None]) -> None:
        self._settings, self._secrets, self._on_call = settings, secrets, on_call
        self._guard = threading.Lock()
        self._open: dict[object, tuple[object, MailSource]] = {}

    def open(self, mailbox: MailboxRef) -> MailSource:
        """Return the mailbox's source, shared by every thread."""
        state = (json.dumps(dict(mailbox.source), sort_keys=True), mailbox.credentials)
        with self._guard:
            found = self._open.get(mailbox.mailbox_id)
            if found is not None and found[0] == state:
                return found[1]
            source = open_source(mailbox, self._settings, self._secrets, self._on_call)
            self._open[mailbox.mailbox_id] = (state, source)
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


def open_source(
    mailbox: MailboxRef, settings: Settings, secrets: Secrets, on_call: Callable[[str, str, int], None] | None = None
) -> MailSource:
    """Return a new source for a mailbox. Raises `NeedsAuthorization` when its credentials do not open."""
    if mailbox.provider == Provider.FILES:
        paths = [Path(path) for path in mailbox.source.get("paths", ())]
        spool = mailbox.source.get("spool")
        if not paths or not spool:
            raise Permanent(f"{mailbox.address} names no files; import them again")
        return FileSource(paths, Path(spool), address=mailbox.address)
    if mailbox.credentials is None:
        raise NeedsAuthorization(f"{mailbox.address} has no credentials; connect it with `fieldpost mailbox add gmail`")
    content = secrets.unseal(CREDENTIALS, mailbox.address, mailbox.credentials)
    try:
        credentials = gmail_credentials.load(orjson.loads(content), subject=mailbox.address)
    except UserError as error:
        raise NeedsAuthorization(str(error)) from error
    endpoint = mailbox.source.get("endpoint") or settings.gmail_endpoint
    return GmailSource(mailbox.address, credentials, endpoint, on_call=on_call)


def make_ports(settings: Settings, metrics: Metrics) -> Ports:
    """Return the outside world of one process."""
    if settings.blob_url is None:
        raise UserError("FIELDPOST_BLOB_URL is not set; set it to file:///folder, s3://bucket, gs://bucket or az://box")
    secrets = Secrets(settings.secret_key.get_secret_value() if settings.secret_key else None)

    def count(method: str, status: str, units: int) -> None:
        metrics.provider_calls.labels(method, status).inc()
        metrics.provider_units.labels(method).inc(units)

    return Ports(
        clock=SystemClock(),
        blobs=open_blob_store(settings.blob_url),
        sources=SourcePool(settings, secrets, count),
        reply_tokens=SignedReplyTokens(secrets),
    )
