"""The automatic answer "we have it": its words and the headers that keep machines from answering it (RFC 3834)."""

from __future__ import annotations

import re

from pipeline.core.loops import LOOP_HEADER, loop_header

_SUBJECT_LENGTH = 900
_ANSWERED = re.compile(r"\s*(?:re|aw|sv|antw)\s*:", re.IGNORECASE)


def subject(asked: str) -> str:
    """Return the subject of an answer to a subject."""
    cut = asked.strip()[:_SUBJECT_LENGTH]
    return cut if _ANSWERED.match(cut) else f"Re: {cut or 'your message'}"


def body(words: str, code: str) -> str:
    """Return an organization's words with the ticket's code in them."""
    return words.replace("{code}", code)


def headers(from_address: str, code: str, key: bytes) -> dict[str, str]:
    """Return the headers of an automatic answer: every known way to say "do not answer", and our signed mark.

    Sources: RFC 3834 section 3.1.7 (Auto-Submitted), Microsoft (X-Auto-Response-Suppress), old responders (Precedence).
    """
    return {
        "Auto-Submitted": "auto-replied",
        "X-Auto-Response-Suppress": "All",
        "Precedence": "bulk",
        # Nothing that carries such a mark is answered automatically, so each of ours is the first step of its way.
        LOOP_HEADER: loop_header(from_address, code, 1, key),
    }
