"""How people are reached and by what they sign in: mail addresses and telephone numbers in one form each."""

from __future__ import annotations

import re

#: RFC 5321 4.5.3.1: 64 octets, the sign, 255 octets.
LONGEST = 320
_EMAIL = re.compile(r"[^@\s\x00-\x1f\x7f<>\",;]{1,64}@[^@\s\x00-\x1f\x7f<>\",;]{1,255}")
#: E.164: a plus, no leading zero, at most fifteen digits.
_PHONE = re.compile(r"\+[1-9][0-9]{6,14}")
_WRITTEN_BETWEEN = re.compile(r"[\s().\-/]")


def email(said: str) -> str | None:
    """Return a mail address in lower case; None for what is none."""
    found = said.strip().lower()
    return found if len(found) <= LONGEST and _EMAIL.fullmatch(found) else None


def phone(said: str) -> str | None:
    """Return a number as E.164 writes it, from any usual spelling with its country code; None for what is none."""
    found = _WRITTEN_BETWEEN.sub("", said.strip())
    if found.startswith("00"):
        found = f"+{found[2:]}"
    return found if _PHONE.fullmatch(found) else None


def identifier(said: str) -> str | None:
    """Return what somebody signs in by, a mail address or a telephone number (contract 004); None for neither."""
    return email(said) if "@" in said else phone(said)
