"""What a new password must be: long enough, hard to guess, and not what its owner signs in by (contract 004: 422)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from zxcvbn import zxcvbn  # type: ignore[import-untyped]

from pipeline.core.text import normalised

SHORTEST, LONGEST = 12, 128
#: "Safely unguessable: moderate protection from offline attack", on the estimator's scale of 0 to 4.
LOWEST_SCORE = 3
#: Longer ones are judged by their beginning: the estimator's time grows faster than the length.
_JUDGED = 72
_LEAST_LEFT = 8
_BETWEEN = re.compile(r"[^\w]+")


def prepared(password: str) -> str:
    """Return a password as it is hashed: one form for what keyboards write differently (NIST SP 800-63B, 5.1.1.2)."""
    return normalised(password, "NFKC")


def problem(password: str, belonging: Sequence[str] = ()) -> str | None:
    """Say why this may not be somebody's password, None when it may; `belonging` is what others know of them."""
    said = prepared(password)
    if len(said) < SHORTEST:
        return f"use at least {SHORTEST} characters"
    if len(said) > LONGEST:
        return f"use at most {LONGEST} characters"
    if not said.isprintable():
        return "leave out control characters"
    known = [one.casefold() for one in belonging if one]
    if said.casefold() in known:
        return "use something else than what you sign in by"
    parts = {part for one in known for part in (one, *_BETWEEN.split(one)) if len(part) > 2}
    if _is_mostly(said.casefold(), parts):
        return "leave out your name and what you sign in by"
    if zxcvbn(said[:_JUDGED], user_inputs=sorted(parts))["score"] < LOWEST_SCORE:
        return "it is too easy to guess: use several words that do not belong together"
    return None


def _is_mostly(said: str, parts: Iterable[str]) -> bool:
    """Say whether little is left of a password without what others know: the estimator thinks much of such words."""
    left = said
    for part in sorted(parts, key=len, reverse=True):
        left = left.replace(part, "")
    return left != said and sum(character.isalnum() for character in left) < _LEAST_LEFT
