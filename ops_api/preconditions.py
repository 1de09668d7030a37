"""Changes that must say which version they were made for (RFC 6585, section 3): refused before their body is read."""

from __future__ import annotations

from ops_api.answers import Refusal

#: What contract 004 leaves open (seed-behaviours, 5.3, point 2).
CODE = "IF_MATCH_REQUIRED"


def demand_version(if_match: str | None) -> None:
    """Refuse with 428 a change without `If-Match`, or with one that fits any version; `*` protects nothing."""
    if if_match is None or if_match.strip() in {"", "*"}:
        said = "read it first, and send the version of its ETag as If-Match"
        raise Refusal(428, said, code=CODE)
