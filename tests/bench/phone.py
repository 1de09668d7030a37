"""A technician's phone, as cheap as it can be: HTTP/1.1 by hand on one connection, and the calls of a working day."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import Any

import orjson
from PIL import Image

#: Pixels of a photo, as an app shrinks what a camera gives.
_WIDTH, _HEIGHT, _GRAIN = 800, 600, 8
_BOUNDARY = b"fieldpost-bench-boundary"


@dataclass(frozen=True, slots=True)
class Call:
    """One answer, and how long it took from the first byte sent to the last received."""

    status: int
    body: bytes
    milliseconds: float

    @property
    def json(self) -> Any:
        """The answer as JSON."""
        return orjson.loads(self.body)


class Phone:
    """One connection with one token, from an address of its own; it is made again when the server closed it."""

    def __init__(self, host: str, port: int, token: str, local: str) -> None:
        self._to, self._local = (host, port), local
        self._head = f"Host: {host}:{port}\r\nAuthorization: Bearer {token}\r\n"
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, method: str, path: str, content: bytes = b"", headers: str = "") -> Call:
        """Ask, and wait for the whole answer."""
        head = f"{method} {path} HTTP/1.1\r\n{self._head}{headers}Content-Length: {len(content)}\r\n\r\n"
        began = time.perf_counter()
        status, body = await self._exchange(head.encode() + content)
        return Call(status, body, (time.perf_counter() - began) * 1000)

    async def change(self, path: str, version: int, said: dict[str, Any] | None = None) -> Call:
        """Change something whose version was seen."""
        headers = f'If-Match: "{version}"\r\nContent-Type: application/json\r\n'
        return await self.ask("PATCH", path, orjson.dumps(said or {}), headers)

    async def close(self) -> None:
        """Hang up."""
        if self._writer is not None:
            self._writer.close()
            self._reader = self._writer = None

    async def _exchange(self, sent: bytes) -> tuple[int, bytes]:
        if self._writer is None or self._reader is None or self._reader.at_eof():
            await self.close()
            self._reader, self._writer = await asyncio.open_connection(*self._to, local_addr=(self._local, 0))
        self._writer.write(sent)
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = next((int(line[15:]) for line in head.split("\r\n") if line.startswith("content-length:")), None)
        body = await self._reader.readexactly(length) if length is not None else await self._chunks()
        return int(head[9:12]), body

    async def _chunks(self) -> bytes:
        assert self._reader is not None
        found = []
        while size := int(await self._reader.readline(), 16):
            found.append(await self._reader.readexactly(size))
            await self._reader.readline()
        await self._reader.readline()
        return b"".join(found)


async def day(phone: Phone, drawn: random.Random, returns: float = 1 / 6) -> AsyncIterator[tuple[str, int, Call]]:
    """Work one order after the other; give each call's name, the status that it should have, and the call."""
    while True:
        yield "dashboard", 200, await phone.ask("GET", "/api/v1/me/dashboard")
        listed = await phone.ask("GET", "/api/v1/me/work-orders?state=assigned")
        yield "list", 200, listed
        found = listed.json["workOrders"] if listed.status == 200 else []
        if found:
            async for step in _order(phone, drawn, found[0]["id"], returns):
                yield step
        yield "notifications", 200, await phone.ask("GET", "/api/v1/me/notifications")


async def _order(
    phone: Phone, drawn: random.Random, order_id: str, returns: float
) -> AsyncIterator[tuple[str, int, Call]]:
    path = f"/api/v1/work-orders/{order_id}"
    seen = await phone.ask("GET", path)
    yield "detail", 200, seen
    started = await phone.change(f"{path}/start", seen.json.get("version", 0))
    yield "start", 200, started
    version = started.json.get("version", 0)
    if drawn.random() < returns:
        yield "return", 200, await phone.change(f"{path}/return", version, {"reason": "the parts are missing"})
        return
    kind, form = _form(order_id, photo_of(drawn.randrange(1 << 30)))
    yield "photo", 201, await phone.ask("POST", "/api/v1/uploads/photos", form, f"Content-Type: {kind}\r\n")
    yield "done", 200, await phone.change(f"{path}/done", version, {"fixNote": "pads replaced"})


def photo_of(number: int) -> bytes:
    """Return a JPEG of some 100 kB, another for every number, at next to no cost: the server keeps the same once."""
    # A comment after the first marker makes other bytes of the same picture.
    said = b"%016d" % number
    return b"\xff\xd8\xff\xfe" + (len(said) + 2).to_bytes(2) + said + _picture()[2:]


@cache
def _picture() -> bytes:
    size = (_WIDTH // _GRAIN, _HEIGHT // _GRAIN)
    image = Image.frombytes("RGB", size, random.Random(7).randbytes(size[0] * size[1] * 3))
    stored = BytesIO()
    image.resize((_WIDTH, _HEIGHT)).save(stored, "JPEG", quality=75)
    return stored.getvalue()


def _form(order_id: str, picture: bytes) -> tuple[str, bytes]:
    fields = {"workOrderId": order_id, "kind": "COMPLETION"}
    parts = [
        b'--%s\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (_BOUNDARY, name.encode(), said.encode())
        for name, said in fields.items()
    ]
    head = b'--%s\r\nContent-Disposition: form-data; name="file"; filename="p.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    content = b"".join((*parts, head % _BOUNDARY, picture, b"\r\n--%s--\r\n" % _BOUNDARY))
    return f"multipart/form-data; boundary={_BOUNDARY.decode()}", content
