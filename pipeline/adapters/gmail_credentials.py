"""Credentials of Gmail mailboxes from the JSON files Google gives out, checked with words a person can act on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from google.auth.credentials import Credentials
from google.oauth2 import credentials as oauth2
from google.oauth2 import service_account

from pipeline.runtime.errors import UserError

SCOPE = "https://www.googleapis.com/auth/gmail.readonly"
#: Beside SCOPE: to send. A mailbox that is only read needs no consent to it.
SEND_SCOPE = "https://www.googleapis.com/auth/gmail.send"
GOOGLE_TOKEN_URI = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address, no secret

_KINDS = "an authorized_user file, a service_account key, or the JSON of an OAuth client"


def load(data: Mapping[str, object], *, subject: str | None = None, scopes: Sequence[str] = (SCOPE,)) -> Credentials:
    """Return credentials for reading mail; `UserError` says what is wrong with the file's content.

    `scopes` are what a service account asks for; other kinds have what their person consented to.
    `subject` is the mailbox a service account acts for (domain-wide delegation); other kinds carry their own mailbox.
    The token address comes from the file, so that an own OAuth server can be used.
    """
    kind = data.get("type")
    if kind == "authorized_user":
        return _authorized_user(data)
    if kind == "service_account":
        return _service_account(data, subject, scopes)
    if "installed" in data or "web" in data:
        raise UserError(_consent_text())
    raise UserError(f"these credentials are of no known kind (type is {kind!r}): give {_KINDS}")


def project_of(data: Mapping[str, object]) -> str:
    """Return the Cloud project whose quota pays for calls with these credentials.

    A service account's own, or that of the OAuth client, which its id begins with; an id without it stands for itself.
    """
    named = data.get("project_id") if data.get("type") == "service_account" else data.get("quota_project_id")
    if isinstance(named, str) and named:
        return named
    client = str(data.get("client_id") or "unknown").split(".", 1)[0]
    number = client.split("-", 1)[0]
    return number if number.isdecimal() else client


def _authorized_user(data: Mapping[str, object]) -> Credentials:
    field = _Fields(data, "authorized_user")
    # The library's own reader of such files ignores their token address. No scopes are asked for: a renewal gives those
    # the person consented to, and to ask for fewer fails where a wider one was given.
    return oauth2.Credentials(  # type: ignore[no-untyped-call]
        None,
        refresh_token=field.text("refresh_token"),
        client_id=field.text("client_id"),
        client_secret=field.text("client_secret"),
        token_uri=field.token_uri(),
        scopes=None,
    )


def _service_account(data: Mapping[str, object], subject: str | None, scopes: Sequence[str]) -> Credentials:
    field = _Fields(data, "service_account")
    if not subject:
        raise UserError("a service account acts for a mailbox: say which (its address is the subject)")
    info = {**data, "client_email": field.text("client_email"), "private_key": field.text("private_key")}
    info["token_uri"] = field.token_uri()
    try:
        found: Credentials = service_account.Credentials.from_service_account_info(  # type: ignore[no-untyped-call]
            info, scopes=list(scopes), subject=subject
        )
    except ValueError as error:
        raise UserError(f"the private_key of the service_account file cannot be read: {error}") from error
    return found


class _Fields:
    """Reads the fields of one credentials file."""

    def __init__(self, data: Mapping[str, object], kind: str) -> None:
        self._data = data
        self._kind = kind

    def text(self, name: str) -> str:
        value = self._data.get(name)
        if not isinstance(value, str) or not value.strip():
            raise UserError(f"the {self._kind} file has no {name}: download or make it again")
        return value

    def token_uri(self) -> str:
        uri = self._data.get("token_uri") or GOOGLE_TOKEN_URI
        parts = urlsplit(uri if isinstance(uri, str) else "")
        is_here = parts.hostname in {"127.0.0.1", "localhost", "::1"}
        if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and is_here)):
            raise UserError(f"the {self._kind} file has the token_uri {uri!r}: it must start with https://")
        return str(uri)


def _consent_text() -> str:
    scopes = f"https://www.googleapis.com/auth/cloud-platform,{SCOPE}"
    return (
        "this is an OAuth client, which still needs a person's consent. Run "
        f"`gcloud auth application-default login --client-id-file=CLIENT.json --scopes={scopes}` as the mailbox's user "
        f"(with ,{SEND_SCOPE} at its end to answer from it, too) and give the authorized_user file it writes "
        "(application_default_credentials.json)."
    )
