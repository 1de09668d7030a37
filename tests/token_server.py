"""An OAuth2 server for tests: gives access tokens for refresh tokens, and tells a mail server whose they are."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

HOST = "127.0.0.1"


class TokenServer:
    """The tokens it gave out; a refresh token is the address of its mailbox."""

    def __init__(self) -> None:
        self.port = 0
        self.is_revoked = False
        self.given = 0
        self._owners: dict[str, str] = {}

    @property
    def token_url(self) -> str:
        """Where access tokens are given out."""
        return f"http://{HOST}:{self.port}/token"

    @property
    def check_url(self) -> str:
        """Where a mail server asks about an access token, which is appended."""
        return f"http://{HOST}:{self.port}/check?access_token="

    def credentials(self, address: str) -> dict[str, object]:
        """Return IMAP credentials of a mailbox."""
        return {
            "type": "imap_oauth", "refresh_token": address, "client_id": "tests", "client_secret": "tests",
            "token_uri": self.token_url,
        }  # fmt: skip

    def forget_access_tokens(self) -> None:
        """Let every access token be unknown."""
        self._owners.clear()

    def revoke(self) -> None:
        """Give no more access tokens."""
        self.is_revoked = True

    def restore(self) -> None:
        """Give access tokens again."""
        self.is_revoked = False

    def give(self, refresh_token: str) -> tuple[int, dict[str, object]]:
        """Return the answer to a request for an access token."""
        if self.is_revoked:
            return 400, {"error": "invalid_grant", "error_description": "Token has been expired or revoked."}
        self.given += 1
        token = f"access-{self.given}"
        self._owners[token] = refresh_token
        return 200, {"access_token": token, "expires_in": 3600, "token_type": "Bearer"}

    def check(self, token: str) -> tuple[int, dict[str, object]]:
        """Return the answer to a mail server that asks whose a token is."""
        owner = self._owners.get(token)
        return (401, {"error": "invalid_token"}) if owner is None else (200, {"email": owner})


@contextmanager
def token_server() -> Iterator[TokenServer]:
    """Give the block a running server."""
    tokens = TokenServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self._answer(*tokens.give(parse_qs(content)["refresh_token"][0]))

        def do_GET(self) -> None:
            self._answer(*tokens.check(parse_qs(urlsplit(self.path).query)["access_token"][0]))

        def _answer(self, status: int, answer: dict[str, object]) -> None:
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the base's signature
            return

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        tokens.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield tokens
        finally:
            server.shutdown()
            thread.join()
