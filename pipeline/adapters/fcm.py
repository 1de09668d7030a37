"""Pushes by Firebase Cloud Messaging, HTTP v1: one request for each device, and every answer told for what it is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import httpx
import orjson
from google.auth.exceptions import GoogleAuthError, TransportError

from pipeline.adapters.fcm_tokens import FcmTokens
from pipeline.adapters.gmail_refusals import wait_in_header
from pipeline.adapters.guarded_http import is_safe_url
from pipeline.core.pushing import OF_USE, PATIENCE, Device, How, Push, Pushed
from pipeline.ports import Clock
from pipeline.runtime import device_rows
from pipeline.runtime.errors import KeyUnknown, NeedsAuthorization, UserError
from pipeline.runtime.secrets import Secrets
from pipeline.runtime.settings import Settings

_GOOGLES = "https://fcm.googleapis.com"
_SECONDS = 10.0
#: Whoever waited so long and heard nothing asks no more for a while: pushes go by the threads of live mail.
_SILENCE, _REST = _SECONDS / 2, timedelta(minutes=1)
#: Whatever a server asks for, it is tried again after so long.
_LONGEST = timedelta(hours=1)
_TOKEN_FIELD = "message.token"  # noqa: S105 - the name of a field
#: A 401 that no access token of ours mends: the keys of Apple or of web pushes, which Firebase keeps.
_THEIRS = "THIRD_PARTY_AUTH_ERROR"
#: The words for a token that never was one, in an answer without a field (Firebase's page of error codes).
_NO_TOKEN = "registration token"  # noqa: S105 - words of an answer

OnPush = Callable[[str], None]


class FcmPusher:
    """The Pusher port over FCM; without a credentials file in the settings it is not ready and pushes nothing.

    `on_push` hears how each push ended. Neither tokens nor what is told stands in an error or a log.
    """

    def __init__(self, settings: Settings, secrets: Secrets, clock: Clock, on_push: OnPush | None = None) -> None:
        path = settings.fcm_credentials_file
        self._tokens = None if path is None else FcmTokens(path)
        self._endpoint = _endpoint(settings)
        self._secrets, self._clock, self._on_push = secrets, clock, on_push
        self._lock = threading.Lock()
        #: By the monotonic clock.
        self._rests_until = 0.0
        #: Made when the first push leaves: reading the certificates costs a worker's start 50 ms.
        self._http: httpx.Client | None = None

    @property
    def is_ready(self) -> bool:
        """Whether there is a service account to push by."""
        return self._tokens is not None

    def push(self, push: Push, device: Device) -> Pushed:
        """Push to one device; a token that another secret key sealed waits for a process that has the key."""
        began = self._clock.monotonic()
        if began < self._rests_until:
            found = Pushed(How.LATER, "FCM gave no answer a moment ago", _REST)
        else:
            found = self._pushed(push, device)
            if found.how is How.DOUBTFUL and self._clock.monotonic() - began >= _SILENCE:
                self._rests_until = self._clock.monotonic() + _REST.total_seconds()
        if self._on_push is not None:
            self._on_push(found.how.value)
        return found

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            if self._http is not None:
                self._http.close()
            self._http = None

    def _pushed(self, push: Push, device: Device) -> Pushed:
        try:
            token = device_rows.opened(self._secrets, device.token_sha256, device.sealed)
        except KeyUnknown as error:
            return Pushed(How.LATER, "the stored token was sealed with a key that is not known here", error.retry_after)
        except NeedsAuthorization:
            return Pushed(How.GONE, "the stored token does not open: the app registers again when it starts")
        try:
            return read(self._answer(message(push, token, self._clock.now())), self._clock.now())
        except (httpx.HTTPError, TransportError) as error:
            return Pushed(How.DOUBTFUL, f"FCM gave no answer: {type(error).__name__}")
        except GoogleAuthError as error:
            how = How.DOUBTFUL if getattr(error, "retryable", False) else How.REFUSED
            return Pushed(how, f"no access token for FCM: {type(error).__name__}")
        except UserError as error:
            return Pushed(How.REFUSED, str(error))

    def _answer(self, said: dict[str, Any]) -> httpx.Response:
        """Return the answer to a message; an access token that is refused is renewed once."""
        assert self._tokens is not None
        content = orjson.dumps({"message": said})
        project, access = self._tokens.take()
        answer = self._send(project, access, content)
        if answer.status_code == 401 and _code(answer) != _THEIRS:
            project, access = self._tokens.take(refused=access)
            answer = self._send(project, access, content)
        return answer

    def _send(self, project: str, access: str, content: bytes) -> httpx.Response:
        url = f"{self._endpoint}/v1/projects/{project}/messages:send"
        headers = {"Authorization": f"Bearer {access}", "Content-Type": "application/json"}
        return self._client().post(url, content=content, headers=headers)

    def _client(self) -> httpx.Client:
        with self._lock:
            if self._http is None:
                self._http = httpx.Client(timeout=_SECONDS, follow_redirects=False)
            return self._http


def _endpoint(settings: Settings) -> str:
    """Return the service's address. Raises `UserError` for one that would have access tokens sent in plain text."""
    found = settings.fcm_endpoint or _GOOGLES
    if not is_safe_url(found, is_production=False):
        raise UserError("FIELDPOST_FCM_ENDPOINT must start with https://, or with http:// to this machine")
    return found.rstrip("/")


def message(push: Push, token: str, now: datetime) -> dict[str, Any]:
    """Return the message to a device; what comes again under the same id takes the place of the first on its screen.

    That is a tag on Android and the web, and a collapse id on iOS. It is no `collapse_key`: of those FCM keeps four for
    a device that is out of reach, and any further order would be lost to it.
    """
    name, seconds = str(push.notification_id), int(OF_USE.total_seconds())
    return {
        "token": token,
        "notification": {"title": push.title, "body": push.body},
        "data": {"notificationId": name, "type": push.kind.value, "workOrderId": str(push.order_id)},
        "android": {"priority": "HIGH", "ttl": f"{seconds}s", "notification": {"tag": name}},
        "apns": {
            "headers": {
                "apns-collapse-id": name,
                "apns-expiration": str(int(now.timestamp()) + seconds),
                "apns-priority": "10",
            }
        },
        "webpush": {"headers": {"TTL": str(seconds), "Urgency": "high"}, "notification": {"tag": name}},
    }


def read(answer: httpx.Response, now: datetime) -> Pushed:
    """Return what an answer of FCM means (its reference, ErrorCode); the words of a server are not repeated."""
    status = answer.status_code
    if status == 200:
        return Pushed(How.ACCEPTED)
    code = _code(answer)
    said = f"FCM answered {status} {code}".rstrip()
    if (status == 404 and code == "UNREGISTERED") or (status == 400 and _is_no_token(answer)):
        return Pushed(How.GONE, said)
    if status in {429, 503}:
        told = wait_in_header(answer.headers.get("retry-after", ""), now)
        wait = PATIENCE if told is None else min(max(told, timedelta(seconds=1)), _LONGEST)
        return Pushed(How.LATER, said, wait)
    return Pushed(How.REFUSED if 400 <= status < 500 else How.DOUBTFUL, said)


def _code(answer: httpx.Response) -> str:
    """Return FCM's own code of an error, else the status in words; only capitals, so that it is safe to show."""
    error = _error(answer)
    codes = [one.get("errorCode") for one in _details(error)]
    found = next((one for one in (*codes, error.get("status")) if isinstance(one, str)), "")
    return found if found.replace("_", "").isalpha() and found.isupper() and len(found) <= 50 else ""


def _is_no_token(answer: httpx.Response) -> bool:
    """Say whether it is the token that is wrong, and not the message: another message would have no other end."""
    error = _error(answer)
    lists = [one["fieldViolations"] for one in _details(error) if isinstance(one.get("fieldViolations"), list)]
    if told := [one for some in lists for one in some]:
        return all(isinstance(one, dict) and one.get("field") == _TOKEN_FIELD for one in told)
    return _NO_TOKEN in str(error.get("message", "")).lower()


def _error(answer: httpx.Response) -> dict[str, Any]:
    try:
        found = answer.json()["error"]
    except (ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def _details(error: dict[str, Any]) -> list[dict[str, Any]]:
    found = error.get("details")
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
