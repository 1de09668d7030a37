"""The fields of a mail's header: decoded values, message ids, dates."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_tz

from pipeline.core.flags import Flag
from pipeline.core.text import one_line
from pipeline.core.words import decode_words, header, unfold

MESSAGE_ID_LENGTH = 998  # RFC 5322 2.1.1, the longest line
REFERENCES_FIRST, REFERENCES_LAST = 20, 80
SUBJECT_LENGTH = 2_000
FIRST_YEAR, LAST_YEAR = 1970, 9000
_DATE_LENGTH = 256

_ID_OR_COMMENT = re.compile(r"<([^<>]*)>|\([^()]*\)")
_COMMENT = re.compile(r"\([^()]*\)")
_ID_SEPARATOR = re.compile(r"[\s,;<>]+")


@dataclass(frozen=True, slots=True)
class Fields:
    """The header block by lower-case name: raw values as they came (surrogates for eight-bit bytes), in order."""

    raw: Mapping[str, Sequence[str]]

    def flat(self, name: str) -> list[str]:
        """Return the unfolded values of one field, encoded words still encoded."""
        return [unfold(value)[0] for value in self.raw.get(name, ())]

    def first(self, name: str) -> str | None:
        """Return the first unfolded value of one field that is not blank."""
        return next(filter(None, self.flat(name)), None)


def collect(items: Iterable[tuple[str, str]]) -> Fields:
    """Group header items by lower-case name, order kept."""
    raw: dict[str, list[str]] = {}
    for name, value in items:
        if name:
            raw.setdefault(name.lower(), []).append(value)
    return Fields(raw)


def decoded(fields: Fields) -> tuple[dict[str, tuple[str, ...]], bool]:
    """Return every field as clean text, and whether a charset was guessed in one of them."""
    out: dict[str, tuple[str, ...]] = {}
    any_guessed = False
    for name, values in fields.raw.items():
        texts: list[str] = []
        for value in values:
            text, guessed = header(value)
            texts.append(text)
            any_guessed |= guessed
        out[name] = tuple(texts)
    return out, any_guessed


def subject(fields: Fields) -> str:
    """Return the first subject on one line, at most 2,000 characters."""
    return one_line(decode_words(fields.first("subject") or "")[0])[:SUBJECT_LENGTH].rstrip()


def message_id(fields: Fields) -> str | None:
    """Return the message id as "<...>" (RFC 5322 3.6.4), at most 998 characters; None when there is none."""
    value = decode_words(fields.first("message-id") or fields.first("message-i-d") or "")[0]
    found = _bracketed(value) or _bare(value)
    if found:
        return found[0]
    lone = "".join(_COMMENT.sub(" ", value).strip("<> \t").split())
    return _id(lone) if lone else None


def message_ids(values: Iterable[str], *, strict: bool = False) -> tuple[str, ...]:
    """Return the distinct ids of unfolded values in order; of more than 100, the first 20 and the last 80.

    Ids without brackets count only when the value holds nothing else; comments and prose never count. `strict`
    skips bracketed words without an at sign.
    """
    seen: dict[str, None] = {}
    for value in values:
        text = decode_words(value)[0]
        for found in _bracketed(text) or _bare(text):
            if not strict or "@" in found:
                seen.setdefault(found)
    ids = tuple(seen)
    if len(ids) > REFERENCES_FIRST + REFERENCES_LAST:
        return ids[:REFERENCES_FIRST] + ids[-REFERENCES_LAST:]
    return ids


def date(fields: Fields) -> tuple[datetime | None, frozenset[Flag]]:
    """Return the Date field in UTC (a date without a zone is UTC), and `bad_date` when there is one but no date in it.

    Years before 1970 and after 9000 are taken for mistakes of the sender's clock.
    """
    value = fields.first("date")
    if value is None:
        return None, frozenset()
    moment = parse_date(value)
    return moment, frozenset() if moment else frozenset({Flag.BAD_DATE})


def parse_date(value: str) -> datetime | None:
    """Return the moment an RFC 5322 or ISO 8601 date means in UTC, None when it means none."""
    value = value.strip()[:_DATE_LENGTH]
    try:
        moment = _rfc_date(value) or datetime.fromisoformat(value)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError, IndexError, TypeError):  # parsedate_tz slips on mutilated dates
        return None
    return moment if FIRST_YEAR <= moment.year <= LAST_YEAR else None


def _rfc_date(value: str) -> datetime | None:
    parts = parsedate_tz(value)
    if parts is None:
        return None
    year, month, day, hour, minute, second = parts[:6]
    moment = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)
    offset = timedelta(seconds=parts[9] or 0)
    return moment - offset if abs(offset) < timedelta(days=1) else moment


def _bracketed(value: str) -> list[str]:
    found = [match[1] for match in _ID_OR_COMMENT.finditer(value) if match[1] is not None]
    return [_id(inner) for inner in found if inner.strip() and ("@" in inner or " " not in inner.strip())]


def _bare(value: str) -> list[str]:
    words = [word for word in _ID_SEPARATOR.split(_COMMENT.sub(" ", value)) if word]
    return [_id(word) for word in words] if all("@" in word for word in words) else []


def _id(inner: str) -> str:
    return f"<{one_line(''.join(inner.split()))[: MESSAGE_ID_LENGTH - 2]}>"
