"""A Gmail that others wrote, as a child process: `emulate`, installed from npm by `.ci/other-gmail/install`.

It differs from Google's in ways a test has to know. It has no `getProfile`, so a door in front of it makes that answer
out of the server's own (who the token is, and the newest history id) and hands on everything else as it is. History ids
have 21 digits, none is ever too old, and an empty mailbox has the id 0. Page tokens are offsets: mail deleted while a
listing runs moves the later pages. After 5,000 calls in an hour with one token it refuses all.
"""

from __future__ import annotations

import base64
import json
import shutil
import signal
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import httpx

from deploy.local.processes import Launch, Spawner, kill_session, tail
from pipeline.runtime.settings import environment
from tests.worker_process import until

_FOLDER = Path(__file__).resolve().parents[1] / ".tools" / "other-gmail"
_PROGRAM = _FOLDER / "node_modules" / "emulate" / "dist" / "index.js"
_CLIENT = {"client_id": "fieldpost-tests", "client_secret": "no secret"}
_REDIRECT = "http://127.0.0.1/consented"
_PROFILE = "/gmail/v1/users/me/profile"
Resource = dict[str, Any]
#: Headers of one connection, not of what it carries.
_OF_THE_HOP = {"connection", "content-length", "host", "keep-alive", "transfer-encoding"}


def why_not() -> str:
    """Return why there is no other Gmail on this machine; empty when there is one."""
    if shutil.which("node") is None:
        return "node is not installed, so no mailbox is read from an independent Gmail; .ci/run does it where npm is"
    if not _PROGRAM.is_file():
        return "the independent Gmail is not installed: run .ci/other-gmail/install (it needs npm)"
    return ""


class OtherGmail:
    """The server with one mailbox, its credentials, and its own API to change that mailbox. A context manager."""

    def __init__(self, address: str, folder: Path) -> None:
        self.address = address
        self.log = folder / "other-gmail.log"
        self._seed = folder / "other-gmail.json"
        self._seed.write_text(
            json.dumps(
                {
                    "google": {
                        "users": [
                            {"email": address, "name": "Support"},
                            {"email": f"other.{address}", "name": "Other"},
                        ],
                        "oauth_clients": [{**_CLIENT, "name": "tests", "redirect_uris": [_REDIRECT]}],
                    }
                }
            )
        )
        self._spawner = Spawner()
        self._child: subprocess.Popen[bytes] | None = None
        self._door: Door | None = None
        self._api: httpx.Client | None = None

    def __enter__(self) -> Self:
        port = _free_port()
        argv = ("node", str(_PROGRAM), "start", "--service", "google", "--port", str(port), "--seed", str(self._seed))
        self._child = self._spawner.spawn(Launch(argv, environment(), self.log, signal.SIGKILL, cwd=self._seed.parent))
        self._origin = f"http://127.0.0.1:{port}"
        try:
            until(self._answers, "the other Gmail")
        except BaseException:
            self.close()
            raise
        self._door = Door(port)
        token = self._grant(self.address)["access_token"]
        self._api = httpx.Client(base_url=self._origin, headers={"Authorization": f"Bearer {token}"}, timeout=30)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the server."""
        if self._api is not None:
            self._api.close()
        if self._door is not None:
            self._door.close()
        if self._child is not None:
            kill_session(self._child)
            self._child.wait()
        self._spawner.close()

    @property
    def url(self) -> str:
        """What a client takes for Gmail's address."""
        assert self._door is not None
        return self._door.url

    @property
    def calls(self) -> Counter[str]:
        """How often each path was asked for, ids left out; the changes a test makes are not counted."""
        assert self._door is not None
        return self._door.calls

    def credentials(self, address: str | None = None) -> dict[str, str]:
        """Return the content of an `authorized_user` file, after the consent of the mailbox's user."""
        token = self._grant(address or self.address)["refresh_token"]
        return {
            "type": "authorized_user",
            **_CLIENT,
            "refresh_token": token,
            "token_uri": f"{self._origin}/oauth2/token",
        }

    def insert(self, raw: bytes, labels: Iterable[str] = ("INBOX", "UNREAD"), at: datetime | None = None) -> str:
        """Let a mail arrive, now or at a time; return its id."""
        return str(self.inserted(raw, labels, at)["id"])

    def inserted(self, raw: bytes, labels: Iterable[str], at: datetime | None) -> Resource:
        """Let a mail arrive; return the message as the API shows it."""
        body: Resource = {"raw": base64.urlsafe_b64encode(raw).decode(), "labelIds": list(labels)}
        if at is not None:
            body["internalDate"] = str(int(at.timestamp() * 1000))
        return self._post("messages", body)

    def modify(self, message_id: str, add: Iterable[str] = (), remove: Iterable[str] = ()) -> Resource:
        """Change the labels of a message; return it."""
        return self._post(f"messages/{message_id}/modify", {"addLabelIds": list(add), "removeLabelIds": list(remove)})

    def trash(self, message_id: str) -> Resource:
        """Move a message to the trash; return it."""
        return self._post(f"messages/{message_id}/trash", {})

    def delete(self, message_id: str) -> None:
        """Delete a message for ever."""
        assert self._api is not None
        self._api.delete(f"/gmail/v1/users/me/messages/{message_id}").raise_for_status()

    def create_label(self, name: str) -> str:
        """Make a label; return its id."""
        return str(self._post("labels", {"name": name})["id"])

    def labels_of(self, message_id: str) -> list[str]:
        """Return the labels of a message, sorted."""
        assert self._api is not None
        answer = self._api.get(f"/gmail/v1/users/me/messages/{message_id}", params={"format": "minimal"})
        return sorted(answer.raise_for_status().json()["labelIds"])

    def _post(self, path: str, body: Resource) -> Resource:
        assert self._api is not None
        found: Resource = self._api.post(f"/gmail/v1/users/me/{path}", json=body).raise_for_status().json()
        return found

    def _answers(self) -> bool:
        assert self._child is not None
        assert self._child.poll() is None, tail(self.log, lines=40)
        try:
            return httpx.get(f"{self._origin}/.well-known/openid-configuration").is_success
        except httpx.TransportError:
            return False

    def _grant(self, address: str) -> dict[str, str]:
        """Consent as the user in the browser, and change the code into tokens."""
        asked = {"client_id": _CLIENT["client_id"], "redirect_uri": _REDIRECT, "scope": "openid email"}
        answer = httpx.post(f"{self._origin}/o/oauth2/v2/auth/callback", data={"email": address, **asked})
        (code,) = parse_qs(urlsplit(answer.headers["location"]).query)["code"]
        form = {**_CLIENT, "grant_type": "authorization_code", "code": code, "redirect_uri": _REDIRECT}
        tokens: dict[str, str] = httpx.post(f"{self._origin}/oauth2/token", data=form).raise_for_status().json()
        return tokens


class Door:
    """Hands every request on to the server behind it, byte by byte, and answers `getProfile` out of its answers."""

    def __init__(self, port: int) -> None:
        calls = self.calls = Counter[str]()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                path = urlsplit(self.path).path
                calls[_without_ids(path)] += 1
                if path == _PROFILE:
                    self._send(*_profile(port, self._headers()))
                else:
                    self._send(*_asked(port, self.command, self.path, self._headers(), self._body()))

            do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

            def _headers(self) -> dict[str, str]:
                return {name: value for name, value in self.headers.items() if name.lower() not in _OF_THE_HOP}

            def _body(self) -> bytes:
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))

            def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
                self.send_response_only(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *_: object) -> None:  # noqa: A002 - the base class's name
                """Stay silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take no more requests."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


Served = tuple[int, dict[str, str], bytes]


def _asked(port: int, verb: str, path: str, headers: dict[str, str], body: bytes) -> Served:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(verb, path, body or None, headers)
        answer = connection.getresponse()
        content = answer.read()
        kept = {name: value for name, value in answer.getheaders() if name.lower() not in _OF_THE_HOP}
        return answer.status, kept, content
    finally:
        connection.close()


def _profile(port: int, headers: dict[str, str]) -> Served:
    status, kept, content = _asked(
        port, "GET", "/gmail/v1/users/me/history?startHistoryId=0&maxResults=1", headers, b""
    )
    if status != 200:
        return status, kept, content
    history_id = json.loads(content)["historyId"]
    _, _, content = _asked(port, "GET", "/oauth2/v2/userinfo", headers, b"")
    return 200, kept, json.dumps({"emailAddress": json.loads(content)["email"], "historyId": history_id}).encode()


def _without_ids(path: str) -> str:
    steps = path.removeprefix("/gmail/v1/users/me/").split("/")
    return "/".join(step if number % 2 == 0 else "*" for number, step in enumerate(steps))


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
