"""The service account that pushes are sent by: its key file, checked in words, and the access tokens it is given."""

from __future__ import annotations

import http.client
import threading
from dataclasses import dataclass
from pathlib import Path

import httplib2
import orjson
from google.auth.credentials import Credentials
from google.auth.exceptions import TransportError
from google.oauth2 import service_account
from google_auth_httplib2 import Request

from pipeline.adapters.gmail_credentials import GOOGLE_TOKEN_URI
from pipeline.adapters.guarded_http import is_safe_url
from pipeline.runtime.errors import UserError

SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
_SECONDS = 10
_WHAT = "FIELDPOST_FCM_CREDENTIALS_FILE"


@dataclass(frozen=True, slots=True)
class Account:
    """The service account, and the project whose devices it pushes to."""

    project: str
    credentials: Credentials


def load(path: Path) -> Account:
    """Return the account of a key file. Raises `UserError` that says what is wrong, without what stands in the file."""
    try:
        data = orjson.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"{_WHAT}: {path} cannot be read as JSON: {type(error).__name__}") from None
    if not isinstance(data, dict) or data.get("type") != "service_account":
        raise UserError(f"{_WHAT}: {path} is no service account's key: make one in Firebase, project settings")
    project, token_uri = data.get("project_id"), data.get("token_uri") or GOOGLE_TOKEN_URI
    if not isinstance(project, str) or not project.strip("/ "):
        raise UserError(f"{_WHAT}: {path} names no project_id: download the key again")
    if not isinstance(token_uri, str) or not is_safe_url(token_uri, is_production=False):
        raise UserError(f"{_WHAT}: the token_uri of {path} must start with https://")
    try:
        found: Credentials = service_account.Credentials.from_service_account_info(  # type: ignore[no-untyped-call]
            {**data, "token_uri": token_uri}, scopes=[SCOPE]
        )
    except (ValueError, TypeError):
        raise UserError(f"{_WHAT}: the private_key of {path} cannot be read: download the key again") from None
    return Account(project.strip(), found)


class FcmTokens:
    """Access tokens of the account: kept while they are good, asked for once for all who wait; shared by threads.

    The file is read when the first token is asked for; one that is no good is read again the next time.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self._account: Account | None = None

    def take(self, refused: str | None = None) -> tuple[str, str]:
        """Return the project and an access token, another than one that was `refused`.

        Raises `UserError` for a file that is no good, and `GoogleAuthError` when no token is to be had.
        """
        with self._lock:
            account = self._account or load(self._path)
            self._account = account
            held = account.credentials
            if not held.valid or held.token == refused:
                _renew(held)
            return account.project, str(held.token)


def _renew(credentials: Credentials) -> None:
    connection = httplib2.Http(timeout=_SECONDS)
    try:
        credentials.refresh(Request(connection))  # type: ignore[no-untyped-call]
    except (OSError, httplib2.HttpLib2Error, http.client.HTTPException) as error:
        raise TransportError(type(error).__name__) from error  # type: ignore[no-untyped-call]
    finally:
        connection.close()
