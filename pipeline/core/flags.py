"""What was odd about a mail, as a closed list of names."""

from __future__ import annotations

from enum import StrEnum


class Flag(StrEnum):
    """One observation about a mail; a mail carries any number of them, and none of them stops it."""

    BAD_BASE64 = "bad_base64"
    BAD_DATE = "bad_date"
    CALENDAR = "calendar"
    CHARSET_GUESSED = "charset_guessed"
    DANGEROUS_ATTACHMENT = "dangerous_attachment"
    ENCRYPTED = "encrypted"
    HEADER_TRUNCATED = "header_truncated"
    HTML_ONLY = "html_only"
    HTML_TRUNCATED = "html_truncated"
    NO_HEADERS = "no_headers"
    NO_MESSAGE_ID = "no_message_id"
    POISON_MAIL = "poison_mail"
    REPORT = "report"
    SIGNED = "signed"
    TEXT_TRUNCATED = "text_truncated"
    TNEF = "tnef"
    TOO_DEEP = "too_deep"
    TOO_MANY_ADDRESSES = "too_many_addresses"
    TOO_MANY_LINES = "too_many_lines"
    TOO_MANY_PARTS = "too_many_parts"
    TYPE_MISMATCH = "type_mismatch"
