"""Versions over HTTP: `ETag` of what is read, `If-Match` of what is changed (RFC 9110, 13.1.1)."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Depends, Header

from ops_api.answers import Refusal

_ETAG = re.compile(r'(?:W/)?"?(\d{1,18})"?')


def etag(version: int) -> str:
    """Return a version as an entity tag."""
    return f'"{version}"'


async def if_match(
    if_match: Annotated[
        str | None, Header(max_length=64, description="The version that was read, as in its ETag; stale is 409.")
    ] = None,
) -> int | None:
    """Return the version that the caller has seen; None when any will do. 422 for what is no version."""
    if if_match is None or if_match.strip() == "*":
        return None
    found = _ETAG.fullmatch(if_match.strip())
    if found is None:
        raise Refusal(422, "If-Match must be one version, as ETag said it", code="INVALID_IF_MATCH")
    return int(found[1])


Seen = Annotated[int | None, Depends(if_match)]
