"""Page tokens: opaque to clients, bound to their question, and able to expire."""

from __future__ import annotations

import base64
import zlib

import orjson

from tests.gmail_server.clock import TimeSource
from tests.gmail_server.errors import invalid


class PageTokens:
    """Makes and reads page tokens. With a `lifetime` (seconds of the server's clock) they expire by themselves."""

    def __init__(self, clock: TimeSource) -> None:
        self.lifetime: float | None = None
        self._clock = clock
        self._generation = 0

    def expire(self) -> None:
        """Make every token given out so far invalid."""
        self._generation += 1

    def make(self, question: str, position: list[object]) -> str:
        """A token that continues `question` at `position`."""
        fields = [zlib.crc32(question.encode()), self._generation, self._clock.now(), position]
        return base64.urlsafe_b64encode(orjson.dumps(fields)).decode("ascii").rstrip("=")

    def read(self, question: str, token: str) -> list[object]:
        """The position of a token. ApiError 400 when it is garbage, expired or of another question."""
        try:
            fields = orjson.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
            check, generation, made_at, position = fields
        except (ValueError, TypeError) as error:
            raise invalid("Invalid pageToken") from error
        expired = self.lifetime is not None and self._clock.now() - float(made_at) > self.lifetime
        if check != zlib.crc32(question.encode()) or generation != self._generation or expired:
            raise invalid("Invalid pageToken")
        return list(position)
