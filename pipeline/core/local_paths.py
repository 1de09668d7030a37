"""Where a browser may be sent back to: pages of ours only."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_LONGEST = 2_000
#: Of the characters that an address may hold (RFC 3986); a backslash is read as a slash by browsers.
_PLAIN = re.compile(r"/[A-Za-z0-9._~:/?#@!$&'()*+,;=%\[\]-]*")


def is_local(path: str) -> bool:
    """Say whether an address leads to this very host, whoever reads it: one slash at the start, no host, no scheme."""
    if len(path) > _LONGEST or not _PLAIN.fullmatch(path) or path.startswith("//"):
        return False
    try:
        parts = urlsplit(path)
    except ValueError:
        return False
    return not parts.scheme and not parts.netloc
