"""What people are told of work orders, in words."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from models.enums import NotificationKind
from pipeline.core.orders import Order

_KIND = NotificationKind
_TITLES: Mapping[NotificationKind, str] = MappingProxyType(
    {
        _KIND.ASSIGNED: "New work order",
        _KIND.REASSIGNED: "A work order went to somebody else",
        _KIND.DUE_SOON: "A work order is due soon",
        _KIND.OVERDUE: "A work order is overdue",
        _KIND.RETURNED: "A work order came back",
        _KIND.CANCELLED: "A work order was cancelled",
        _KIND.QC_FAILED: "Quality control asks for rework",
        _KIND.QC_PASSED: "Quality control passed your work",
    }
)


def title(kind: NotificationKind) -> str:
    """Return the line that a telephone shows in bold."""
    return _TITLES[kind]


def body(order: Order, reason: str | None = None) -> str:
    """Return what it is about: the order's code and title, and why, where there is a reason."""
    named = f"{order.code}: {order.title}" if order.title else order.code
    return f"{named} ({reason})" if reason else named
