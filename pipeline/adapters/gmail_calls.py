"""Single calls of the Gmail API: one connection per thread, short blips tried again, every call counted."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
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

from pipeline.adapters.gmail_errors import from_answer, from_auth
from pipeline.ports import Clock
from pipeline.runtime.errors import Throttled, Transient

TIMEOUT_SECONDS = 30
TRIES = 3
BLIP_SECONDS = 2

OnCall = Callable[[str, str, int], None]
Answer = Mapping[str, Any]
Value = TypeVar("Value")


class GmailCalls:
    """Makes calls for one mailbox. May be shared by threads.

    `on_call(method, status, units)` hears of every try: the status is the HTTP code, `network` when no answer came,
    `broken` when it could not be understood, `auth` when no token was to be had; a refused call costs no units.
    """

    def __init__(
        self,
        credentials: Credentials,
        endpoint: str | None,
        clock: Clock,
        costs: Mapping[str, int],
        on_call: OnCall | None,
    ) -> None:
        self._credentials = _OneRenewal(credentials)
        self._clock = clock
        self._costs = costs
        self._on_call = on_call
        self._local = threading.local()
        self._lock = threading.Lock()
        self._connections: list[AuthorizedHttp] = []
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

    def call(self, method: str, request: HttpRequest, read: Callable[[Answer], Value]) -> Value:
        """Return what `read` makes of the answer; errors of the tree otherwise. Only blips are tried again."""
        value: Value = self._retrying(self._once, method, request, read)
        return value

    def close(self) -> None:
        """Close the connections of all threads; the next call opens new ones."""
        with self._lock:
            for connection in self._connections:
                connection.close()

    def _once(self, method: str, request: HttpRequest, read: Callable[[Answer], Value]) -> Value:
        status, units = "200", self._costs.get(method, 0)
        try:
            return read(request.execute(http=self._connection()))
        except HttpError as error:
            status = str(error.resp.status)
            refused = from_answer(error, method, self._clock.now())
            units = 0 if isinstance(refused, Throttled) else units
            raise refused from error
        except GoogleAuthError as error:
            status, units = "auth", 0
            raise from_auth(error, method) from error
        except (OSError, http.client.HTTPException, httplib2.HttpLib2Error, GoogleClientError) as error:
            status = "network"
            # A connection that failed half-way may still hold bytes of the old answer.
            self._connection().close()
            raise Transient(f"Gmail {method} gave no answer: {error or type(error).__name__}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            status = "broken"
            raise Transient(f"Gmail {method} gave an answer that cannot be understood: {error}") from error
        finally:
            if self._on_call is not None:
                self._on_call(method, status, units)

    def _connection(self) -> AuthorizedHttp:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = AuthorizedHttp(
                self._credentials, http=httplib2.Http(timeout=TIMEOUT_SECONDS), max_refresh_attempts=1
            )
            self._local.connection = connection
            with self._lock:
                self._connections.append(connection)
        return connection


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
