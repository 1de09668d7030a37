"""What calls of the Gmail API cost in quota units, before and since the change of May 2026."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

COSTS_BEFORE_2026_05: Mapping[str, int] = MappingProxyType(
    {"getProfile": 1, "history.list": 2, "messages.list": 5, "messages.get": 5}
)
COSTS_SINCE_2026_05: Mapping[str, int] = MappingProxyType({**COSTS_BEFORE_2026_05, "messages.get": 20})
