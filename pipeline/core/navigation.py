"""The five places at the bottom of the technicians' app, chosen by what somebody may do (contract 004, GET /me)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from models.permissions import Permission

SLOTS = 5


@dataclass(frozen=True, slots=True)
class Slot:
    """One place to go to; `screen` is the contract's name of it."""

    key: str
    label: str
    path: str
    screen: str | None = None


_DASHBOARD = Slot("dashboard", "Home", "/me/dashboard", "TECH-DASH")
_LAST = (
    Slot("notifications", "Notifications", "/me/notifications", "SH-NOTIF"),
    Slot("profile", "Profile", "/me/profile", "SH-PROFILE"),
)
#: In the order of their weight for who works outside.
_MIDDLE = (
    (Permission.WORK_ORDERS_READ, Slot("work_orders", "Work orders", "/me/work-orders", "TECH-WO-TODAY")),
    (Permission.TICKETS_READ, Slot("tickets", "Tickets", "/tickets")),
    (Permission.WORKSHOP_READ, Slot("workshop", "Workshop", "/tickets")),
    (Permission.CASES_READ, Slot("cases", "Cases", "/cases")),
    (Permission.TICKETS_READ, Slot("search", "Search", "/search")),
)


def slots(permissions: Collection[Permission]) -> list[Slot]:
    """Return at most five places, home first and oneself last; none that would be refused."""
    allowed = [slot for permission, slot in _MIDDLE if permission in permissions]
    return [_DASHBOARD, *allowed[: SLOTS - 1 - len(_LAST)], *_LAST]
