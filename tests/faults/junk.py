"""Junk that somebody may put into the broker's queues, by what it is; and how it is put there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import dramatiq
from redis import Redis


def message(**changes: object) -> bytes:
    """Return a doorbell for live fetches with some fields changed."""
    values = {"queue_name": "live", "actor_name": "live", "args": ("fetch",), "kwargs": {}, **changes}
    return dramatiq.Message(**{"options": {"redis_message_id": "junk"}, **values}).encode()  # type: ignore[arg-type]


JUNK: Mapping[str, bytes | None] = MappingProxyType(
    {
        "bytes that are no text": b"\xff\xfe\x00{",
        "text that is no JSON": b"{" * 300,
        "JSON that is no message": b'[1, {"queue_name": "live"}]',
        "JSON too deep to read": b"[" * 4000,
        "a megabyte": b"{" * (1 << 20),
        "an id without content": None,
        "an actor nobody knows": message(actor_name="nobody"),
        "a queue nobody listens to": message(queue_name="elsewhere"),
        "an id of a job, perhaps of a foreign company": message(args=(4711,)),
        "more than a stage": message(args=("fetch", "b3ad5f36-6a3e-4f0e-a0c4-70e7a1f5a001")),
        "named arguments": message(args=(), kwargs={"stage": "fetch"}),
        "a doorbell for the year 2286": message(options={"redis_message_id": "junk", "eta": 9_999_999_999_999}),
        "no id to acknowledge": message(options={}),
    }
)


def put_junk(client: Redis, junk: Sequence[bytes | None], queue: str = "live", name: str = "junk") -> None:
    """Put messages into a queue as Dramatiq keeps them: an id in the list, the content beside it."""
    with client.pipeline() as pipe:
        for number, data in enumerate(junk):
            if data is not None:
                pipe.hset(f"dramatiq:{queue}.msgs", f"{name}-{number}", data)
            pipe.rpush(f"dramatiq:{queue}", f"{name}-{number}")
        pipe.execute()
