"""Whose points and levels somebody may read: their own, and others' with the permission."""

from __future__ import annotations

from uuid import UUID

from models.permissions import Permission
from ops_api.answers import Refusal
from pipeline.core.principals import Principal


def sees_others(principal: Principal) -> bool:
    """Say whether somebody may read the points and levels of others."""
    return principal.may(Permission.XP_READ) and principal.scope.is_whole


def check_own(principal: Principal, person_id: UUID | None) -> None:
    """Raise `Refusal` (403) unless it is about who asks, or they may read what is others'."""
    if not sees_others(principal) and (person_id is None or person_id != principal.person_id):
        raise Refusal(403, "you may read your own alone; those of others need xp.read", code="forbidden")
