"""Mail sent through the Gmail API, handed over at most once per call, and found again among what was sent."""

from __future__ import annotations

import base64
import http.client
import math
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from google.auth.credentials import Credentials

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.gmail_calls import TIMEOUT_SECONDS, Answer, GmailCalls, OnCall
from pipeline.adapters.gmail_errors import doubted
from pipeline.adapters.guarded_google import GuardedHttp
from pipeline.adapters.guarded_http import Guard
from pipeline.adapters.meter import NullMeter, Payer
from pipeline.core.composing import PROOF_HEADER
from pipeline.core.handing_over import Finding, Handed, HandOver, Outgoing
from pipeline.ports import Clock
from pipeline.runtime.errors import (
    FieldpostError,
    Forbidden,
    Gone,
    NeedsAuthorization,
    Permanent,
    Suspended,
    Throttled,
)

#: How many sent mails are looked at one by one for our own header, should Gmail have given ours another Message-ID.
_MOST_LOOKED_AT = 50
#: Before the mail was handed over: clocks differ.
_MARGIN = timedelta(minutes=5)
_SEND = "/messages/send"
#: With these Gmail refused, or was not asked: nothing left, and it may later.
_FOR_NOW = (Throttled, NeedsAuthorization, Forbidden, Suspended)


class GmailSender:
    """The Sender port over the Gmail API; may be shared by threads.

    Gmail keeps a copy of what it takes in SENT, so a mail that is not there did not leave: it can be sent again.
    Nothing is sent before the profile was read once: credentials of another account would send as somebody else.
    """

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
        self._address, self._guard = address, guard
        self._clock = clock or SystemClock()
        self._meter = meter or NullMeter()
        self._calls = GmailCalls(credentials, endpoint, self._clock, self._meter, on_call, guard=guard)
        self._owner_is_known = False

    def send(self, mail: Outgoing) -> Handed:
        """Hand over once; an answer that was lost, and an error of the server, leave doubt."""
        once = _OneShot(lambda: not mail.begin_by.is_over(self._clock), self._guard)
        body = {"raw": base64.urlsafe_b64encode(mail.raw).decode("ascii")}
        request = self._calls.messages.send(userId="me", body=body)
        try:
            self._check_owner()
            with self._meter.slots(1):
                provider_id = self._calls.once("messages.send", request, _id, once)
        except FieldpostError as error:
            return _ended(error, has_begun=once.has_begun)
        finally:
            once.close()
        return Handed(HandOver.ACCEPTED, provider_id=provider_id)

    def find(self, mail: Outgoing) -> tuple[Finding, str | None]:
        """Look by the Message-ID, then by our own header through what was sent since.

        A search may not know yet what was sent just now; the plain list of a label does.
        """
        self._check_owner()
        found, _ = self._listed(1, q=f"rfc822msgid:{mail.message_id.strip('<>')}")
        if found:
            return Finding.THERE, found[0]
        since = math.floor((mail.since - _MARGIN).timestamp())
        sent, is_cut = self._listed(_MOST_LOOKED_AT, q=f"in:sent after:{since}")
        newest, has_more = self._listed(_MOST_LOOKED_AT, labelIds=["SENT"])
        for provider_id in dict.fromkeys((*sent, *newest)):
            proof, sent_at = self._copy(provider_id)
            if proof == mail.proof:
                return Finding.THERE, provider_id
            if provider_id not in sent and sent_at < since:
                has_more = False  # The list has the newest first.
                break
        return (Finding.UNSURE if is_cut or has_more else Finding.NOT_THERE), None

    def allowed(self) -> Mapping[str, bool]:
        """Return the send-as addresses of Gmail's settings; one that Gmail made itself needs no proof."""
        self._check_owner()
        request = self._calls.users.settings().sendAs().list(userId="me")
        return self._calls.call("settings.sendAs.list", request, _allowed)

    def close(self) -> None:
        """Close every connection."""
        self._calls.close()

    def _check_owner(self) -> None:
        if self._owner_is_known:
            return
        owner = self._calls.call("getProfile", self._calls.users.getProfile(userId="me"), _owner)
        if owner.casefold() != self._address.casefold():
            text = f"these credentials belong to {owner}, not to {self._address}"
            raise doubted("getProfile", text, self._clock.now())
        self._owner_is_known = True

    def _listed(self, limit: int, **query: Any) -> tuple[list[str], bool]:
        options = {**query, "maxResults": limit, "includeSpamTrash": True}
        return self._calls.call("messages.list", self._calls.messages.list(userId="me", **options), _page)

    def _copy(self, provider_id: str) -> tuple[str | None, float]:
        """Return the proof that a sent mail carries, and when it was sent (Unix time)."""
        options = {"id": provider_id, "format": "metadata", "metadataHeaders": [PROOF_HEADER]}
        try:
            return self._calls.call("messages.get", self._calls.messages.get(userId="me", **options), _proof)
        except Gone:
            return None, math.inf


class _NotNow(OSError):
    """The request must not be transmitted (any more)."""


class _OneShot(GuardedHttp):
    """Transmits a sending request at most once, and knows whether it began to.

    The library sends a request again when the server ended the connection instead of answering, whatever its method:
    a mail whose answer was lost would leave twice.
    """

    def __init__(self, may_begin: Callable[[], bool], guard: Guard | None) -> None:
        super().__init__(guard, TIMEOUT_SECONDS)
        self._may_begin = may_begin
        self.has_begun = False

    def begin(self) -> None:
        """Note that bytes go out now; raises when they must not."""
        if self.has_begun:
            raise _NotNow("the answer was lost after the mail was transmitted")
        if not self._may_begin():
            raise _NotNow("the time to begin is over")
        self.has_begun = True

    def _conn_request(self, conn: Any, request_uri: str, method: str, body: Any, headers: Any) -> Any:
        if _SEND not in request_uri:
            return super()._conn_request(conn, request_uri, method, body, headers)
        # A second request is made after a token was refused only: then nothing left.
        self.has_begun = False
        return super()._conn_request(_Guarded(conn, self), request_uri, method, body, headers)


class _Guarded:
    """A connection that asks before it transmits a request."""

    def __init__(self, connection: http.client.HTTPConnection, once: _OneShot) -> None:
        self._connection, self._once = connection, once

    def request(self, *arguments: Any, **options: Any) -> None:
        self._once.begin()
        self._connection.request(*arguments, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def _ended(error: FieldpostError, *, has_begun: bool) -> Handed:
    if isinstance(error, _FOR_NOW):
        return Handed(HandOver.LATER, str(error))
    if isinstance(error, Permanent):
        return Handed(HandOver.REFUSED, str(error))
    return Handed(HandOver.DOUBTFUL if has_begun else HandOver.LATER, str(error))


def _id(answer: Answer) -> str:
    return str(answer["id"])


def _owner(answer: Answer) -> str:
    return str(answer["emailAddress"])


def _page(answer: Answer) -> tuple[list[str], bool]:
    return [str(message["id"]) for message in answer.get("messages", ())], "nextPageToken" in answer


def _proof(answer: Answer) -> tuple[str | None, float]:
    headers = answer.get("payload", {}).get("headers", ())
    values = [str(each["value"]) for each in headers if str(each["name"]).lower() == PROOF_HEADER.lower()]
    sent_at = int(answer["internalDate"]) / 1000 if "internalDate" in answer else math.inf
    return (values[0].strip() if values else None), sent_at


def _allowed(answer: Answer) -> dict[str, bool]:
    return {
        str(each["sendAsEmail"]).lower(): bool(each.get("isPrimary")) or each.get("verificationStatus") == "accepted"
        for each in answer.get("sendAs", ())
    }
