"""Refusals in the shape of Google's JSON errors."""

from __future__ import annotations

import orjson

_STATUS_NAMES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "INVALID_ARGUMENT",
    409: "ABORTED",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_DOMAINS = {
    "rateLimitExceeded": "usageLimits",
    "userRateLimitExceeded": "usageLimits",
    "dailyLimitExceeded": "usageLimits",
}


class ApiError(Exception):
    """A call is refused: HTTP code, Google's reason and message, and headers to send along."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        status: str | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.status = status or _STATUS_NAMES.get(code, "UNKNOWN")
        self.headers = headers

    def body(self) -> bytes:
        """`{"error": {"code", "message", "errors": [{"message", "domain", "reason"}], "status"}}`."""
        detail: dict[str, str] = {
            "message": self.message,
            "domain": _DOMAINS.get(self.reason, "global"),
            "reason": self.reason,
        }
        if self.code == 401:
            detail |= {"location": "Authorization", "locationType": "header"}
        error = {"code": self.code, "message": self.message, "errors": [detail], "status": self.status}
        return orjson.dumps({"error": error})


def not_found(message: str = "Requested entity was not found.") -> ApiError:
    """404, for a message, a label or a history id that is not there."""
    return ApiError(404, "notFound", message)


def invalid(message: str) -> ApiError:
    """400, for an argument that cannot be understood."""
    return ApiError(400, "invalidArgument", message)


def failed_precondition(message: str = "Mail service not enabled") -> ApiError:
    """400 failedPrecondition, for a user without a working mailbox."""
    return ApiError(400, "failedPrecondition", message, status="FAILED_PRECONDITION")


def unauthenticated() -> ApiError:
    """401 authError, for a missing, unknown, expired or revoked access token."""
    return ApiError(401, "authError", "Invalid Credentials", headers=(("WWW-Authenticate", 'Bearer realm="gmail"'),))
