"""What the sender of a mail wrote: without quoted lines, the tails of earlier mails, and signatures."""

from __future__ import annotations

import re

_ANSWER = re.compile(r"\s*(?:re|aw|sv|antw)\s*(?:\[\d+\])?\s*:", re.IGNORECASE)
_FORWARD = re.compile(r"\s*(?:fwd?|wg|tr)\s*:", re.IGNORECASE)
_QUOTED_LINE = re.compile(r"^[ \t]*>[^\n]*", re.MULTILINE)
_ATTRIBUTION = re.compile(
    r"^[ \t]*(?:On|Am)\b[^\n]{0,200}(?:\n[^\n]{0,200})?\b(?:wrote|schrieb[^\n:]{0,80}):[ \t\r]*$", re.MULTILINE
)
#: Apple's Mail marks what it forwards as if it were quoted.
_FORWARDED_BELOW = re.compile(r"^>[ \t]?(?:From|Von):", re.MULTILINE)
_FIRST_MARK = re.compile(r"^>", re.MULTILINE)
_QUOTE_FOLLOWS = re.compile(r"\s*>")
_OLD_MAIL = re.compile(
    r"^[ \t]*-{2,} ?(?:Original Message|Urspr\w+ Nachricht)|^[ \t]*_{8,}[ \t\r]*\n(?=From:)"
    r"|^(?:From|Von):[^\n]*\n(?:Sent|Date|Gesendet|Datum):",
    re.MULTILINE,
)
_SIGNATURE = re.compile(r"^(?:-- ?|_{5,}[ \t]*|Sent from my [^\n]{1,60})[ \t\r]*$", re.MULTILINE)


def is_answer(subject: str) -> bool:
    """Return whether a subject is that of an answer: it repeats an earlier mail and tells nothing."""
    return _ANSWER.match(subject) is not None


def is_forward(subject: str) -> bool:
    """Return whether a subject is that of a forwarded mail, whose matter is what it forwards."""
    return _FORWARD.match(subject) is not None


def own_words(text: str, *, forwarded: bool) -> str:
    """Return `text` without what it quotes, every remaining character at its place; a forwarded mail is the matter.

    An unmarked quote runs to the end of the mail; between lines marked ">" people answer.
    """
    if forwarded and (below := _FORWARDED_BELOW.search(text)):
        text = text[: below.start()] + _FIRST_MARK.sub(" ", text[below.start() :])
    for found in _ATTRIBUTION.finditer(text) if "wrote:" in text or "schrieb" in text else ():
        if not _QUOTE_FOLLOWS.match(text, found.end()):
            text = text[: found.start()]
            break
    if not forwarded:
        text = _without_tail(text)
    return _QUOTED_LINE.sub(lambda line: " " * len(line.group()), text) if ">" in text else text


def _without_tail(text: str) -> str:
    if ("From:" in text or "Von:" in text or "Original Message" in text or "Nachricht" in text) and (
        (tail := _OLD_MAIL.search(text)) and text[: tail.start()].strip()
    ):
        text = text[: tail.start()]
    if "\n--" in text or "\n____" in text or "\nSent from my" in text:
        end = _SIGNATURE.search(text)
        if end is not None and text[: end.start()].strip():
            text = text[: end.start()]
    return text
