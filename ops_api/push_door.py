"""The door that announcements come through: who may knock, what is counted, and the bell behind it."""

from __future__ import annotations

import anyio
import anyio.to_thread
from prometheus_client import CollectorRegistry, Counter

from actors.broker import Bells, make_broker
from ops_api.answers import Refusal
from pipeline.adapters.push_tokens import PushRefused, PushTokens, Reason
from pipeline.runtime.errors import UserError
from pipeline.runtime.ledger import Line
from pipeline.runtime.logs import get_logger
from pipeline.runtime.metrics import Metrics
from pipeline.runtime.settings import Settings

_REFUSED = "this address takes announcements of one Pub/Sub subscription, and the bearer token is not its own"
_AWAY = "the keys that tokens are signed with cannot be had; nothing was changed, try again"


class PushDoor:
    """One API process's door; the settings `push_*` say what a good token says."""

    def __init__(self, settings: Settings, registry: CollectorRegistry) -> None:
        """Prepare; nothing connects yet. Raises `UserError` when only half of the settings is there."""
        audience, account = settings.push_audience, settings.push_service_account
        if bool(audience) != bool(account):
            raise UserError("set FIELDPOST_PUSH_AUDIENCE and FIELDPOST_PUSH_SERVICE_ACCOUNT together, or neither")
        self._tokens = PushTokens(settings.push_keys_url, audience, account) if audience and account else None
        # Asking for keys may hang for a while: never more threads than these.
        self._limiter = anyio.CapacityLimiter(4)
        self._broker = make_broker(settings.redis_url) if self._tokens and settings.redis_url else None
        self._bells = Bells(self._broker, Metrics()) if self._broker else None
        self.pushes = Counter(
            "fieldpost_pushes",
            "Push requests, by outcome (mailbox, unknown, nothing, refused).",
            ["outcome"],
            registry=registry,
        )

    async def check(self, authorization: str) -> None:
        """Return when the header proves our own subscription; `Refusal` 401, 403 or, without keys, 503."""
        scheme, _, token = authorization.partition(" ")
        given = token.strip() if scheme.lower() == "bearer" else ""
        try:
            await anyio.to_thread.run_sync(self._verify, given, limiter=self._limiter)
        except PushRefused as error:
            get_logger().warning("push.refused", reason=error.reason.value)
            self.pushes.labels("refused").inc()
            raise _refusal(error) from None

    def _verify(self, token: str) -> None:
        if self._tokens is None:
            raise PushRefused(Reason.MISSING)
        self._tokens.verify(token)

    def told(self, outcome: str, lines: frozenset[Line] = frozenset()) -> None:
        """Count a request whose effects are committed, and ring for them; without a broker they wait half a second."""
        self.pushes.labels(outcome).inc()
        if self._bells is not None and lines:
            self._bells.ring(set(lines))

    def close(self) -> None:
        """Let go of the broker."""
        if self._broker is not None:
            self._broker.close()


def _refusal(error: PushRefused) -> Refusal:
    if error.passes:
        return Refusal(503, _AWAY, headers={"Retry-After": "5"})
    if error.is_proven:
        return Refusal(403, _REFUSED)
    return Refusal(401, _REFUSED, headers={"WWW-Authenticate": "Bearer"})
