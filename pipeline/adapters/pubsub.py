"""A pull subscription of Google Pub/Sub, on Google's own client."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httplib2
import orjson
from google.auth.credentials import Credentials
from google.auth.exceptions import GoogleAuthError
from google.oauth2 import service_account
from google_auth_httplib2 import AuthorizedHttp
from googleapiclient.discovery import build
from googleapiclient.errors import Error as GoogleClientError
from googleapiclient.errors import HttpError
from googleapiclient.http import HttpRequest

from pipeline.adapters import gmail_credentials
from pipeline.runtime.errors import Permanent, Transient, UserError
from pipeline.runtime.settings import Settings

SCOPE = "https://www.googleapis.com/auth/pubsub"
#: A pull waits at the server until something comes; Google ends it before this.
_TIMEOUT_SECONDS = 100
#: What does not pass by itself: the subscription's name or its permissions are wrong.
_LASTING = (400, 401, 403, 404)


@dataclass(frozen=True, slots=True)
class Received:
    """One message: the id to acknowledge it by, and its data in base64."""

    ack_id: str
    data: str


class PullSubscription:
    """Pulls from one subscription; used by one thread, but for `interrupt`."""

    def __init__(self, name: str, credentials: Credentials | None, endpoint: str | None = None) -> None:
        self._name = name
        self._plain = httplib2.Http(timeout=_TIMEOUT_SECONDS)
        options = {"api_endpoint": endpoint} if endpoint else {}
        client = AuthorizedHttp(credentials, http=self._plain) if credentials else self._plain
        service = build("pubsub", "v1", http=client, static_discovery=True, client_options=options)
        self._calls = service.projects().subscriptions()

    def pull(self, limit: int) -> Sequence[Received]:
        """Wait for messages and return up to `limit`, perhaps none. Raises `Transient` or `Permanent`.

        What is not acknowledged in time comes again.
        """
        answer = _answer(self._calls.pull(subscription=self._name, body={"maxMessages": limit}))
        return [
            Received(str(one["ackId"]), str(one.get("message", {}).get("data", "")))
            for one in answer.get("receivedMessages", ())
        ]

    def acknowledge(self, ack_ids: Sequence[str]) -> None:
        """Let messages go for ever. Raises `Transient` or `Permanent`; they come again then."""
        _answer(self._calls.acknowledge(subscription=self._name, body={"ackIds": list(ack_ids)}))

    def interrupt(self) -> None:
        """End a pull that waits, from another thread; it raises `Transient`."""
        for connection in list(self._plain.connections.values()):
            if connection.sock is not None:
                with suppress(OSError):
                    connection.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        self._plain.close()


def _answer(request: HttpRequest) -> Mapping[str, Any]:
    try:
        found: Mapping[str, Any] = request.execute()
    except HttpError as error:
        kind = Permanent if int(error.resp.status) in _LASTING else Transient
        raise kind(f"Pub/Sub answered {error.resp.status}: {error.reason}") from error
    except (GoogleAuthError, GoogleClientError, httplib2.HttpLib2Error, http.client.HTTPException, OSError) as error:
        raise Transient(f"Pub/Sub gave no answer: {type(error).__name__}") from error
    except ValueError as error:
        raise Transient("Pub/Sub's answer could not be read") from error
    return found


def open_subscription(settings: Settings) -> PullSubscription | None:
    """Return the subscription of the settings, None without one. Raises `UserError` without usable credentials."""
    name, path, endpoint = settings.pubsub_subscription, settings.pubsub_credentials, settings.pubsub_endpoint
    if name is None:
        return None
    if path is None and endpoint is None:
        raise UserError(
            "FIELDPOST_PUBSUB_SUBSCRIPTION needs FIELDPOST_PUBSUB_CREDENTIALS: a service account's key file"
        )
    return PullSubscription(name, None if path is None else load_credentials(path), endpoint)


def load_credentials(path: Path) -> Credentials:
    """Return the credentials of a service account's key or an authorized user's file. Raises `UserError`."""
    try:
        data = orjson.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(
            f"FIELDPOST_PUBSUB_CREDENTIALS: {path} cannot be read as JSON: {type(error).__name__}"
        ) from None
    if not isinstance(data, dict) or data.get("type") != "service_account":
        return gmail_credentials.load(data if isinstance(data, dict) else {})
    try:
        found: Credentials = service_account.Credentials.from_service_account_info(  # type: ignore[no-untyped-call]
            data, scopes=[SCOPE]
        )
    except ValueError as error:
        raise UserError(f"FIELDPOST_PUBSUB_CREDENTIALS: {path} is no service account's key: {error}") from None
    return found
