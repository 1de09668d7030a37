"""What ties a request to logs, traces and the audit trail (contract 000: X-Correlation-Id, X-Trace-Id, traceparent)."""

from __future__ import annotations

import re

from fastapi import Request

SAFE_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


def origin_of(request: Request) -> dict[str, str | None]:
    """Return the ids of a request; one without a correlation id is correlated by its own."""
    parent = _TRACEPARENT.fullmatch(request.headers.get("traceparent", ""))
    return {
        "request_id": request.state.request_id,
        "correlation_id": _safe(request.headers.get("x-correlation-id")) or request.state.request_id,
        "trace_id": _safe(request.headers.get("x-trace-id")) or (parent[1] if parent else None),
    }


def _safe(said: str | None) -> str | None:
    return said if said and SAFE_ID.fullmatch(said) else None
