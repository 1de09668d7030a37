"""Credentials of IMAP mailboxes: a password, or an OAuth2 refresh token that gives access tokens."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Protocol
from urllib.parse import urlsplit

import google_auth_httplib2
from google.oauth2.credentials import Credentials
from imapclient import IMAPClient
from imapclient.exceptions import LoginError

from pipeline.adapters.guarded_google import GuardedHttp
from pipeline.adapters.guarded_http import Guard
from pipeline.adapters.imap_errors import LOGIN, from_exception
from pipeline.runtime.errors import NeedsAuthorization, Permanent, UserError

PASSWORD = "imap_password"  # noqa: S105 - a kind of credentials, no secret
OAUTH = "imap_oauth"

TOKEN_TIMEOUT_SECONDS = 30


class ImapLogin(Protocol):
    """How to log in; shared by every connection of a mailbox."""

    def log_in(self, client: IMAPClient, user: str) -> None:
        """Log a fresh connection in. Raises what the library raises, or from the tree."""


class PasswordLogin:
    """Logs in by a password; by the SASL mechanism PLAIN where the command LOGIN is switched off or cannot carry it."""

    def __init__(self, password: str) -> None:
        self._password = password

    @property
    def password(self) -> str:
        """The password; the same account's mail is sent with it."""
        return self._password

    def log_in(self, client: IMAPClient, user: str) -> None:
        """Log in."""
        fits = (user + self._password).isascii() and (user + self._password).isprintable()
        if client.has_capability("AUTH=PLAIN") and (client.has_capability("LOGINDISABLED") or not fits):
            client.plain_login(user, self._password)
        elif fits:
            # The standard library quotes the password only.
            client.login('"' + user.replace("\\", "\\\\").replace('"', '\\"') + '"', self._password)
        else:
            raise NeedsAuthorization("IMAP login: this server takes ASCII passwords only; set another password")


class OAuthLogin:
    """Logs in by an access token, which is renewed from the refresh token when it has run out or was refused."""

    def __init__(self, credentials: Credentials, guard: Guard | None = None) -> None:
        self._credentials, self._guard = credentials, guard
        self._lock = threading.Lock()

    def log_in(self, client: IMAPClient, user: str) -> None:
        """Log in; a token that was refused is renewed once."""
        token = self.token()
        try:
            _bear(client, user, token)
        except LoginError as error:
            if not isinstance(from_exception(LOGIN, error), NeedsAuthorization):
                raise
            _bear(client, user, self.token(refused=token))

    def token(self, refused: str | None = None) -> str:
        """Return an access token, another one than that which was refused. Raises what the library raises."""
        with self._lock:
            if not self._credentials.valid or self._credentials.token == refused:
                request = google_auth_httplib2.Request(GuardedHttp(self._guard, TOKEN_TIMEOUT_SECONDS))
                self._credentials.refresh(request)  # type: ignore[no-untyped-call]
            return str(self._credentials.token)


def _bear(client: IMAPClient, user: str, token: str) -> None:
    """Send a token by XOAUTH2, or by OAUTHBEARER where only that is offered (RFC 7628)."""
    if client.has_capability("AUTH=XOAUTH2"):
        client.sasl_login("XOAUTH2", _once(f"user={user}\1auth=Bearer {token}\1\1", b""))
    elif client.has_capability("AUTH=OAUTHBEARER"):
        name = user.replace("=", "=3D").replace(",", "=2C")
        client.sasl_login("OAUTHBEARER", _once(f"n,a={name},\1auth=Bearer {token}\1\1", b"\1"))
    else:
        raise Permanent("the IMAP server offers no login by OAuth2 (XOAUTH2 or OAUTHBEARER); use a password")


def _once(answer: str, after_error: bytes) -> Callable[[bytes], bytes]:
    """Answer the first challenge; a second one holds the server's reason and only wants to be acknowledged."""
    left = [answer.encode()]
    return lambda _challenge: left.pop() if left else after_error


def load(data: Mapping[str, object], guard: Guard | None = None) -> ImapLogin:
    """Return the login of unsealed credentials; `guard` says where tokens are got. `UserError` says what is wrong."""
    kind = data.get("type")
    if kind == PASSWORD:
        return PasswordLogin(_text(data, "password", strip=False))
    if kind == OAUTH:
        # No scopes are asked for: a renewal gives those the person consented to.
        return OAuthLogin(
            Credentials(  # type: ignore[no-untyped-call]
                None,
                refresh_token=_text(data, "refresh_token"),
                client_id=_text(data, "client_id"),
                client_secret=_text(data, "client_secret"),
                token_uri=_token_uri(data),
            ),
            guard,
        )
    raise UserError(f"these IMAP credentials are of no known kind (type is {kind!r}): use {PASSWORD} or {OAUTH}")


def _text(data: Mapping[str, object], name: str, *, strip: bool = True) -> str:
    value = data.get(name)
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"the IMAP credentials have no {name}")
    return value.strip() if strip else value


def _token_uri(data: Mapping[str, object]) -> str:
    uri = _text(data, "token_uri")
    parts = urlsplit(uri)
    is_here = parts.hostname in {"127.0.0.1", "localhost", "::1"}
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and is_here)):
        raise UserError(f"the token_uri {uri!r} of the IMAP credentials must start with https://")
    return uri
