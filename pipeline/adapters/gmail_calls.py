"""Single calls of the Gmail API: paid before they are made, on kept connections, short blips tried again."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import timedelta
from queue import Empty, LifoQueue
from typing import Any, TypeVar

import httplib2
from google.auth.credentials import Credentials
from google.auth.exceptions import GoogleAuthError
from google_auth_httplib2 import AuthorizedHttp
from googleapiclient.discovery import build
from googleapiclient.errors import Error as GoogleClientError
from googleapiclient.errors import HttpError
from googleapiclient.http import HttpRequest
from tenacity import Retrying, retry_if_exception, stop_after_attempt, stop_after_delay, wait_random_exponential

from pipeline.adapters.gmail_errors import decided, from_auth
from pipeline.adapters.gmail_refusals import read as read_refusal
from pipeline.adapters.guarded_google import GuardedHttp
from pipeline.adapters.guarded_http import AddressRefused, Guard
from pipeline.adapters.meter import Payer
from pipeline.ports import Clock
from pipeline.runtime.errors import FieldpostError, Forbidden, Throttled, Transient

TIMEOUT_SECONDS = 30
TRIES = 3
BLIP_SECONDS = 2

OnCall = Callable[[str, str, int], None]
Answer = Mapping[str, Any]
Value = TypeVar("Value")


class GmailCalls:
    """Makes calls for one mailbox, each paid for by its meter. May be shared by threads.

    `on_call(method, status, units)` hears of every try: the status is the HTTP code, `network` when no answer came,
    `broken` when it could not be understood, `auth` when no token was to be had; a refused call costs no units.
    """

    def __init__(
        self,
        credentials: Credentials,
        endpoint: str | None,
        clock: Clock,
        meter: Payer,
        on_call: OnCall | None,
        *,
        guard: Guard | None = None,
    ) -> None:
        self._guard = guard
        self._credentials = _OneRenewal(credentials)
        self._clock = clock
        self._meter = meter
        self._on_call = on_call
        #: The newest goes first: as many stay in use as there are calls at once.
        self._idle: LifoQueue[AuthorizedHttp] = LifoQueue()
        self._is_closed = False
        options = {"api_endpoint": endpoint} if endpoint else {}
        service = build("gmail", "v1", http=httplib2.Http(), static_discovery=True, client_options=options)
        # Making these objects costs more than a call does, so it is done once.
        self.users = service.users()
        self.messages = self.users.messages()
        self.history = self.users.history()
        self._retrying = Retrying(
            stop=stop_after_attempt(TRIES) | stop_after_delay(BLIP_SECONDS),
            wait=wait_random_exponential(multiplier=0.2, max=1),
            retry=retry_if_exception(_is_blip),
            sleep=lambda seconds: clock.wait(timedelta(seconds=seconds)),
            reraise=True,
        )

    def call(self, method: str, request: HttpRequest, read: Callable[[Answer], Value], *, wanted: int = 1) -> Value:
        """Return what `read` makes of the answer; errors of the tree otherwise. Only blips are tried again.

        `wanted` is how many calls of the method will be made now, this one included. Raises `OutOfBudget` without a
        call when the meter does not pay.
        """
        value: Value = self._retrying(self._once, method, request, read, wanted)
        return value

    def once(self, method: str, request: HttpRequest, read: Callable[[Answer], Value], http: httplib2.Http) -> Value:
        """As `call`, over a connection of the caller's own, and never again: for what cannot be undone."""
        own = AuthorizedHttp(self._credentials, http=http, max_refresh_attempts=1)
        return self._once(method, request, read, 1, own)

    def close(self) -> None:
        """Close every connection, one that a call uses after that call; calls to come open one each."""
        self._is_closed = True
        self._close_idle()

    def _close_idle(self) -> None:
        with suppress(Empty):
            while True:
                self._idle.get_nowait().close()

    def _once(
        self,
        method: str,
        request: HttpRequest,
        read: Callable[[Answer], Value],
        wanted: int,
        own: AuthorizedHttp | None = None,
    ) -> Value:
        paid = self._meter.pay(method, wanted)
        lent = self._connection() if own is None else nullcontext(own)
        try:
            value, size = self._answered(method, request, read, lent)
        except _Failed as failed:
            self._meter.tell(paid, failed.error, is_told=failed.is_told)
            self._count(method, failed.status, 0 if failed.is_free else paid.units)
            raise failed.error from failed.__cause__
        self._meter.tell(paid, None, size=size)
        self._count(method, "200", paid.units)
        return value

    def _answered(
        self,
        method: str,
        request: HttpRequest,
        read: Callable[[Answer], Value],
        lent: AbstractContextManager[AuthorizedHttp],
    ) -> tuple[Value, int]:
        """Return what was read, and how many bytes of mail came."""
        try:
            with lent as connection:
                answer: Answer = request.execute(http=connection)
            return read(answer), len(answer.get("raw", ""))
        except HttpError as error:
            refusal = read_refusal(error, method, self._clock.now())
            refused = decided(refusal)
            is_free = isinstance(refused, Throttled)
            raise _Failed(refused, refusal.status, is_free=is_free, is_told=refusal.retry_after is not None) from error
        except GoogleAuthError as error:
            raise _Failed(from_auth(error, method, self._clock.now()), "auth", is_free=True) from error
        except AddressRefused as error:
            raise _Failed(Forbidden(str(error)), "refused", is_free=True) from error
        except (OSError, http.client.HTTPException, httplib2.HttpLib2Error, GoogleClientError) as error:
            said = Transient(f"Gmail {method} gave no answer: {error or type(error).__name__}")
            raise _Failed(said, "network") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            said = Transient(f"Gmail {method} gave an answer that cannot be understood: {error}")
            raise _Failed(said, "broken") from error

    def _count(self, method: str, status: str, units: int) -> None:
        if self._on_call is not None:
            self._on_call(method, status, units)

    @contextmanager
    def _connection(self) -> Iterator[AuthorizedHttp]:
        """Lend a connection for one call; one that failed half-way may hold bytes of an old answer and is closed."""
        try:
            connection = self._idle.get_nowait()
        except Empty:
            http = GuardedHttp(self._guard, TIMEOUT_SECONDS)
            connection = AuthorizedHttp(self._credentials, http=http, max_refresh_attempts=1)
        is_whole = False
        try:
            yield connection
            is_whole = True
        except HttpError:
            is_whole = True
            raise
        finally:
            if is_whole:
                self._idle.put(connection)
            else:
                connection.close()
            if self._is_closed:
                self._close_idle()


class _Failed(Exception):
    """One try that failed: the error of the tree, the status it is counted under, and what it costs."""

    def __init__(self, error: FieldpostError, status: str, *, is_free: bool = False, is_told: bool = False) -> None:
        super().__init__(status)
        self.error, self.status, self.is_free, self.is_told = error, status, is_free, is_told


class _OneRenewal:
    """Credentials as AuthorizedHttp uses them; while one thread renews the token, the others wait for it."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._lock = threading.Lock()

    def before_request(self, request: object, method: str, url: str, headers: dict[str, str]) -> None:  # noqa: ARG002
        """Put a valid token into the headers."""
        if not self._credentials.valid:
            with self._lock:
                if not self._credentials.valid:
                    self._credentials.refresh(request)  # type: ignore[no-untyped-call]
        self._credentials.apply(headers)  # type: ignore[no-untyped-call]

    def refresh(self, request: object) -> None:
        """Get a new token, after the old one was refused."""
        with self._lock:
            self._credentials.refresh(request)  # type: ignore[no-untyped-call]


def _is_blip(error: BaseException) -> bool:
    return isinstance(error, Transient) and not isinstance(error, Throttled)
