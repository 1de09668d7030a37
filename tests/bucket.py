"""A small bucket that speaks S3 over HTTP: put, head and get of whole objects, with the headers they were given."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

from obstore.store import S3Store

_KEPT = ("content-type", "content-disposition")


class Bucket:
    """What was put, by key; `asked` are the methods and keys of all requests."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, dict[str, str]]] = {}
        self.asked: list[tuple[str, str]] = []
        self.port = 0

    def store(self) -> S3Store:
        """Return a store on this bucket that can sign."""
        return S3Store(
            "bucket",
            endpoint=f"http://127.0.0.1:{self.port}",
            region="eu-central-1",
            access_key_id="key",
            secret_access_key="secret",
            virtual_hosted_style_request=False,
            client_options={"allow_http": True},
            retry_config={"max_retries": 0},
        )


@contextmanager
def bucket() -> Iterator[Bucket]:
    """Serve an empty bucket while the block runs."""
    found = Bucket()

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            content = self.rfile.read(int(self.headers["content-length"]))
            kept = {name: self.headers[name] for name in _KEPT if self.headers[name]}
            found.objects[self._key()] = (content, kept)
            self._answer(200, b"", {"ETag": '"1"'})

        def do_GET(self) -> None:
            content, kept = found.objects.get(self._key(), (b"", None))
            if kept is None:
                self._answer(404, b"", {})
                return
            self._answer(200, content, {"ETag": '"1"', "Last-Modified": "Mon, 02 Mar 2026 12:00:00 GMT"} | kept)

        do_HEAD = do_GET

        def _key(self) -> str:
            asked = urlsplit(self.path)
            key = unquote(asked.path).removeprefix("/bucket/")
            found.asked.append((self.command, key))
            is_signed = "authorization" in self.headers or "X-Amz-Signature" in parse_qs(asked.query)
            return key if is_signed else ""

        def _answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()
