"""Gmail's refusals as errors of the tree: one table on status, reason and message, since the status alone misleads."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from google.auth.exceptions import GoogleAuthError, RefreshError

from pipeline.adapters.gmail_refusals import DOUBTED, TOKEN, Refusal
from pipeline.core.quota import next_quota_day
from pipeline.runtime.errors import (
    CursorExpired,
    FieldpostError,
    Forbidden,
    Gone,
    NeedsAuthorization,
    PageExpired,
    Permanent,
    Reach,
    Suspended,
    Throttled,
    Transient,
)

SHORT = timedelta(seconds=2)
MINUTE_QUOTA = timedelta(seconds=15)
LONG = timedelta(hours=1)


class TooManyAtOnce(Throttled):
    """Too many calls were in flight for this mailbox: fewer at a time will pass."""


Decide = Callable[[Refusal], FieldpostError]


@dataclass(frozen=True, slots=True)
class Rule:
    """One row: it holds for a status, and where given methods and words; all three are patterns, words case-blind.

    `source` says which row of the error matrix it is (mission-peers 1.5, reliability 3.2), or why it stands here.
    """

    status: str
    decide: Decide
    source: str
    words: str = ""
    method: str = ".*"

    def matches(self, refusal: Refusal) -> bool:
        """Tell whether the row holds for an answer."""
        return (
            re.fullmatch(self.status, refusal.status) is not None
            and re.fullmatch(self.method, refusal.method) is not None
            and re.search(self.words, refusal.words, re.IGNORECASE) is not None
        )


def _wait(default: timedelta, reach: Reach, kind: type[Throttled] = Throttled) -> Decide:
    return lambda refusal: kind(refusal.text(), refusal.retry_after or default, reach)


def _until_tomorrow(refusal: Refusal) -> FieldpostError:
    return Throttled(refusal.text(), refusal.retry_after or next_quota_day(refusal.at) - refusal.at, Reach.PROJECT)


def _as(kind: type[FieldpostError], hint: str = "") -> Decide:
    return lambda refusal: kind(refusal.text(hint))


#: The first row that holds decides.
RULES = (
    Rule(
        DOUBTED, _as(NeedsAuthorization, "connect the right account"), method="getProfile",
        source="3.2 wrong mailbox after re-consent: the profile's address is compared, another's mail never read",
    ),
    Rule(
        DOUBTED, _as(CursorExpired), method=r"history\.list",
        source="3.2 mailbox rebuilt or restored, its history id jumped back: as 404",
    ),
    Rule(
        TOKEN, _as(Transient), words=r"^(internal_failure|server_error|temporarily_unavailable|rate_limit_exceeded)\b",
        source="1.5 5xx, said by the token endpoint in its own words",
    ),
    Rule(
        TOKEN, _as(NeedsAuthorization, "set this machine's clock right, then resume the mailbox"), words="invalid jwt",
        source="3.2 clock skew of a service account, which shows as invalid_grant",
    ),
    Rule(
        TOKEN, _as(Forbidden, "the domain's administrator must allow this app, then resume the mailbox"),
        words=r"^(unauthorized_client|admin_policy_enforced|org_internal|access_denied)\b",
        source="1.5 403 domainPolicy, said by the token endpoint: no consent of the mailbox's user helps",
    ),
    Rule(
        TOKEN, _as(NeedsAuthorization, "connect the mailbox again"),
        source="1.5 401 invalid_grant; 3.2 revoked, password changed, unused for long, session policy",
    ),
    Rule("404", _as(CursorExpired), method=r"history\.list", source="1.5 404 on history.list; 3.2 the id is too old"),
    Rule(
        "400", _as(CursorExpired), words="start_?history_?id", method=r"history\.list",
        source="3.2 startHistoryId 0, garbage or ahead: as 404",
    ),
    Rule(
        "404|410", _as(Gone), method=r"(messages|labels)\.get",
        source="1.5 404 on messages.get, a tombstone; 1.5 and 3.2 partial batch: each get is a request of its own",
    ),
    Rule("400", _as(PageExpired), words="page ?token", source="3.1 a page token expired: the listing starts again"),
    Rule(
        "400", _as(Permanent, "another program of this Cloud project watches it: end that, or set its topic here"),
        words="only one user push notification client", method="watch",
        source="1.5 400 only one push client: its watch is not ours to stop; polling goes on, a person decides",
    ),
    Rule(
        "400", _as(Suspended, "enable Gmail for this user; it is asked again each hour"),
        words="mail service not enabled", source="1.5 and 3.2 400 failedPrecondition, Mail service not enabled",
    ),
    Rule(
        "40[013]", _as(Suspended, "the account is disabled or suspended; it is asked again each hour"),
        words=r"failed_?precondition|(account|user)( is| has been)? ?(suspended|disabled|deleted)",
        source="3.2 similar answers for disabled or suspended users",
    ),
    Rule("400", _as(Permanent), source="1.5 400 badRequest or invalid argument; a batch's part likewise, on its own"),
    Rule(
        "401", _as(NeedsAuthorization, "connect the mailbox again"),
        source="1.5 and 3.2 401: it came again after the token was renewed once",
    ),
    Rule(
        "403|429", _wait(SHORT, Reach.CALLS, TooManyAtOnce), words="too many concurrent",
        source="1.5 429 too many concurrent requests: fewer at a time",
    ),
    Rule(
        "403|429", _wait(LONG, Reach.BYTES), words="bandwidth",
        source="1.5 429 bandwidth: hours without bytes, listing and history go on",
    ),
    Rule(
        "403|429", lambda refusal: Throttled(refusal.text(), MINUTE_QUOTA, Reach.CALLS), words="mail sending",
        source="1.5 429 mail sending: the told hours are for mail that is sent, a call that reads waits a little only",
    ),
    Rule(
        "403|429", _until_tomorrow, words=r"daily ?limit|per ?day(?! ?per ?user)",
        source="1.5 and 3.2 403 dailyLimitExceeded: the project rests until its quota is new",
    ),
    Rule(
        "403|429", _wait(MINUTE_QUOTA, Reach.PROJECT), words=r"per ?minute(?! ?per ?user)",
        source="1.5 quota exceeded, the project's limit of a minute: every mailbox of the project waits",
    ),
    Rule(
        "403|429", _wait(MINUTE_QUOTA, Reach.MAILBOX), words="rate_?limit|quota|resource_?exhausted",
        source="1.5 and 3.2 403 and 429 rateLimitExceeded, userRateLimitExceeded, quota exceeded: the told wait",
    ),
    Rule("429", _wait(MINUTE_QUOTA, Reach.MAILBOX), source="1.5 429 that says nothing: both codes carry rate limits"),
    Rule(
        "403", _as(Forbidden, "the domain's administrator must allow this app, then resume the mailbox"),
        words="domainpolicy", source="1.5 and 3.2 403 domainPolicy: the mailbox is blocked",
    ),
    Rule(
        "403", _as(NeedsAuthorization, "connect the mailbox again with the gmail.readonly scope"), words="insufficient",
        source="1.5 403 insufficientPermissions: the consent lacks a scope, and a new consent of the user gives it",
    ),
    Rule(
        "403", _as(Forbidden, "enable the Gmail API in the Cloud project, then resume the mailbox"),
        words="accessnotconfigured|service_?disabled",
        source="1.5 403, the Cloud project's own setting: its administrator must act, no consent helps",
    ),
    Rule(
        "403", _as(Forbidden, "access to the mailbox is forbidden; when it is allowed, resume the mailbox"),
        source="1.5 403: Gmail forbids mailboxes, never single messages; to bury each message would help nobody",
    ),
    Rule(r"408|409|425|5\d\d", _as(Transient), source="1.5 500, 502, 503, 504 backendError; 3.2 backoff"),
    Rule(r"\d+", _as(Permanent), source="an answer that no row foresees is looked at by a person"),
)  # fmt: skip


def from_auth(error: GoogleAuthError, method: str, now: datetime) -> FieldpostError:
    """Return the error for a token that could not be had: revoked consent needs a person, the rest passes."""
    text = str(error.args[0] if error.args else error)
    answer = error.args[1] if len(error.args) > 1 else None
    is_refusal = isinstance(answer, Mapping) or "necessary fields" in text
    if not isinstance(error, RefreshError) or error.retryable or not is_refusal:
        return Transient(f"no access token for Gmail {method}: {text}")
    return decided(Refusal(method, TOKEN, text, text, now))


def doubted(method: str, message: str, now: datetime) -> FieldpostError:
    """Return the error for an answer of 200 that must not be believed; `message` says why."""
    return decided(Refusal(method, DOUBTED, message, message, now))


def decided(refusal: Refusal) -> FieldpostError:
    """Return what the table says."""
    return row_for(refusal).decide(refusal)


def row_for(refusal: Refusal) -> Rule:
    """Return the row that decides; the last one holds for every HTTP code."""
    return next(rule for rule in RULES if rule.matches(refusal))
