"""Gmail's refusals as errors of the tree: one table on status, reason and message, since the status alone misleads."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from google.auth.exceptions import GoogleAuthError, RefreshError
from googleapiclient.errors import HttpError

from pipeline.runtime.errors import (
    CursorExpired,
    FieldpostError,
    Gone,
    NeedsAuthorization,
    PageExpired,
    Permanent,
    Throttled,
    Transient,
)

SHORT = timedelta(seconds=2)
MINUTE_QUOTA = timedelta(seconds=15)
LONG = timedelta(hours=1)
LONGEST = timedelta(hours=24)

_RETRY_TIME = re.compile(r"retry after (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?\d*Z)", re.IGNORECASE)
_PASSING_GRANT_ERRORS = frozenset(
    {"internal_failure", "server_error", "temporarily_unavailable", "rate_limit_exceeded"}
)


class TooManyAtOnce(Throttled):
    """Too many calls were in flight for this mailbox: fewer at a time will pass."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What Gmail answered: `words` are all its reasons and its message, `retry_after` what its header asked for."""

    method: str
    status: int
    words: str
    message: str
    retry_after: timedelta | None = None

    def text(self, hint: str = "") -> str:
        """Return one line for logs and people."""
        said = self.message or self.words.strip() or "no text"
        return f"Gmail {self.method} answered {self.status}: {said}{hint and f' ({hint})'}"


Decide = Callable[[Refusal], FieldpostError]


@dataclass(frozen=True, slots=True)
class Rule:
    """One row: it holds for a status, and where given a method, and words that are a case-blind pattern."""

    status: str
    decide: Decide
    words: str = ""
    method: str = ""

    def matches(self, refusal: Refusal) -> bool:
        """Tell whether the row holds for an answer."""
        return (
            re.fullmatch(self.status, str(refusal.status)) is not None
            and self.method in {"", refusal.method}
            and re.search(self.words, refusal.words, re.IGNORECASE) is not None
        )


def _wait(default: timedelta, kind: type[Throttled] = Throttled) -> Decide:
    return lambda refusal: kind(refusal.text(), refusal.retry_after or default)


def _person(hint: str) -> Decide:
    return lambda refusal: NeedsAuthorization(refusal.text(hint))


def _as(kind: type[FieldpostError]) -> Decide:
    return lambda refusal: kind(refusal.text())


RULES = (
    Rule("404", _as(CursorExpired), method="history.list"),
    Rule("400", _as(CursorExpired), words="starthistoryid", method="history.list"),
    Rule("404|410", _as(Gone), method="messages.get"),
    Rule("400", _as(PageExpired), words="page ?token"),
    Rule("400", _person("enable Gmail for this user, then resume the mailbox"), words="mail service not enabled"),
    Rule("400", _person("no working mailbox stands behind these credentials"), words="failed_?precondition"),
    Rule("401", _person("connect the mailbox again")),
    Rule("403|429", _wait(SHORT, TooManyAtOnce), words="too many concurrent"),
    Rule("403|429", _wait(LONG), words=r"daily ?limit|per ?day|bandwidth|mail sending"),
    Rule("403|429", _wait(MINUTE_QUOTA), words="rate_?limit|quota|resource_?exhausted"),
    Rule("429", _wait(MINUTE_QUOTA)),
    Rule("403", _person("the domain's administrator must allow this app"), words="domainpolicy"),
    Rule("403", _person("connect the mailbox again with the gmail.readonly scope"), words="insufficient"),
    Rule("403", _person("enable the Gmail API in the Cloud project"), words="accessnotconfigured|service_disabled"),
    # Gmail forbids mailboxes, never single messages: burying each message would help nobody.
    Rule("403", _person("access to the mailbox is forbidden")),
    Rule(r"408|409|425|5\d\d", _as(Transient)),
    Rule(r"\d+", _as(Permanent)),
)


def from_answer(error: HttpError, method: str, now: datetime) -> FieldpostError:
    """Return the error for an HTTP answer to `method` (such as `messages.get`); `now` makes waits of told times."""
    status = int(error.resp.status)
    reasons, message = _reasons_and_message(error.content)
    message = message or str(error.reason or "")
    retry_after = _retry_after(error.resp, message, now)
    refusal = Refusal(method, status, " ".join([*reasons, message]), message[:500], retry_after)
    return next(rule for rule in RULES if rule.matches(refusal)).decide(refusal)


def from_auth(error: GoogleAuthError, method: str) -> FieldpostError:
    """Return the error for a token that could not be had: revoked consent needs a person, the rest passes."""
    text = f"no access token for Gmail {method}: {error.args[0] if error.args else error}"
    if not isinstance(error, RefreshError) or error.retryable:
        return Transient(text)
    answer = error.args[1] if len(error.args) > 1 else None
    if isinstance(answer, Mapping):
        passes = answer.get("error") in _PASSING_GRANT_ERRORS
        return Transient(text) if passes else NeedsAuthorization(f"{text} (connect the mailbox again)")
    if "necessary fields" in text:
        return NeedsAuthorization(f"{text} (connect the mailbox again)")
    return Transient(text)


def _reasons_and_message(content: bytes) -> tuple[list[str], str]:
    """Read both shapes Google uses: `errors[].reason` of old, `status` and `details[].reason` of new."""
    try:
        error = json.loads(content)["error"]
        entries = [*error.get("errors", ()), *error.get("details", ())]
        reasons = [str(entry.get("reason", "")) for entry in entries]
        return [*reasons, str(error.get("status", ""))], str(error.get("message", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        return [], ""


def _retry_after(headers: Mapping[str, str], message: str, now: datetime) -> timedelta | None:
    """Return the wait the header or the text asks for, between a second and a day."""
    told = _from_header(str(headers.get("retry-after", "")), now)
    if told is None:
        told = _from_text(message, now)
    return None if told is None else min(max(told, timedelta(seconds=1)), LONGEST)


def _from_header(value: str, now: datetime) -> timedelta | None:
    if value.isdecimal():
        return timedelta(seconds=min(int(value), int(LONGEST.total_seconds())))
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    return at.replace(tzinfo=at.tzinfo or UTC) - now


def _from_text(message: str, now: datetime) -> timedelta | None:
    found = _RETRY_TIME.search(message)
    if found is None:
        return None
    try:
        return datetime.fromisoformat(found[1]) - now
    except ValueError:
        return None
