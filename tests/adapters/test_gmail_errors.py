"""What each refusal of Gmail means for the runner: one case per row of the table, and how waits are read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httplib2
import pytest
from google.auth.exceptions import GoogleAuthError, RefreshError, TransportError
from googleapiclient.errors import HttpError

from pipeline.adapters import gmail_errors
from pipeline.adapters.gmail_errors import (
    LONG,
    MINUTE_QUOTA,
    RULES,
    SHORT,
    Rule,
    TooManyAtOnce,
    decided,
    from_auth,
)
from pipeline.adapters.gmail_refusals import LONGEST, Refusal, read
from pipeline.ports import Missed
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
from tests.adapters.desk import Desk
from tests.gmail_server import FaultKind

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def refused(
    status: int, reason: str = "", message: str = "", *, method: str = "messages.get", retry_after: str | None = None
) -> FieldpostError:
    """Return the error for an answer in the older of Google's two shapes."""
    body = {"error": {"code": status, "message": message, "errors": [{"reason": reason, "message": message}]}}
    headers = {"status": str(status)} | ({} if retry_after is None else {"retry-after": retry_after})
    return decided(read(HttpError(httplib2.Response(headers), json.dumps(body).encode()), method, NOW))


Meet = Callable[[Desk], object]


def get(desk: Desk) -> object:
    (outcome,) = desk.source.fetch(desk.items()[:1])
    assert isinstance(outcome, Missed)
    raise outcome.error


READS: dict[str, Meet] = {
    "messages.get": get,
    "messages.list": lambda desk: desk.source.list_page(desk.source.list_page(None, limit=1).next_cursor, limit=1),
    "history.list": lambda desk: desk.source.changes(str(desk.mailbox.history_id), None),
}


def answer(code: int, reason: str, message: str, method: str = "messages.get") -> Meet:
    """Let the server answer so, and read."""

    def meet(desk: Desk) -> object:
        desk.server.faults.add(FaultKind.ANSWER, method=method, code=code, reason=reason, message=message)
        return READS[method](desk)

    return meet


def fault(kind: FaultKind, method: str = "messages.get") -> Meet:
    def meet(desk: Desk) -> object:
        desk.server.faults.add(kind, method=method)
        return READS[method](desk)

    return meet


def grant(error: str, description: str) -> Meet:
    """Let the token endpoint refuse so when the token has to be renewed."""

    def meet(desk: Desk) -> object:
        desk.items()
        desk.server.tokens.expire()
        desk.server.faults.add(FaultKind.ANSWER, method="token", reason=error, message=description)
        return get(desk)

    return meet


def without_json(status: int) -> Meet:
    def meet(desk: Desk) -> object:
        raise decided(read(HttpError(httplib2.Response({"status": str(status)}), b"<html>"), "messages.get", NOW))

    return meet


def another_account(desk: Desk) -> object:
    return desk.open("someone.else@example.org").profile()


def history_back(desk: Desk) -> object:
    desk.mailbox.history.knows = lambda *_: True  # type: ignore[method-assign]
    return desk.source.changes(str(desk.mailbox.history_id + 1), None)


def vanished(desk: Desk) -> object:
    items = desk.items()
    desk.mailbox.delete(items[0].provider_id)
    (outcome,) = desk.source.fetch(items[:1])
    assert isinstance(outcome, Missed)
    raise outcome.error


def second_topic(desk: Desk) -> object:
    desk.source.watch("projects/acme/topics/one")
    return desk.source.watch("projects/acme/topics/another")


def revoked(desk: Desk) -> object:
    desk.items()
    desk.server.tokens.revoke(desk.mailbox.address)
    return get(desk)


def project_minute(desk: Desk) -> object:
    desk.items()
    desk.server.quota.enforce = True
    desk.server.quota.units_per_project_minute = 10
    return get(desk)


@dataclass(frozen=True, slots=True)
class Case:
    """How to meet a row, and what must come of it."""

    meet: Meet
    kind: type[FieldpostError]
    reach: Reach | None = None
    wait: timedelta | None = None


#: In the order of the table.
CASES = [
    Case(another_account, NeedsAuthorization),
    Case(history_back, CursorExpired),
    Case(grant("rate_limit_exceeded", "later"), Transient),
    Case(grant("invalid_grant", "Invalid JWT: Token must be a short-lived token (60 minutes)"), NeedsAuthorization),
    Case(grant("unauthorized_client", "Client is unauthorized to retrieve access tokens"), Forbidden),
    Case(revoked, NeedsAuthorization),
    Case(fault(FaultKind.HISTORY_EXPIRED, "history.list"), CursorExpired),
    Case(answer(400, "invalidArgument", "Invalid startHistoryId", "history.list"), CursorExpired),
    Case(vanished, Gone),
    Case(fault(FaultKind.PAGE_TOKEN_EXPIRED, "messages.list"), PageExpired),
    Case(second_topic, Permanent),
    Case(fault(FaultKind.SUSPENDED_400), Suspended),
    Case(answer(400, "failedPrecondition", "Precondition check failed."), Suspended),
    Case(fault(FaultKind.BAD_REQUEST_400), Permanent),
    Case(fault(FaultKind.UNAUTHENTICATED_401), NeedsAuthorization),
    Case(fault(FaultKind.CONCURRENT_429), TooManyAtOnce, Reach.CALLS, SHORT),
    Case(fault(FaultKind.BANDWIDTH_429), Throttled, Reach.BYTES, LONG),
    Case(
        answer(429, "rateLimitExceeded", "User-rate limit exceeded.  Retry after 2099-01-01T00:00:00Z (Mail sending)"),
        Throttled,
        Reach.CALLS,
        MINUTE_QUOTA,
    ),
    Case(fault(FaultKind.DAILY_LIMIT_403), Throttled, Reach.PROJECT),
    Case(project_minute, Throttled, Reach.PROJECT, MINUTE_QUOTA),
    Case(fault(FaultKind.USER_RATE_LIMIT_403), Throttled, Reach.MAILBOX, MINUTE_QUOTA),
    Case(without_json(429), Throttled, Reach.MAILBOX, MINUTE_QUOTA),
    Case(fault(FaultKind.DOMAIN_POLICY_403), Forbidden),
    Case(fault(FaultKind.FORBIDDEN_403), NeedsAuthorization),
    Case(answer(403, "accessNotConfigured", "Gmail API has not been used in project 1 or it is disabled"), Forbidden),
    Case(answer(403, "forbidden", "Delegation denied for support@example.org"), Forbidden),
    Case(fault(FaultKind.ERROR_503), Transient),
    Case(answer(413, "", "too large"), Permanent),
]


@pytest.mark.parametrize(
    ("row", "case"), [pytest.param(row, case, id=row.source) for row, case in zip(RULES, CASES, strict=True)]
)
def test_each_row_of_the_table_is_met_by_a_real_answer(
    full: Desk, monkeypatch: pytest.MonkeyPatch, row: Rule, case: Case
) -> None:
    met: list[Rule] = []
    decide = gmail_errors.row_for

    def noted(refusal: Refusal) -> Rule:
        met.append(decide(refusal))
        return met[-1]

    monkeypatch.setattr(gmail_errors, "row_for", noted)
    with pytest.raises(FieldpostError) as caught:
        case.meet(full)
    assert met[-1] is row
    assert type(caught.value) is case.kind
    if case.reach is not None:
        assert isinstance(caught.value, Throttled)
        assert caught.value.reach is case.reach
        assert case.wait in {None, caught.value.retry_after}


def test_every_row_says_which_row_of_the_matrix_it_is() -> None:
    assert len({row.source for row in RULES}) == len(RULES)
    assert all(row.source.strip() for row in RULES)


@pytest.mark.parametrize(
    ("status", "reason", "message", "kind", "reach"),
    [
        (400, "failedPrecondition", "User account is suspended", Suspended, None),
        (403, "forbidden", "Account disabled", Suspended, None),
        (403, "", "Quota exceeded for quota metric 'Queries' and limit 'Queries per minute per user' of service",
         Throttled, Reach.MAILBOX),
        (429, "", "Quota exceeded for quota metric 'Queries' and limit 'Queries per day' of service",
         Throttled, Reach.PROJECT),
        (429, "", "Quota exceeded for quota metric 'Queries' and limit 'Queries per minute' of service",
         Throttled, Reach.PROJECT),
        (403, "quotaExceeded", "", Throttled, Reach.MAILBOX),
        (403, "rateLimitExceeded", "Rate Limit Exceeded", Throttled, Reach.MAILBOX),
        (410, "deleted", "", Gone, None),
        (408, "", "", Transient, None),
        (500, "backendError", "Backend Error", Transient, None),
        (503, "rateLimitExceeded", "unavailable", Transient, None),
    ],
)  # fmt: skip
def test_other_words_of_the_same_rows(
    status: int, reason: str, message: str, kind: type[FieldpostError], reach: Reach | None
) -> None:
    error = refused(status, reason, message)
    assert type(error) is kind
    assert str(status) in str(error)
    assert message in str(error)
    assert getattr(error, "reach", None) is reach


def test_a_missing_mailbox_is_not_a_vanished_message() -> None:
    assert type(refused(404, "notFound", method="getProfile")) is Permanent


def test_a_refused_token_is_renewed_once_before_a_person_is_asked(full: Desk) -> None:
    full.items()
    full.server.reset_stats()
    full.server.faults.add(FaultKind.UNAUTHENTICATED_401, method="messages.get")
    with pytest.raises(NeedsAuthorization, match="connect the mailbox again"):
        get(full)
    statuses = full.server.stats()["calls"]
    assert isinstance(statuses, dict)
    assert (statuses["messages.get"], statuses["token"]) == ({"401": 2}, {"200": 1})


@pytest.mark.parametrize(
    ("now", "wait"),
    [
        (datetime(2026, 11, 20, 12, 0, tzinfo=UTC), timedelta(hours=20)),
        (datetime(2026, 7, 1, 6, 59, 59, tzinfo=UTC), timedelta(seconds=1)),
        (datetime(2026, 7, 1, 7, 0, tzinfo=UTC), timedelta(hours=24)),
        (datetime(2026, 3, 8, 8, 0, tzinfo=UTC), timedelta(hours=23)),
        (datetime(2026, 11, 1, 7, 0, tzinfo=UTC), timedelta(hours=25)),
    ],
)
def test_a_daily_limit_waits_until_midnight_pacific_when_nothing_is_told(now: datetime, wait: timedelta) -> None:
    answer = HttpError(httplib2.Response({"status": "403"}), b'{"error": {"message": "Daily Limit Exceeded"}}')
    error = decided(read(answer, "messages.get", now))
    assert isinstance(error, Throttled)
    assert (error.reach, error.retry_after) == (Reach.PROJECT, wait)


def test_a_daily_limit_waits_as_told() -> None:
    error = refused(403, "dailyLimitExceeded", "Daily Limit Exceeded", retry_after="60")
    assert isinstance(error, Throttled)
    assert error.retry_after == timedelta(seconds=60)


def test_the_newer_shape_of_errors_is_read_as_well() -> None:
    error = {
        "code": 403,
        "message": "no",
        "status": "PERMISSION_DENIED",
        "details": [{"reason": "RATE_LIMIT_EXCEEDED"}],
    }
    answer = HttpError(httplib2.Response({"status": "403"}), json.dumps({"error": error}).encode())
    assert type(decided(read(answer, "messages.get", NOW))) is Throttled


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"error": "invalid_grant"}', b'{"error": {"errors": 3}}', b"\xff"]
)
def test_an_answer_without_googles_json_is_judged_by_its_status(body: bytes) -> None:
    def judged(status: int) -> FieldpostError:
        return decided(read(HttpError(httplib2.Response({"status": str(status)}), body), "messages.get", NOW))

    assert type(judged(502)) is Transient
    assert type(judged(429)) is Throttled
    assert type(judged(401)) is NeedsAuthorization
    assert type(judged(400)) is Permanent


@pytest.mark.parametrize(
    ("header", "message", "wait"),
    [
        (None, "", MINUTE_QUOTA),
        ("7", "", timedelta(seconds=7)),
        ("0", "", timedelta(seconds=1)),
        ("99999999999999999999", "", LONGEST),
        ("Fri, 20 Nov 2026 12:00:30 GMT", "", timedelta(seconds=30)),
        ("Fri, 20 Nov 2026 11:00:00 GMT", "", timedelta(seconds=1)),
        ("soon", "", MINUTE_QUOTA),
        (
            None,
            "User-rate limit exceeded.  Retry after 2026-11-20T12:01:40.123Z",
            timedelta(seconds=100, milliseconds=123),
        ),
        (None, "Retry after 2026-11-20T12:00:05Z", timedelta(seconds=5)),
        (None, "Retry after 2026-11-19T00:00:00.000Z", timedelta(seconds=1)),
        (None, "Retry after 2027-11-20T12:00:00Z", LONGEST),
        (None, "Retry after 2026-13-45T99:00:00Z", MINUTE_QUOTA),
        ("9", "Retry after 2026-11-20T12:01:40Z", timedelta(seconds=9)),
    ],
)
def test_the_wait_is_what_the_header_or_the_text_asks_for(header: str | None, message: str, wait: timedelta) -> None:
    error = refused(403, "userRateLimitExceeded", message, retry_after=header)
    assert isinstance(error, Throttled)
    assert error.retry_after == wait


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RefreshError("invalid_grant: expired", {"error": "invalid_grant"}), NeedsAuthorization),
        (RefreshError("invalid_client: gone", {"error": "invalid_client"}), NeedsAuthorization),
        (RefreshError("The credentials do not contain the necessary fields need to refresh"), NeedsAuthorization),
        (RefreshError("internal_failure: None", {"error": "internal_failure"}), Transient),
        (RefreshError("<html>502</html>"), Transient),
        (RefreshError("invalid_grant", {"error": "invalid_grant"}, retryable=True), Transient),
        (TransportError("connection reset"), Transient),
    ],
)
def test_a_token_that_cannot_be_had_needs_a_person_or_time(error: GoogleAuthError, kind: type[FieldpostError]) -> None:
    assert type(from_auth(error, "messages.get", NOW)) is kind
