"""What a caller may call a request (`Idempotency-Key`): any plain word, or a UUID where contract 000 is spoken."""

from __future__ import annotations

import re
from uuid import UUID

from pipeline.core.refusing import Because, Refusal

_KEY = re.compile(r"[!-~]{1,200}")
_MISSING = "send a header Idempotency-Key with a UUID of your own: sent again, the request has the same answer"


def problem(key: str | None, *, needs_uuid: bool) -> Refusal | None:
    """Return what is wrong with a key, None when nothing is. Where a UUID is needed, none at all is wrong, too."""
    if key is None:
        return Refusal("MISSING_IDEMPOTENCY_KEY", _MISSING, Because.MALFORMED) if needs_uuid else None
    if _is_uuid(key) if needs_uuid else _KEY.fullmatch(key):
        return None
    wanted = "a UUID" if needs_uuid else "1 to 200 visible ASCII characters"
    return Refusal("INVALID_IDEMPOTENCY_KEY", f"Idempotency-Key must be {wanted}", Because.MALFORMED)


def spelled(key: str) -> str:
    """Return a key as it is kept: a UUID is the same in capitals, as iPhones write it, and in small letters."""
    return key.lower() if _is_uuid(key) else key


def _is_uuid(said: str) -> bool:
    try:
        return str(UUID(said)) == said.lower()
    except ValueError:
        return False
