"""Google's own Python client, connected to a server of this package."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from google.auth.credentials import Credentials
from google.oauth2 import credentials as user_credentials
from googleapiclient.discovery import build
from googleapiclient.http import BatchHttpRequest

from tests.gmail_server.server import GmailServer


def user(server: GmailServer, address: str) -> user_credentials.Credentials:
    """Credentials of a mailbox that fetch their access token from the server."""
    content = server.tokens.authorized_user(server.mailbox(address).address, server.token_uri)
    # Not from_authorized_user_info: it puts Google's own token address in the place of the file's.
    return user_credentials.Credentials(  # type: ignore[no-untyped-call]
        None,
        refresh_token=content["refresh_token"],
        token_uri=content["token_uri"],
        client_id=content["client_id"],
        client_secret=content["client_secret"],
    )


@contextmanager
def connected(server: GmailServer, credentials: Credentials) -> Iterator[Any]:
    """A `gmail` v1 resource of google-api-python-client, closed at the end."""
    service = build(
        "gmail",
        "v1",
        credentials=credentials,
        static_discovery=True,
        cache_discovery=False,
        client_options={"api_endpoint": server.url},
    )
    try:
        yield service
    finally:
        service.close()


def batch(server: GmailServer, callback: Callable[[str, Any, Exception | None], None]) -> BatchHttpRequest:
    """A batch sent to the server; the one a resource makes goes to Google whatever its api_endpoint."""
    return BatchHttpRequest(callback=callback, batch_uri=server.batch_uri)
