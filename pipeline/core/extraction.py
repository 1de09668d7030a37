"""Which attachments have a text that can be read, and the text of those that need no library."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from models.enums import ExtractionState
from pipeline.core import html
from pipeline.core.text import clean, decode

#: Kept with every extracted text; a new number makes attachments worth reading again.
EXTRACTION_VERSION = 1
#: What is kept of one attachment's text, in characters.
TEXT_LIMIT = 200_000
#: A larger attachment is not read at all.
SIZE_LIMIT = {"text": 4_000_000, "html": 4_000_000, "pdf": 25_000_000}
#: Attachments of one message that are read; the names of the others are searched all the same.
MOST_READ = 10


class Form(StrEnum):
    """How the text of an attachment is read."""

    TEXT = "text"
    HTML = "html"
    PDF = "pdf"


@dataclass(frozen=True, slots=True)
class Extracted:
    """What became of reading an attachment; `text` is "" unless it was done."""

    state: ExtractionState
    text: str = ""


_TEXTS = frozenset({"application/json", "application/xml", "application/x-yaml", "application/yaml", "application/csv"})
_NOT_READ = frozenset({"text/calendar", "text/x-amp-html", "text/rfc822-headers", "text/css", "text/javascript"})


def form_of(content_type: str) -> Form | None:
    """Return how attachments of a type are read; None for those without a text."""
    kind = content_type.lower().split(";", 1)[0].strip()
    if kind in ("text/html", "application/xhtml+xml"):
        return Form.HTML
    if kind in ("application/pdf", "application/x-pdf"):
        return Form.PDF
    if kind in _TEXTS or (kind.startswith("text/") and kind not in _NOT_READ):
        return Form.TEXT
    return None


def is_too_large(form: Form, size: int) -> bool:
    """Say whether an attachment is larger than what is read."""
    return size > SIZE_LIMIT[form.value]


def read_text(form: Form, content: bytes) -> Extracted:
    """Return the text of a plain or HTML attachment: of HTML only what a reader sees."""
    text, _ = decode(content, None)
    return kept(html.to_text(text) if form is Form.HTML else text)


def kept(text: str) -> Extracted:
    """Return a text as it is stored: clean and bounded."""
    return Extracted(ExtractionState.DONE, clean(text[:TEXT_LIMIT]))
