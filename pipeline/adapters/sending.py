"""Opens what sends a mailbox's mail: through the Gmail API, or the SMTP server that stands beside its IMAP server."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from uuid import UUID

import orjson

from models.enums import Lane, Provider
from pipeline.adapters import gmail_credentials, imap_credentials
from pipeline.adapters.gmail_sending import GmailSender
from pipeline.adapters.guarded_google import guard_for
from pipeline.adapters.guarded_http import Guard
from pipeline.adapters.meter import Meter, Meters
from pipeline.adapters.smtp_sending import SmtpSender
from pipeline.ports import Clock, MailboxRef, Sender
from pipeline.runtime.errors import NeedsAuthorization, Permanent, UserError
from pipeline.runtime.settings import Settings

#: Senders that are kept; the one that was asked for longest ago is closed first.
_MOST_KEPT = 200
_SCOPES = (gmail_credentials.SCOPE, gmail_credentials.SEND_SCOPE)

OnCall = Callable[[str, str, int], None]
#: Returns the unsealed credentials of a mailbox; raises `NeedsAuthorization` without any.
Unseal = Callable[[MailboxRef], bytes]


class SenderPool:
    """Keeps a sender per mailbox, made anew when its place or its credentials change."""

    def __init__(
        self,
        settings: Settings,
        unseal: Unseal,
        on_call: OnCall,
        meters: Meters | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._settings, self._unseal, self._on_call = settings, unseal, on_call
        self._meters, self._clock = meters, clock
        self._guard = threading.Lock()
        self._kept: OrderedDict[UUID, tuple[bytes, Sender]] = OrderedDict()

    def open(self, mailbox: MailboxRef) -> Sender:
        """Return the mailbox's sender, shared by every thread. Raises as `open_sender`, and `OutOfBudget`."""
        made_of = _made_of(mailbox)
        with self._guard:
            kept = self._kept.get(mailbox.mailbox_id)
            if kept is not None and kept[0] == made_of:
                self._kept.move_to_end(mailbox.mailbox_id)
                return kept[1]
        meter_for = None
        if self._meters is not None:
            meter_for = partial(self._meters.meter, mailbox.mailbox_id, lane=Lane.LIVE)
        # In no lock: it asks the database.
        sender = open_sender(mailbox, self._settings, self._unseal, self._on_call, meter_for, clock=self._clock)
        with self._guard:
            self._kept[mailbox.mailbox_id] = (made_of, sender)
            self._kept.move_to_end(mailbox.mailbox_id)
            unused = self._kept.popitem(last=False)[1][1] if len(self._kept) > _MOST_KEPT else None
        if unused is not None:
            unused.close()
        return sender

    def close(self) -> None:
        """Close every sender."""
        with self._guard:
            kept = list(self._kept.values())
            self._kept.clear()
        for _, sender in kept:
            sender.close()


def open_sender(
    mailbox: MailboxRef,
    settings: Settings,
    unseal: Unseal,
    on_call: OnCall | None = None,
    meter_for: Callable[[str], Meter] | None = None,
    *,
    clock: Clock | None = None,
) -> Sender:
    """Return a new sender of a mailbox. Raises `Permanent` for one that cannot send, `NeedsAuthorization`."""
    if mailbox.provider == Provider.FILES:
        raise Permanent(f"{mailbox.address} reads files: nothing can be sent from it")
    data = orjson.loads(unseal(mailbox))
    try:
        if mailbox.provider == Provider.IMAP:
            return _smtp(mailbox, data, on_call, clock, Guard.of(settings))
        credentials = gmail_credentials.load(data, subject=mailbox.address, scopes=_SCOPES)
    except UserError as error:
        raise NeedsAuthorization(str(error)) from error
    endpoint = mailbox.source.get("endpoint") or settings.gmail_endpoint
    meter = None if meter_for is None else meter_for(mailbox.project or gmail_credentials.project_of(data))
    guard = guard_for(settings, endpoint, data)
    return GmailSender(mailbox.address, credentials, endpoint, clock=clock, on_call=on_call, meter=meter, guard=guard)


def _smtp(
    mailbox: MailboxRef, data: dict[str, object], on_call: OnCall | None, clock: Clock | None, guard: Guard
) -> Sender:
    login = imap_credentials.load(data, guard)
    return SmtpSender(mailbox.address, mailbox.source, login, clock=clock, on_call=on_call, guard=guard)


def _made_of(mailbox: MailboxRef) -> bytes:
    place = [mailbox.provider, mailbox.address, mailbox.project, dict(mailbox.source)]
    return hashlib.sha256(orjson.dumps(place, option=orjson.OPT_SORT_KEYS) + (mailbox.credentials or b"")).digest()
