"""The provider itself: what it knows, what it is asked, and how it fails."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import uuid4

from tests.oidc_server.keys import Key, key

HOST = "127.0.0.1"
CLIENT_ID, CLIENT_SECRET = "fieldpost-tests", "a secret of the client"


class Provider:
    """One identity provider; tests set who signs in, which keys stand, and what goes wrong."""

    def __init__(self) -> None:
        self.port = 0
        self.keys: list[Key] = [key("RS256")]
        self.asked: Counter[str] = Counter()
        #: By path: `down`, `hang`, `large`, `gzip`, `nonsense`, `elsewhere` (a redirect) or `here` (one within).
        self.faults: dict[str, str] = {}
        self.elsewhere = "http://localhost:9/"
        self.user: dict[str, Any] = {"sub": "ann-at-provider", "email": "ann@example.org", "email_verified": True}
        self.denies: str | None = None
        #: What is changed in the next id tokens; None leaves a claim out.
        self.changes: dict[str, Any] = {}
        self.signs_with: Key | None = None
        self.released = threading.Event()
        self._codes: dict[str, dict[str, str]] = {}

    @property
    def issuer(self) -> str:
        """Its name, which is its address."""
        return f"http://{HOST}:{self.port}"

    @property
    def jwks_url(self) -> str:
        """Where its keys are."""
        return f"{self.issuer}/jwks"

    def discovery(self) -> dict[str, Any]:
        """Return what it says of itself."""
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": self.jwks_url,
            "id_token_signing_alg_values_supported": ["RS256", "ES256"],
        }

    def authorize(self, query: dict[str, str]) -> str:
        """Return where the browser is sent: back, with a code or a refusal."""
        back = {"state": query.get("state", "")}
        if self.denies:
            return f"{query['redirect_uri']}?{urlencode(back | {'error': self.denies})}"
        code = uuid4().hex
        self._codes[code] = query
        return f"{query['redirect_uri']}?{urlencode(back | {'code': code})}"

    def exchange(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        """Return tokens for a code, once, to whoever proves to be its client and the one who began (RFC 7636)."""
        basic = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        if authorization != f"Basic {basic}":
            return 401, {"error": "invalid_client"}
        asked = self._codes.pop(form.get("code", ""), None)
        if asked is None or asked["redirect_uri"] != form.get("redirect_uri"):
            return 400, {"error": "invalid_grant"}
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if asked.get("code_challenge") != base64.urlsafe_b64encode(digest).rstrip(b"=").decode():
            return 400, {"error": "invalid_grant"}
        signer = self.signs_with or self.keys[0]
        token = signer.sign(self.id_claims(asked.get("nonce")))
        return 200, {"access_token": uuid4().hex, "token_type": "Bearer", "expires_in": 300, "id_token": token}

    def id_claims(self, nonce: str | None) -> dict[str, Any]:
        """Return what an id token says, with the changes that the test wants."""
        now = int(time.time())
        said = {"iss": self.issuer, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "nonce": nonce}
        return {name: value for name, value in (said | self.user | self.changes).items() if value is not None}


class _Handler(BaseHTTPRequestHandler):
    provider: Provider
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self.provider.asked[parts.path] += 1
        if self._failed(parts.path):
            return
        match parts.path:
            case "/jwks" | "/moved":
                self._answer(200, {"keys": [one.jwk() for one in self.provider.keys]})
            case "/.well-known/openid-configuration":
                self._answer(200, self.provider.discovery())
            case "/authorize":
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                self._redirect(self.provider.authorize(query))
            case _:
                self._answer(404, {})

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        self.provider.asked[self.path] += 1
        if not self._failed(self.path):
            form = {name: values[0] for name, values in parse_qs(content).items()}
            self._answer(*self.provider.exchange(form, self.headers.get("Authorization", "")))

    def _failed(self, path: str) -> bool:
        match self.provider.faults.get(path):
            case "down":
                self._answer(503, {"error": "temporarily_unavailable"})
            case "hang":
                self.provider.released.wait(30)
                self.close_connection = True
            case "large":
                self._send(200, b'{"keys": [' + b" " * 1_000_000 + b"]}")
            case "gzip":
                self._send(200, b"\x1f\x8b", **{"Content-Encoding": "gzip"})
            case "nonsense":
                self._send(200, b"<html>a page of a gateway</html>")
            case "elsewhere":
                self._redirect(self.provider.elsewhere)
            case "here":
                self._redirect("/moved")
            case _:
                return False
        return True

    def _redirect(self, where: str) -> None:
        self._send(302, b"", Location=where)

    def _answer(self, status: int, answer: dict[str, Any]) -> None:
        self._send(status, json.dumps(answer).encode(), **{"Content-Type": "application/json"})

    def _send(self, status: int, content: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the base's signature
        return


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away early is what some tests are about."""


@contextmanager
def providing() -> Iterator[Provider]:
    """Serve a provider on a free port of this machine while the block runs."""
    provider = Provider()
    handler = type("Handler", (_Handler,), {"provider": provider})
    with _Server((HOST, 0), handler) as server:
        provider.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield provider
        finally:
            provider.released.set()
            server.shutdown()
            thread.join()
