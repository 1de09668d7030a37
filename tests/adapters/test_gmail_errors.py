"""What each refusal of Gmail means for the runner."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import httplib2
import pytest
from google.auth.exceptions import GoogleAuthError, RefreshError, TransportError
from googleapiclient.errors import HttpError

from pipeline.adapters.gmail_errors import LONG, LONGEST, MINUTE_QUOTA, TooManyAtOnce, from_answer, from_auth
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

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
QUOTA_TEXT = "Quota exceeded for quota metric 'Queries' and limit 'Queries per minute per user' of service"


def refused(
    status: int, reason: str = "", message: str = "", *, method: str = "messages.get", retry_after: str | None = None
) -> FieldpostError:
    """Return the error for an answer in the older of Google's two shapes."""
    body = {"error": {"code": status, "message": message, "errors": [{"reason": reason, "message": message}]}}
    headers = {"status": str(status)} | ({} if retry_after is None else {"retry-after": retry_after})
    return from_answer(HttpError(httplib2.Response(headers), json.dumps(body).encode()), method, NOW)


@pytest.mark.parametrize(
    ("status", "reason", "message", "kind"),
    [
        (400, "badRequest", "Invalid id value", Permanent),
        (400, "invalidArgument", "Invalid pageToken", PageExpired),
        (400, "failedPrecondition", "Mail service not enabled", NeedsAuthorization),
        (400, "failedPrecondition", "Precondition check failed.", NeedsAuthorization),
        (401, "authError", "Invalid Credentials", NeedsAuthorization),
        (403, "rateLimitExceeded", "Rate Limit Exceeded", Throttled),
        (403, "userRateLimitExceeded", "User Rate Limit Exceeded", Throttled),
        (403, "", QUOTA_TEXT, Throttled),
        (403, "quotaExceeded", "", Throttled),
        (403, "dailyLimitExceeded", "Daily Limit Exceeded", Throttled),
        (403, "domainPolicy", "The domain administrators have disabled Gmail apps.", NeedsAuthorization),
        (403, "insufficientPermissions", "Insufficient Permission", NeedsAuthorization),
        (403, "accessNotConfigured", "Gmail API has not been used in project 1 before", NeedsAuthorization),
        (403, "forbidden", "Delegation denied for support@example.org", NeedsAuthorization),
        (404, "notFound", "Requested entity was not found.", Gone),
        (408, "", "", Transient),
        (410, "deleted", "", Gone),
        (413, "", "", Permanent),
        (429, "rateLimitExceeded", "Too many concurrent requests for user", TooManyAtOnce),
        (429, "rateLimitExceeded", "User-rate limit exceeded (bandwidth).", Throttled),
        (429, "", "", Throttled),
        (500, "backendError", "Backend Error", Transient),
        (502, "", "", Transient),
        (503, "rateLimitExceeded", "unavailable", Transient),
        (504, "", "", Transient),
    ],
)
def test_each_answer_has_one_meaning(status: int, reason: str, message: str, kind: type[FieldpostError]) -> None:
    error = refused(status, reason, message)
    assert type(error) is kind
    assert str(status) in str(error)
    assert message in str(error)


@pytest.mark.parametrize(
    ("status", "message"), [(404, "Requested entity was not found."), (400, "Invalid startHistoryId")]
)
def test_a_forgotten_or_senseless_history_id_is_an_expired_cursor(status: int, message: str) -> None:
    assert type(refused(status, "notFound", message, method="history.list")) is CursorExpired


def test_a_missing_mailbox_is_not_a_vanished_message() -> None:
    assert type(refused(404, "notFound", method="getProfile")) is Permanent


def test_the_newer_shape_of_errors_is_read_as_well() -> None:
    error = {
        "code": 403,
        "message": "no",
        "status": "PERMISSION_DENIED",
        "details": [{"reason": "RATE_LIMIT_EXCEEDED"}],
    }
    answer = HttpError(httplib2.Response({"status": "403"}), json.dumps({"error": error}).encode())
    assert type(from_answer(answer, "messages.get", NOW)) is Throttled


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"error": "invalid_grant"}', b'{"error": {"errors": 3}}', b"\xff"]
)
def test_an_answer_without_googles_json_is_judged_by_its_status(body: bytes) -> None:
    def judged(status: int) -> FieldpostError:
        return from_answer(HttpError(httplib2.Response({"status": str(status)}), body), "messages.get", NOW)

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
        (None, "Retry after 2026-11-20T12:00:05Z (Mail sending)", timedelta(seconds=5)),
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
    ("reason", "message"), [("dailyLimitExceeded", ""), ("rateLimitExceeded", "bandwidth"), ("", "(Mail sending)")]
)
def test_limits_of_a_day_wait_long(reason: str, message: str) -> None:
    error = refused(429, reason, message)
    assert isinstance(error, Throttled)
    assert error.retry_after == LONG


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RefreshError("invalid_grant: expired", {"error": "invalid_grant"}), NeedsAuthorization),
        (RefreshError("unauthorized_client", {"error": "unauthorized_client"}), NeedsAuthorization),
        (RefreshError("The credentials do not contain the necessary fields need to refresh"), NeedsAuthorization),
        (RefreshError("internal_failure", {"error": "internal_failure"}), Transient),
        (RefreshError("<html>502</html>"), Transient),
        (RefreshError("invalid_grant", {"error": "invalid_grant"}, retryable=True), Transient),
        (TransportError("connection reset"), Transient),
    ],
)
def test_a_token_that_cannot_be_had_needs_a_person_or_time(error: GoogleAuthError, kind: type[FieldpostError]) -> None:
    assert type(from_auth(error, "messages.get")) is kind
