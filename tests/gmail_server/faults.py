"""Faults on demand: which calls fail, how, how often; decided by a seed and the order of calls."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

from tests.gmail_server.clock import TimeSource
from tests.gmail_server.errors import ApiError, failed_precondition, invalid, not_found, unauthenticated
from tests.gmail_server.quota import refusal


class FaultKind(StrEnum):
    """Everything that can go wrong with a call."""

    RATE_LIMIT_403 = "rate_limit_403"
    USER_RATE_LIMIT_403 = "user_rate_limit_403"
    DAILY_LIMIT_403 = "daily_limit_403"
    RATE_LIMIT_429 = "rate_limit_429"
    CONCURRENT_429 = "concurrent_429"
    BANDWIDTH_429 = "bandwidth_429"
    BAD_REQUEST_400 = "bad_request_400"
    SUSPENDED_400 = "suspended_400"
    UNAUTHENTICATED_401 = "unauthenticated_401"
    FORBIDDEN_403 = "forbidden_403"
    DOMAIN_POLICY_403 = "domain_policy_403"
    NOT_FOUND_404 = "not_found_404"
    ERROR_500 = "error_500"
    ERROR_502 = "error_502"
    ERROR_503 = "error_503"
    ERROR_504 = "error_504"
    ANSWER = "answer"
    INVALID_GRANT = "invalid_grant"
    PAGE_TOKEN_EXPIRED = "page_token_expired"
    HISTORY_EXPIRED = "history_expired"
    EMPTY_HISTORY_PAGE = "empty_history_page"
    DUPLICATED_HISTORY = "duplicated_history"
    SHUFFLED_HISTORY = "shuffled_history"
    WRONG_BASE64 = "wrong_base64"
    TRUNCATED_JSON = "truncated_json"
    RESET = "reset"
    LOST_REPLY = "lost_reply"
    CUT_BODY = "cut_body"
    SLOW = "slow"
    SLOW_BODY = "slow_body"


_ON_CONNECTION = frozenset(
    {FaultKind.RESET, FaultKind.LOST_REPLY, FaultKind.CUT_BODY, FaultKind.SLOW, FaultKind.SLOW_BODY}
)
_ONLY_METHOD = {
    FaultKind.INVALID_GRANT: "token",
    FaultKind.HISTORY_EXPIRED: "history.list",
    FaultKind.EMPTY_HISTORY_PAGE: "history.list",
    FaultKind.DUPLICATED_HISTORY: "history.list",
    FaultKind.SHUFFLED_HISTORY: "history.list",
    FaultKind.WRONG_BASE64: "messages.get",
}
_THROTTLES = {
    FaultKind.RATE_LIMIT_403: (403, "rateLimitExceeded", "Rate Limit Exceeded"),
    FaultKind.USER_RATE_LIMIT_403: (403, "userRateLimitExceeded", "User Rate Limit Exceeded"),
    FaultKind.DAILY_LIMIT_403: (403, "dailyLimitExceeded", "Daily Limit Exceeded"),
    FaultKind.RATE_LIMIT_429: (429, "rateLimitExceeded", "User-rate limit exceeded."),
    FaultKind.CONCURRENT_429: (429, "rateLimitExceeded", "Too many concurrent requests for user."),
    FaultKind.BANDWIDTH_429: (429, "rateLimitExceeded", "User-rate limit exceeded (bandwidth)."),
    FaultKind.ERROR_500: (500, "backendError", "Backend Error"),
    FaultKind.ERROR_502: (502, "backendError", "Bad Gateway"),
    FaultKind.ERROR_503: (503, "backendError", "The service is currently unavailable."),
    FaultKind.ERROR_504: (504, "backendError", "Deadline expired before operation could complete."),
}
_REFUSALS: dict[FaultKind, Callable[[], ApiError]] = {
    FaultKind.BAD_REQUEST_400: lambda: invalid("Invalid argument"),
    FaultKind.SUSPENDED_400: failed_precondition,
    FaultKind.UNAUTHENTICATED_401: unauthenticated,
    FaultKind.FORBIDDEN_403: lambda: ApiError(403, "insufficientPermissions", "Insufficient Permission"),
    FaultKind.DOMAIN_POLICY_403: lambda: ApiError(
        403, "domainPolicy", "The domain administrators have disabled Gmail apps."
    ),
    FaultKind.NOT_FOUND_404: not_found,
    FaultKind.HISTORY_EXPIRED: not_found,
    FaultKind.PAGE_TOKEN_EXPIRED: lambda: invalid("Invalid pageToken"),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: what, on which calls, how often.

    `method` may hold wildcards (`messages.*`); `token` is the OAuth endpoint, `batch` the batch as a whole.
    `share` of the matching calls fail, at most `times` of them (None: no end). `retry_after` and
    `retry_time_in_message` are seconds announced by a throttle. `delay` is for slow, `bytes_per_second` for slow_body;
    `code`, `reason` and `message` are what the kind `answer` refuses with.
    """

    kind: FaultKind
    method: str | None = None
    mailbox: str | None = None
    message_id: str | None = None
    share: float = 1.0
    times: int | None = None
    retry_after: float | None = None
    retry_time_in_message: float | None = None
    delay: float = 1.0
    bytes_per_second: int = 64
    code: int = 400
    reason: str = ""
    message: str = ""

    def matches(self, target: Target) -> bool:
        """Whether a call is one of those meant."""
        only = _ONLY_METHOD.get(self.kind)
        return (
            (only is None or only == target.method)
            and (self.method is None or fnmatchcase(target.method, self.method))
            and (self.mailbox is None or self.mailbox == target.mailbox)
            and (self.message_id is None or self.message_id == target.message_id)
            and (self.kind is not FaultKind.PAGE_TOKEN_EXPIRED or target.has_page_token)
            and not (target.in_batch and self.kind in _ON_CONNECTION)
        )

    @property
    def refuses(self) -> bool:
        """Whether the call has no effect when this fault strikes."""
        others = {FaultKind.ANSWER, FaultKind.RESET, FaultKind.INVALID_GRANT}
        return self.kind in _THROTTLES or self.kind in _REFUSALS or self.kind in others

    def error(self, clock: TimeSource) -> ApiError | None:
        """The refusal this fault answers with; None for one that changes the answer or the connection."""
        if self.kind in _THROTTLES:
            code, reason, message = _THROTTLES[self.kind]
            return refusal(clock, code, reason, message, header=self.retry_after, in_message=self.retry_time_in_message)
        if self.kind is FaultKind.ANSWER:
            return refusal(clock, self.code, self.reason, self.message, header=self.retry_after, in_message=None)
        make = _REFUSALS.get(self.kind)
        return make() if make else None


@dataclass(frozen=True, slots=True)
class Target:
    """What is known of a call when faults are picked."""

    method: str
    mailbox: str
    message_id: str | None = None
    has_page_token: bool = False
    in_batch: bool = False


class _Rule:
    def __init__(self, fault: Fault, seed: str) -> None:
        self.fault = fault
        self.hits = 0
        self.draws = random.Random(seed)

    def strikes(self, target: Target) -> bool:
        fault = self.fault
        if (fault.times is not None and self.hits >= fault.times) or not fault.matches(target):
            return False
        if fault.share < 1.0 and self.draws.random() >= fault.share:
            return False
        self.hits += 1
        return True


class Faults:
    """The faults in force. The nth matching call of a fault always meets the same fate for the same seed."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self._rules: dict[int, _Rule] = {}
        self._last = 0
        self._lock = threading.Lock()

    def add(
        self,
        kind: FaultKind | str,
        *,
        method: str | None = None,
        mailbox: str | None = None,
        message_id: str | None = None,
        share: float = 1.0,
        times: int | None = None,
        retry_after: float | None = None,
        retry_time_in_message: float | None = None,
        delay: float = 1.0,
        bytes_per_second: int = 64,
        code: int = 400,
        reason: str = "",
        message: str = "",
    ) -> int:
        """Put a fault in force (fields as in `Fault`); answers its number. ValueError for an unknown kind."""
        fault = Fault(
            FaultKind(kind), method, mailbox.lower() if mailbox else None, message_id, share, times,
            retry_after, retry_time_in_message, delay, bytes_per_second, code, reason, message,
        )  # fmt: skip
        with self._lock:
            self._last += 1
            self._rules = self._rules | {self._last: _Rule(fault, f"{self.seed}:{self._last}")}
            return self._last

    def remove(self, number: int) -> None:
        """Lift one fault; nothing happens when it is gone already."""
        with self._lock:
            self._rules = {key: rule for key, rule in self._rules.items() if key != number}

    def clear(self) -> None:
        """Lift all faults."""
        with self._lock:
            self._rules = {}

    def hits(self, number: int) -> int:
        """How many calls a fault in force has struck. KeyError when it is not in force."""
        return self._rules[number].hits

    def listed(self) -> list[dict[str, object]]:
        """Each fault in force as a dict of its fields with `number` and `hits`."""
        return [asdict(rule.fault) | {"number": key, "hits": rule.hits} for key, rule in self._rules.items()]

    def pick(self, target: Target) -> list[Fault]:
        """The faults that strike this call: at most one that refuses it, in the order they were added."""
        if not self._rules:
            return []
        struck: list[Fault] = []
        with self._lock:
            for rule in self._rules.values():
                # A call can be refused once: further refusals are saved for the next call.
                refused = any(fault.refuses for fault in struck)
                if not (refused and rule.fault.refuses) and rule.strikes(target):
                    struck.append(rule.fault)
        return struck
