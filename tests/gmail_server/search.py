"""Which messages a list call means: labels, the `q` operators, and pages of them newest first."""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone

from tests.gmail_server.errors import invalid
from tests.gmail_server.state import HIDDEN, SYSTEM_LABELS, Mailbox, Message

Predicate = Callable[[Message], bool]

# "All dates used in the search query are interpreted as midnight on that date in the PST timezone" (Gmail API guide).
_SEARCH_ZONE = timezone(timedelta(hours=-8))
_TERM = re.compile(r'(-?)(?:(\w+):)?(?:"([^"]*)"|(\S+))')
_DATE = re.compile(r"(\d{4})[/-](\d{1,2})[/-](\d{1,2})")
_WHERE = {"inbox": "INBOX", "spam": "SPAM", "trash": "TRASH", "sent": "SENT", "draft": "DRAFT"}


@dataclass(slots=True)
class Query:
    """A search as bounds on internalDate (from `since_ms`, below `until_ms`) and tests that must all hold."""

    since_ms: int = 0
    until_ms: int = 1 << 62
    tests: list[Predicate] = field(default_factory=list)
    show_hidden: bool = False

    def accepts(self, message: Message) -> bool:
        """Whether a message inside the bounds belongs to the answer."""
        if not self.show_hidden and not HIDDEN.isdisjoint(message.labels):
            return False
        return all(test(message) for test in self.tests)


def query_of(mailbox: Mailbox, text: str, labels: list[str], include_hidden: bool) -> Query:
    """The query of `q`, `labelIds` and `includeSpamTrash`. ApiError 400 for an unknown label or a bad date."""
    query = Query(show_hidden=include_hidden or not HIDDEN.isdisjoint(labels))
    for label in labels:
        if label not in SYSTEM_LABELS and label not in mailbox.label_names:
            raise invalid(f"Invalid label: {label}")
        query.tests.append(_has_label(label))
    for minus, operator, quoted, bare in _TERM.findall(text):
        _add_term(query, mailbox, bool(minus), operator.lower(), quoted or bare)
    return query


def page(mailbox: Mailbox, query: Query, below: tuple[int, str] | None, limit: int) -> tuple[list[Message], bool]:
    """Up to `limit` messages newest first, strictly older than `below`; and whether there are more."""
    end = bisect.bisect_left(mailbox.order, (query.until_ms, ""))
    if below is not None:
        end = min(end, bisect.bisect_left(mailbox.order, below))
    start = bisect.bisect_left(mailbox.order, (query.since_ms, ""))
    found: list[Message] = []
    for position in range(end - 1, start - 1, -1):
        message = mailbox.messages[mailbox.order[position][1]]
        if query.accepts(message):
            if len(found) == limit:
                return found, True
            found.append(message)
    return found, False


def _add_term(query: Query, mailbox: Mailbox, negated: bool, operator: str, value: str) -> None:
    if operator in {"after", "newer"}:
        query.since_ms = max(query.since_ms, _moment_ms(value))
    elif operator in {"before", "older"}:
        query.until_ms = min(query.until_ms, _moment_ms(value))
    elif operator == "in" and value.lower() == "anywhere":
        query.show_hidden = True
    else:
        test = _predicate(mailbox, operator, value)
        if operator == "in" and value.upper() in HIDDEN and not negated:
            query.show_hidden = True
        query.tests.append((lambda message: not test(message)) if negated else test)


def _moment_ms(value: str) -> int:
    if value.isdigit():
        return int(value) * 1000
    match = _DATE.fullmatch(value)
    if match is None:
        raise invalid(f"Invalid date in query: {value}")
    year, month, day = map(int, match.groups())
    try:
        return int(datetime(year, month, day, tzinfo=_SEARCH_ZONE).astimezone(UTC).timestamp() * 1000)
    except ValueError as error:
        raise invalid(f"Invalid date in query: {value}") from error


def _has_label(label: str) -> Predicate:
    return lambda message: label in message.labels


def _predicate(mailbox: Mailbox, operator: str, value: str) -> Predicate:
    wanted = value.lower()
    if operator in _TEXT_OPERATORS:
        return _TEXT_OPERATORS[operator](value)
    if operator == "in" and wanted in _WHERE:
        return _has_label(_WHERE[wanted])
    if operator in {"label", "in"}:
        names = {name.lower(): label for label, name in mailbox.label_names.items()}
        return _has_label(names.get(wanted, value.upper()))
    if operator == "is" and wanted in {"unread", "starred", "important"}:
        return _has_label(value.upper())
    if operator == "is" and wanted == "read":
        return lambda message: "UNREAD" not in message.labels
    return lambda message: wanted in f"{message.subject} {message.snippet} {message.sender}".lower()


_TEXT_OPERATORS: dict[str, Callable[[str], Predicate]] = {
    "rfc822msgid": lambda value: lambda message: message.rfc_id[1:-1] == value.strip("<>"),
    "from": lambda value: lambda message: value.lower() in message.sender.lower(),
    "to": lambda value: lambda message: value.lower() in message.recipients.lower(),
    "subject": lambda value: lambda message: value.lower() in message.subject.lower(),
}
