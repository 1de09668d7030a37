"""Firebase Cloud Messaging for tests, over real HTTP: tokens for signed assertions, and pushes with faults in them."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

HOST = "127.0.0.1"
PROJECT = "acme-field"
#: What Google's library signs for, wherever it asks.
_AUDIENCE = "https://oauth2.googleapis.com/token"
_SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
_TYPE = "type.googleapis.com/google."


@functools.cache
def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65_537, 2_048)


@dataclass(frozen=True)
class Fault:
    """An answer in place of the usual one; `status` 0 closes the connection without any, after `is_taken` or before."""

    status: int
    code: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    message: str = "no"
    #: The field that is told to be wrong.
    wrong: str | None = None
    is_taken: bool = False
    raw: bytes | None = None

    def body(self) -> bytes:
        """Return the error as FCM writes it."""
        if self.raw is not None:
            return self.raw
        details: list[dict[str, Any]] = []
        if self.code:
            details.append({"@type": f"{_TYPE}firebase.fcm.v1.FcmError", "errorCode": self.code})
        if self.wrong:
            violation = {"field": self.wrong, "description": "Invalid value"}
            details.append({"@type": f"{_TYPE}rpc.BadRequest", "fieldViolations": [violation]})
        error = {"code": self.status, "message": self.message, "status": self.code or "UNKNOWN", "details": details}
        return json.dumps({"error": error}).encode()


UNREGISTERED = Fault(404, "UNREGISTERED", message="Requested entity was not found.")


class FcmServer:
    """What was pushed, by device token; `faults` are answered once each, `broken` for ever, by device token."""

    def __init__(self) -> None:
        self.port = 0
        #: Every message that was taken, in order.
        self.taken: list[dict[str, Any]] = []
        self.faults: dict[str, list[Fault]] = {}
        self.broken: dict[str, Fault] = {}
        #: Answers of the token endpoint in place of a token.
        self.token_faults: list[tuple[int, dict[str, str]]] = []
        self.given = 0
        self.asked = 0
        self._good: set[str] = set()
        self._lock = threading.Lock()

    @property
    def endpoint(self) -> str:
        """Where it answers."""
        return f"http://{HOST}:{self.port}"

    def credentials(self, **changes: Any) -> dict[str, Any]:
        """Return a service account's key for it."""
        pem = _key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        said = {
            "type": "service_account", "project_id": PROJECT, "private_key_id": "k1", "private_key": pem,
            "client_email": f"push@{PROJECT}.iam.example", "token_uri": f"{self.endpoint}/token",
        }  # fmt: skip
        return {name: value for name, value in (said | changes).items() if value is not None}

    def write(self, folder: Path, **changes: Any) -> Path:
        """Write the key into a file; return where it is."""
        path = folder / "fcm.json"
        path.write_text(json.dumps(self.credentials(**changes)))
        return path

    def forget_access_tokens(self) -> None:
        """Let every access token that was given be good for nothing."""
        with self._lock:
            self._good.clear()

    def pushed(self, token: str) -> list[dict[str, Any]]:
        """Return the messages that a device got."""
        with self._lock:
            return [one for one in self.taken if one["token"] == token]

    def give(self, assertion: str) -> tuple[int, dict[str, object]]:
        """Return the answer to a request for an access token; its assertion must be signed by the account."""
        with self._lock:
            if self.token_faults:
                return self.token_faults.pop(0)  # type: ignore[return-value]
            said = jwt.decode(assertion, _key().public_key(), algorithms=["RS256"], audience=_AUDIENCE)
            if _SCOPE not in said["scope"].split():
                return 400, {"error": "invalid_scope"}
            self.given += 1
            token = f"fcm-access-{self.given}"
            self._good.add(token)
            return 200, {"access_token": token, "expires_in": 3600, "token_type": "Bearer"}

    def send(self, path: str, access: str, message: dict[str, Any]) -> Fault:
        """Take a message, or return why not."""
        with self._lock:
            self.asked += 1
            if path != f"/v1/projects/{PROJECT}/messages:send":
                return Fault(404, "NOT_FOUND")
            if access not in self._good:
                return Fault(401, "UNAUTHENTICATED")
            token = message["token"]
            faults = self.faults.get(token)
            fault = faults.pop(0) if faults else self.broken.get(token)
            if fault is None or fault.is_taken:
                self.taken.append(message)
            return fault or Fault(200, raw=json.dumps({"name": f"projects/{PROJECT}/messages/1"}).encode())


@contextmanager
def fcm_server() -> Iterator[FcmServer]:
    """Give the block a running server."""
    fcm = FcmServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body in one packet: else each answer on a kept connection waits 40 ms.
        wbufsize = -1
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/token":
                status, said = fcm.give(parse_qs(content.decode())["assertion"][0])
                self._answer(status, json.dumps(said).encode(), {})
                return
            access = self.headers.get("Authorization", "").removeprefix("Bearer ")
            fault = fcm.send(self.path, access, json.loads(content)["message"])
            if fault.status == 0:
                self.close_connection = True
                return
            self._answer(fault.status, fault.body(), fault.headers)

        def _answer(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the base's signature
            return

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        fcm.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield fcm
        finally:
            server.shutdown()
            thread.join()
