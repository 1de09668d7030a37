"""Who wrote what a mail forwards; evidence to show, never used to stitch."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pipeline.core import addresses, inner
from pipeline.core.headers import Fields
from pipeline.core.parts import Attachment

_WORDS_LENGTH = 500
_MAILTO = re.compile(r"[\[<(]\s*mailto:([^\s\[\]<>()]+)[\])>]", re.IGNORECASE)
_WRITTEN_AT = re.compile(r"([^\s<>()\[\]\"',;:]{1,64}@[^\s<>()\[\]\"',;:]{1,255})")
_MAILS = frozenset({"message/rfc822", "message/global"})


def original_sender(
    fields: Fields, sender: str | None, announced: str | None, attachments: Sequence[Attachment], *, is_list: bool
) -> str | None:
    """Return the address (lower case) of who wrote what is forwarded, None when nothing is or nobody is named.

    `announced` is what a header block in the text says of the sender (`quotes.Split.forwarded`); it is believed first,
    then the first attached mail, then From when somebody else resent the mail (RFC 5322 3.6.6) and no list did.
    """
    if announced is not None and (written := _in_words(announced)):
        return written
    for part in attachments:
        if part.content_type in _MAILS:
            found, _ = addresses.read(inner.fields(part.payload).flat("from")[:1])
            return _first(found)
    resent, _ = addresses.read(fields.flat("resent-from"))
    if _first(resent) not in {None, sender} and not is_list:
        return sender if sender and "@" in sender else None
    return None


def _in_words(words: str) -> str | None:
    """Return the address that a mail program wrote beside a name: "Ann <a@x>", "Ann [mailto:a@x]", "a@x"."""
    reach = words[:_WORDS_LENGTH]
    found = _MAILTO.search(reach) or next(reversed(list(_WRITTEN_AT.finditer(reach))), None)
    return addresses.clean_address(found[1]) if found else None


def _first(found: Sequence[addresses.Address]) -> str | None:
    return next((one.address for one in found if "@" in one.address), None)
