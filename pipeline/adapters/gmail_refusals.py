"""What Gmail said when it refused: status, reasons, message and wait, read from both shapes of Google's errors."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from googleapiclient.errors import HttpError

LONGEST = timedelta(hours=24)

#: Beside HTTP codes: the token endpoint's refusal, and an answer of 200 that must not be believed.
TOKEN = "token"  # noqa: S105 - a word of the table
DOUBTED = "doubted"

_LONGEST_TEXT = 500
_RETRY_TIME = re.compile(r"retry after (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?\d*Z)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Refusal:
    """What Gmail answered at `at`: `words` are all its reasons and its message, `retry_after` what it asked for."""

    method: str
    status: str
    words: str
    message: str
    at: datetime
    retry_after: timedelta | None = None

    def text(self, hint: str = "") -> str:
        """Return one line for logs and people."""
        said = self.message or self.words.strip() or "no text"
        told = {TOKEN: f"no access token for Gmail {self.method}: {said}", DOUBTED: f"Gmail {self.method}: {said}"}
        return told.get(self.status, f"Gmail {self.method} answered {self.status}: {said}") + (hint and f" ({hint})")


def read(error: HttpError, method: str, now: datetime) -> Refusal:
    """Return the refusal in an HTTP answer; `now` makes waits of told times."""
    reasons, message = _reasons_and_message(error.content)
    message = message or str(error.reason or "")
    retry_after = _retry_after(error.resp, message, now)
    words = " ".join([*reasons, message])
    return Refusal(method, str(int(error.resp.status)), words, message[:_LONGEST_TEXT], now, retry_after)


def _reasons_and_message(content: bytes) -> tuple[list[str], str]:
    """Read both shapes Google uses: `errors[].reason` of old, `status` and `details[].reason` of new."""
    try:
        error = json.loads(content)["error"]
        entries = [*error.get("errors", ()), *error.get("details", ())]
        reasons = [str(entry.get("reason", "")) for entry in entries]
        limits = [str(entry.get("metadata", {}).get("quota_limit", "")) for entry in entries]
        return [*reasons, *limits, str(error.get("status", ""))], str(error.get("message", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        return [], ""


def _retry_after(headers: Mapping[str, str], message: str, now: datetime) -> timedelta | None:
    """Return the wait the header or the text asks for, between a second and a day."""
    told = wait_in_header(str(headers.get("retry-after", "")), now)
    if told is None:
        told = _from_text(message, now)
    return None if told is None else min(max(told, timedelta(seconds=1)), LONGEST)


def wait_in_header(value: str, now: datetime) -> timedelta | None:
    """Return the wait that `Retry-After` asks for, in seconds or until a date (RFC 9110, 10.2.3); None without one."""
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
