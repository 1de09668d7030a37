"""Push delivery: every held message is posted until the endpoint answers 2xx."""

from __future__ import annotations

import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx

from tests.pubsub_server.subscriptions import Held, PushConfig, Subscription

if TYPE_CHECKING:
    from tests.pubsub_server.server import PubSubServer

_PARALLEL = 8
_MOST_IDLE = 0.5


@dataclass(frozen=True, slots=True)
class Delivery:
    """One push and its answer; the status is None when none came."""

    subscription: str
    message_id: str
    attempt: int
    status: int | None


class Pusher:
    """Pushes for one server, several at a time."""

    def __init__(self, server: PubSubServer) -> None:
        self.deliveries: list[Delivery] = []
        self._server = server
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to push in threads of its own."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._go, name="pubsub-push", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after the pushes under way."""
        self._stop.set()
        with self._server.lock:
            self._server.lock.notify_all()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _go(self) -> None:
        server = self._server
        with ThreadPoolExecutor(_PARALLEL) as pool, httpx.Client(timeout=20, trust_env=False) as client:
            while not self._stop.is_set():
                with server.lock:
                    pushed = [one for one in server.subscriptions.values() if one.push is not None]
                    for one in pushed:
                        for held, _ in one.take(_PARALLEL, math.inf):
                            pool.submit(self._deliver, client, one, held)
                    soonest = min((one.next_due() for one in pushed), default=math.inf)
                    server.lock.wait(min(max(soonest - time.monotonic(), 0.001), _MOST_IDLE))

    def _deliver(self, client: httpx.Client, subscription: Subscription, held: Held) -> None:
        assert subscription.push is not None
        status = self._post(client, subscription.name, subscription.push, held)
        with self._server.lock:
            if status is not None and 200 <= status < 300:
                subscription.held.remove(held)
            else:
                held.due_at = time.monotonic() + subscription.push.pause(held.attempt)
            self.deliveries.append(Delivery(subscription.name, held.message.message_id, held.attempt, status))
            self._server.lock.notify_all()

    def _post(self, client: httpx.Client, name: str, push: PushConfig, held: Held) -> int | None:
        fields = held.message.fields()
        doubled = {"message_id": fields["messageId"], "publish_time": fields["publishTime"]}
        token = self._server.signer.token(push.audience, push.account)
        try:
            answer = client.post(
                push.endpoint,
                json={"message": fields | doubled, "subscription": name},
                headers={"Authorization": f"Bearer {token}", "User-Agent": "APIs-Google"},
            )
        except httpx.TransportError:
            return None
        return answer.status_code
