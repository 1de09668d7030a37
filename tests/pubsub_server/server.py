"""`PubSubServer`: the server as a test in the same process uses it."""

from __future__ import annotations

import base64
import threading
import time
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

import orjson

from tests.gmail_server.connection import Listener
from tests.gmail_server.http11 import Answer, Ending, Request
from tests.pubsub_server.pushing import Delivery, Pusher
from tests.pubsub_server.signing import ACCOUNT, Signer
from tests.pubsub_server.subscriptions import Message, PushConfig, Subscription

_MAX_BODY = 16 * 1024 * 1024


class PubSubServer:
    """A Pub/Sub on 127.0.0.1, in threads of this process; `with PubSubServer() as server:` starts and stops it."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.signer = Signer()
        #: Published events vanish.
        self.drop_all = False
        #: Further copies of each message.
        self.duplicates = 0
        #: Status to answer by verb (`pull`, `acknowledge`); 0 resets the connection.
        self.refuse: dict[str, int] = {}
        #: How long a pull that finds nothing lasts, seconds.
        self.pull_wait = 0.05
        self.certs_status = 200
        self.certs_asked = 0
        self.published = 0
        self.acknowledged = 0
        self.lock = threading.Condition()
        self.subscriptions: dict[str, Subscription] = {}
        self._listener = Listener(self._answer, host, port, _MAX_BODY)
        self._pusher = Pusher(self)
        self.url = ""

    @property
    def certs_url(self) -> str:
        """Where the keys of push tokens are."""
        return f"{self.url}/certs"

    @property
    def deliveries(self) -> list[Delivery]:
        """Every push so far, in order of their answers."""
        return list(self._pusher.deliveries)

    def start(self) -> Self:
        """Listen and begin to push."""
        self.url = f"http://{self._listener.host}:{self._listener.start()}"
        self._pusher.start()
        return self

    def stop(self) -> None:
        """Stop pushing, drop every connection."""
        self._pusher.stop()
        self._listener.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def push_to(
        self,
        name: str,
        topic: str,
        endpoint: str,
        *,
        audience: str | None = None,
        account: str = ACCOUNT,
        min_backoff: timedelta = timedelta(milliseconds=50),
        max_backoff: timedelta = timedelta(seconds=1),
    ) -> Subscription:
        """A push subscription; the audience of its tokens is the endpoint unless given."""
        pauses = min_backoff.total_seconds(), max_backoff.total_seconds()
        return self._subscribe(
            Subscription(name, topic, 0, PushConfig(endpoint, audience or endpoint, account, *pauses))
        )

    def pull_from(self, name: str, topic: str, *, ack_deadline: timedelta = timedelta(seconds=10)) -> Subscription:
        """A pull subscription."""
        return self._subscribe(Subscription(name, topic, ack_deadline.total_seconds()))

    def publish(self, topic: str, data: bytes) -> str:
        """Hand a message to every subscription of a topic; answers its id."""
        with self.lock:
            self.published += 1
            message = Message(str(9_000_000_000 + self.published), data, datetime.fromtimestamp(time.time(), UTC))
            for subscription in self.subscriptions.values():
                if subscription.topic == topic and not self.drop_all:
                    subscription.add(message, 1 + self.duplicates)
            self.lock.notify_all()
        return message.message_id

    def announce(self, topic: str, address: str, history_id: int = 1) -> str:
        """Publish what Gmail publishes about a mailbox."""
        return self.publish(topic, orjson.dumps({"emailAddress": address, "historyId": history_id}))

    def waiting(self, name: str) -> int:
        """How many messages of a subscription are not acknowledged."""
        with self.lock:
            return len(self.subscriptions[name].held)

    def _subscribe(self, subscription: Subscription) -> Subscription:
        with self.lock:
            self.subscriptions[subscription.name] = subscription
        return subscription

    def _answer(self, request: Request) -> Answer:
        if request.method == "GET" and request.path == "/certs":
            self.certs_asked += 1
            body = self.signer.jwks() if self.certs_status == 200 else b"{}"
            return Answer(self.certs_status, body, headers=(("Cache-Control", "public, max-age=21600"),))
        name, _, verb = request.path.removeprefix("/v1/").rpartition(":")
        if request.method != "POST" or not request.path.startswith("/v1/"):
            return _error(404, "Not Found")
        if verb in self.refuse:
            status = self.refuse[verb]
            return _error(status, "refused on purpose") if status else Answer(500, ending=Ending.RESET)
        body = orjson.loads(request.body or b"{}")
        return self._published(name, body) if verb == "publish" else self._pulled(name, verb, body)

    def _published(self, topic: str, body: dict[str, Any]) -> Answer:
        ids = [self.publish(topic, base64.b64decode(message.get("data", ""))) for message in body["messages"]]
        return Answer(200, orjson.dumps({"messageIds": ids}))

    def _pulled(self, name: str, verb: str, body: dict[str, Any]) -> Answer:
        with self.lock:
            subscription = self.subscriptions.get(name)
            if subscription is None or subscription.push is not None:
                return _error(404, f"Resource not found (resource={name}).")
            if verb == "pull":
                return self._pull(subscription, int(body["maxMessages"]))
            ack_ids = set(body["ackIds"])
            if verb == "acknowledge":
                self.acknowledged += len(ack_ids)
                subscription.acknowledge(ack_ids)
            elif verb == "modifyAckDeadline":
                subscription.postpone(ack_ids, float(body["ackDeadlineSeconds"]))
            else:
                return _error(404, "Not Found")
        return Answer(200, b"{}")

    def _pull(self, subscription: Subscription, limit: int) -> Answer:
        taken = subscription.take(limit, subscription.ack_deadline)
        if not taken:
            return Answer(200, b"{}", delay=self.pull_wait)
        messages = [
            {"ackId": ack_id, "message": held.message.fields(), "deliveryAttempt": held.attempt}
            for held, ack_id in taken
        ]
        return Answer(200, orjson.dumps({"receivedMessages": messages}))


def _error(status: int, message: str) -> Answer:
    return Answer(status, orjson.dumps({"error": {"code": status, "message": message, "status": "UNKNOWN"}}))
