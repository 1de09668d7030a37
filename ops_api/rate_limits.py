"""How often one may ask: per address, person and organization, by class of route, counted for all processes in Valkey.

While Valkey is away readings go on unlimited, and everything else is limited by each process for itself
(reliability, section 5).
"""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from fastapi import Request
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from ops_api.access import Access
from ops_api.answers import Refusal
from ops_api.limits import WINDOW, Limits, RateLimit, client_of
from pipeline.core.principals import Principal
from pipeline.ports import Clock
from pipeline.runtime.errors import UserError
from pipeline.runtime.logs import get_logger

#: One window per key: the times of the newest requests that were let through, oldest first, so the count is exact
#: for the last minute and a key never holds more than its limit. All are looked at before any is written.
_SCRIPT = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local window = tonumber(ARGV[1])
local left, tightest, wait = nil, 1, 0
for i, key in ipairs(KEYS) do
  local oldest = redis.call('LINDEX', key, 0)
  while oldest and now - tonumber(oldest) >= window do
    redis.call('LPOP', key)
    oldest = redis.call('LINDEX', key, 0)
  end
  local rest = tonumber(ARGV[i + 1]) - redis.call('LLEN', key)
  if rest <= 0 then
    wait = math.max(wait, tonumber(oldest) + window - now)
  end
  if left == nil or rest < left then left, tightest = rest, i end
end
if wait > 0 then return {wait, 0, tightest} end
for _, key in ipairs(KEYS) do
  redis.call('RPUSH', key, string.format('%.0f', now))
  redis.call('PEXPIRE', key, math.ceil(window / 1000))
end
return {0, left - 1, tightest}
"""
_PREFIX = "fieldpost:rate:"
_WINDOW_MICROSECONDS = int(WINDOW.total_seconds() * 1_000_000)
#: A count that did not come in time is not asked for again at once.
_REST_SECONDS = 1.0
#: Connections of one process; whoever finds none free waits for one.
_CONNECTIONS = 8


class Rate(StrEnum):
    """The class of a route: what it costs us, and what guessing at it could gain."""

    AUTH = "auth"  #: ways in and out; each address counts for itself
    READ = "read"
    WRITE = "write"
    SEARCH = "search"
    DOWNLOAD = "download"
    STRAY = "stray"  #: addresses where nothing is


#: How much more than one person an organization or an address may ask: an office has one address.
_SHARES: Mapping[str, int] = MappingProxyType({"user": 1, "address": 10, "org": 20})
#: Nothing can be won by asking these often; the first three are asked by machines that must be answered.
_UNCOUNTED = frozenset({"/healthz", "/readyz", "/metrics", "/push/gmail"})


@dataclass(frozen=True, slots=True)
class Count:
    """One thing that is counted, and its limit."""

    rate: Rate
    #: What is counted: an address, a user, an organization, or anything else with a name.
    kind: str
    name: str
    most: int

    @property
    def key(self) -> str:
        """Its name in Valkey."""
        return f"{_PREFIX}{self.rate}:{self.kind}:{self.name}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a request may do, by the tightest of its limits."""

    count: Count
    left: int
    #: Seconds after which to try again; None when it may go on.
    wait: int | None = None

    @property
    def headers(self) -> dict[str, str]:
        """The standing for the client (draft-ietf-httpapi-ratelimit-headers)."""
        window = int(WINDOW.total_seconds())
        name = f"{self.count.rate}-{self.count.kind}"
        return {
            "RateLimit-Policy": f'"{name}";q={self.count.most};w={window}',
            "RateLimit": f'"{name}";r={self.left};t={self.wait or window}',
        }


def rate_of(access: Access) -> Rate | None:
    """Return the class of a route; None when it is not counted."""
    if access.is_limited:
        return Rate.AUTH
    if access.path in _UNCOUNTED:
        return None
    if access.is_change:
        return Rate.WRITE
    if access.path.rpartition("/")[2] in {"download", "raw", "content"}:
        return Rate.DOWNLOAD
    return Rate.SEARCH if access.path == "/search" else Rate.READ


class Limiter:
    """Counts requests for one API process. Used on an event loop only; a new loop gets a connection of its own."""

    def __init__(self, url: str | None, limits: Limits, clock: Clock) -> None:
        """Prepare; nothing connects yet. Raises `UserError` for an address that is none."""
        self._url, self._clock, self._patience = url, clock, limits.count.total_seconds()
        #: Requests a minute of one person, by class.
        self.most: Mapping[Rate, int] = {rate: getattr(limits, f"{rate}_per_minute") for rate in Rate}
        self._local = RateLimit(limits.auth_per_minute, clock)
        self._client: Redis | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._script = ""
        self._rests_until = -math.inf
        if url is not None:
            self._client = self._made(url)

    async def take(self, *counts: Count) -> Verdict | None:
        """Count one request against all of these limits, or against none when one is used up; None: nobody counts."""
        if self._url is not None and self._clock.monotonic() >= self._rests_until:
            try:
                return await self._ask(counts)
            except (RedisError, OSError, TimeoutError) as error:
                self._rests_until = self._clock.monotonic() + _REST_SECONDS
                get_logger().warning("rate.uncounted", error=type(error).__name__)
        return self._alone(counts)

    def counts(
        self, rate: Rate, *, path: str = "", address: str | None = None, who: Principal | None = None
    ) -> list[Count]:
        """Return what is counted for a request: its address before anything is looked up, then who it is."""
        most = self.most[rate]
        if who is not None:
            named = [("user", f"{who.org_id}:{who.actor_id}"), ("org", str(who.org_id))]
        elif rate is Rate.AUTH:
            return [Count(rate, "address", f"{client_of(address)}:{path}", most)]
        else:
            named = [("address", client_of(address))]
        return [Count(rate, kind, name, most * _SHARES[kind]) for kind, name in named]

    async def stray(self, request: Request) -> int | None:
        """Count a request for an address where nothing is; return the seconds to wait, None when it may be told so."""
        address = request.client.host if request.client else None
        verdict = await self.take(*self.counts(Rate.STRAY, address=address))
        return verdict.wait if verdict else None

    async def close(self) -> None:
        """Let go of the connections."""
        if self._client is not None and self._loop is asyncio.get_running_loop():
            await self._client.aclose()

    async def _ask(self, counts: Sequence[Count]) -> Verdict:
        client = self._connected()
        keys, values = [count.key for count in counts], [_WINDOW_MICROSECONDS, *(count.most for count in counts)]
        async with asyncio.timeout(self._patience):
            try:
                said = await client.evalsha(self._script, len(keys), *keys, *values)
            except NoScriptError:
                self._script = await client.script_load(_SCRIPT)
                said = await client.evalsha(self._script, len(keys), *keys, *values)
        wait, left, tightest = (int(number) for number in said)
        return Verdict(counts[tightest - 1], left, math.ceil(wait / 1_000_000) if wait else None)

    def _connected(self) -> Redis:
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop not in {None, loop}:
            self._client = self._made(self._url or "")
        self._loop = loop
        return self._client

    def _made(self, url: str) -> Redis:
        try:
            pool = BlockingConnectionPool.from_url(
                url,
                max_connections=_CONNECTIONS,
                timeout=self._patience,
                socket_timeout=self._patience,
                socket_connect_timeout=self._patience,
                retry=Retry(NoBackoff(), 0),
            )
        except ValueError as error:
            raise UserError(f"FIELDPOST_REDIS_URL is not usable: {error}") from None
        return Redis.from_pool(pool)

    def _alone(self, counts: Sequence[Count]) -> Verdict | None:
        if all(count.rate in {Rate.READ, Rate.SEARCH, Rate.DOWNLOAD} for count in counts):
            return None
        for count in counts:
            wait = self._local.take_for(count.name, f"{count.rate}:{count.kind}", count.most)
            if wait is not None:
                return Verdict(count, 0, wait)
        return None


async def count_address(request: Request, limiter: Limiter, access: Access) -> None:
    """Count a request by its address, before anything is looked up for it. Raises `Refusal` (429)."""
    rate = rate_of(access)
    if rate is not None:
        # The peer's address: a header would let anybody be anybody (see FIELDPOST_TRUSTED_PROXIES).
        address = request.client.host if request.client else None
        await _count(request, limiter, limiter.counts(rate, path=access.path, address=address))


async def count_principal(request: Request, limiter: Limiter, access: Access, who: Principal | None) -> None:
    """Count a request by who asks and for which organization. Raises `Refusal` (429)."""
    rate = rate_of(access)
    if rate is not None and who is not None and rate is not Rate.AUTH:
        await _count(request, limiter, limiter.counts(rate, who=who))


async def count_name(limiter: Limiter, kind: str, name: str, *, times: int = 1) -> None:
    """Count a try to get in by what it names, like an identifier: it may be guessed at from many addresses.

    `times` as many are let through as of other ways in. Only a digest of the name leaves this process.
    Raises `Refusal` (429).
    """
    digest = hashlib.sha256(name.encode(errors="replace")).hexdigest()[:32]
    refuse(await limiter.take(Count(Rate.AUTH, kind, digest, limiter.most[Rate.AUTH] * times)))


async def _count(request: Request, limiter: Limiter, counts: Sequence[Count]) -> None:
    verdict = await limiter.take(*counts)
    if verdict is not None:
        before: Verdict | None = getattr(request.state, "rate", None)
        if verdict.wait is not None or before is None or verdict.left < before.left:
            request.state.rate = verdict
    refuse(verdict)


def refuse(verdict: Verdict | None) -> None:
    """Raise `Refusal` (429) when the verdict says so."""
    if verdict is not None and verdict.wait is not None:
        raise Refusal(
            429, f"too many requests; try again in {verdict.wait} s", headers={"Retry-After": str(verdict.wait)}
        )
