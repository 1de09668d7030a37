"""What a person asks of the search, read into what the database compares.

    charger "does not start" -refund from:ann has:attachment after:2026-01-01

Words must all occur; "..." is a phrase, - excludes, `or` between words asks for either side, a star at the end of a
word stands for any ending. The filters from:, to:, subject:, has:attachment, before: and after: hold for the whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date

from pipeline.core.search_words import words
from pipeline.core.text import clean

LONGEST = 500
_MOST_WORDS = 64
#: A star after one letter would read half the index.
_SHORTEST_START = 2
#: Marks of the exact terms of a document: no word has a colon.
FROM, TO, HAS_ATTACHMENT = "f:", "t:", "has:attachment"

_PIECE = re.compile(
    r'(?P<minus>-)?(?:(?P<name>from|to|cc|subject|has|before|after):)?(?:"(?P<quoted>[^"]*)"?|(?P<plain>[^\s"]+))?',
    re.IGNORECASE,
)
_SPACE = re.compile(r"\s+")


class BadQuery(ValueError):
    """The question cannot be answered; the text says how to ask."""


@dataclass(frozen=True, slots=True)
class Terms:
    """A question as the database compares it.

    `text` is in the form of PostgreSQL's to_tsquery, `exact` in that of its type tsquery: both must hold, an empty one
    always does. `words` are those that a hit is shown by, a star after those that stand for any ending. `after` is
    included, `before` is not; both are days in UTC.
    """

    text: str
    exact: str
    words: tuple[str, ...]
    after: date | None = None
    before: date | None = None


@dataclass(slots=True)
class _Read:
    """What was read so far: alternatives of words that must all occur, and what holds for the whole."""

    groups: list[list[str]] = field(default_factory=lambda: [[]])
    #: Which of the groups name something to look for, and not only what to leave out.
    positive: list[bool] = field(default_factory=lambda: [False])
    text: list[str] = field(default_factory=list)
    exact: list[str] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    days: dict[str, date] = field(default_factory=dict)
    finds: bool = False
    count: int = 0


def read(question: str) -> Terms:
    """Return the terms of a question. Raises `BadQuery` when nothing can be looked for with it."""
    if len(question) > LONGEST:
        raise BadQuery(f"a search has at most {LONGEST} characters")
    question = clean(question)
    found = _Read()
    place = 0
    while (place := _after_space(question, place)) < len(question):
        piece = _PIECE.match(question, place)
        if piece is None or piece.end() == place:
            place += 1
            continue
        place = piece.end()
        _take(found, piece)
    return _terms(found)


def address_terms(mark: str, address: str, name: str) -> list[str]:
    """Return the exact terms by which `from:` or `to:` finds a person: each word, and the address as a whole."""
    whole = address.lower()
    is_usable = 0 < len(whole) <= LONGEST and whole.isprintable() and not set(whole) & {" ", "'", "\\"}
    return [
        *(mark + word for word in words(f"{address} {name}", 1_000).split()),
        *([mark + whole] if is_usable else []),
    ]


def _after_space(question: str, place: int) -> int:
    space = _SPACE.match(question, place)
    return space.end() if space else place


def _take(found: _Read, piece: re.Match[str]) -> None:
    name, quoted, plain = piece["name"], piece["quoted"], piece["plain"]
    said = plain if quoted is None else quoted
    if name is not None:
        if not said or not said.strip():
            raise BadQuery(f"{name.lower()}: needs a value right after the colon, such as {_EXAMPLES[name.lower()]}")
        _FILTERS[name.lower()](found, name.lower(), said, bool(piece["minus"]))
    elif quoted is None and plain is not None and plain.lower() == "or" and not piece["minus"]:
        found.groups.append([])
        found.positive.append(False)
    elif said:
        _take_words(found, said, is_excluded=bool(piece["minus"]), may_end_anyhow=quoted is None)


def _take_words(found: _Read, said: str, *, is_excluded: bool, may_end_anyhow: bool) -> None:
    phrase, each = _phrase(found, said, may_end_anyhow=may_end_anyhow)
    if not phrase:
        return
    found.groups[-1].append(f"!({phrase})" if is_excluded else f"({phrase})")
    if not is_excluded:
        found.positive[-1] = True
        found.shown += each


def _phrase(found: _Read, said: str, *, weight: str = "", may_end_anyhow: bool = True) -> tuple[str, list[str]]:
    """Return a phrase for to_tsquery, and its words; "" when there is no word in it."""
    parts = words(said).split()
    found.count += len(parts)
    if found.count > _MOST_WORDS:
        raise BadQuery(f"a search has at most {_MOST_WORDS} words")
    if not parts:
        return "", []
    ends_anyhow = may_end_anyhow and said.endswith("*") and len(parts[-1]) >= _SHORTEST_START
    marks = [weight] * (len(parts) - 1) + [("*" if ends_anyhow else "") + weight]
    phrase = " <-> ".join(f"'{part}'{':' + mark if mark else ''}" for part, mark in zip(parts, marks, strict=True))
    return phrase, [*parts[:-1], parts[-1] + ("*" if ends_anyhow else "")]


def _take_subject(found: _Read, _: str, said: str, is_excluded: bool) -> None:
    phrase, each = _phrase(found, said, weight="A")
    if not phrase:
        raise BadQuery("subject: needs a word")
    found.text.append(f"!({phrase})" if is_excluded else f"({phrase})")
    if not is_excluded:
        found.finds = True
        found.shown += each


def _take_person(found: _Read, name: str, said: str, is_excluded: bool) -> None:
    mark = FROM if name == "from" else TO
    whole = said.lower()
    if "@" in whole.strip("@") and not set(whole) & {" ", "'", "\\", '"', "*"}:
        terms = [f"'{mark}{whole}'"]
    else:
        terms = [f"'{mark}{word}'" for word in words(said).split()]
        if terms and said.endswith("*"):
            terms[-1] += ":*"
    if not terms:
        raise BadQuery(f"{name}: needs an address or a name, such as {_EXAMPLES[name]}")
    _hold(found, " & ".join(terms), is_excluded)


def _take_has(found: _Read, _: str, said: str, is_excluded: bool) -> None:
    if said.lower() not in ("attachment", "attachments"):
        raise BadQuery("only has:attachment is known")
    _hold(found, f"'{HAS_ATTACHMENT}'", is_excluded)


def _hold(found: _Read, exact: str, is_excluded: bool) -> None:
    found.exact.append(f"!({exact})" if is_excluded else f"({exact})")
    found.finds |= not is_excluded


def _take_day(found: _Read, name: str, said: str, is_excluded: bool) -> None:
    try:
        day = date.fromisoformat(said)
    except ValueError:
        raise BadQuery(f"{name}: needs a day such as 2026-03-31") from None
    if is_excluded or name in found.days:
        raise BadQuery(f"give {name}: once, without a minus")
    found.days[name] = day


_FILTERS: Mapping[str, Callable[[_Read, str, str, bool], None]] = {
    "from": _take_person,
    "to": _take_person,
    "cc": _take_person,
    "subject": _take_subject,
    "has": _take_has,
    "before": _take_day,
    "after": _take_day,
}
_EXAMPLES = {
    "from": "from:ann@customer.example",
    "to": "to:help@acme.example",
    "cc": "cc:help@acme.example",
    "subject": 'subject:"charger broken"',
    "has": "has:attachment",
    "before": "before:2026-03-31",
    "after": "after:2026-01-01",
}


def _terms(found: _Read) -> Terms:
    groups = [" & ".join(group) for group in found.groups if group]
    if any(group and not is_positive for group, is_positive in zip(found.groups, found.positive, strict=True)):
        if not found.finds:
            raise BadQuery("a minus needs something beside it to look for")
    elif not groups and not found.finds:
        raise BadQuery("a search needs a word, or from:, to:, subject: or has:attachment")
    either = " | ".join(f"({group})" for group in groups)
    text = " & ".join([f"({either})", *found.text] if either else found.text)
    return Terms(
        text,
        " & ".join(found.exact),
        tuple(dict.fromkeys(found.shown)),
        found.days.get("after"),
        found.days.get("before"),
    )
