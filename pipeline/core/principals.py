"""Who acts: one value for every way in, with what they may do and how far that reaches."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from models.enums import ActorKind, Reach
from models.permissions import Permission

_FIELD = frozenset({Permission.TECH_CHECK_IN, Permission.TECH_REQUEST_CHANGE, Permission.TECH_COMPLETE})


class Way(StrEnum):
    """How somebody proved who they are."""

    SESSION = "session"  #: the cookie; changes need its CSRF token
    ACCESS_TOKEN = "access_token"  # noqa: S105 - our own bearer token (contract 004)
    BEARER = "bearer"  #: another issuer's bearer token (contract 000)
    API_TOKEN = "api_token"  # noqa: S105 - a token for cron and scripts
    HEADERS = "headers"  #: the development fallback (contract 000)
    LINK = "link"  #: a customer's link to one ticket's visit


@dataclass(frozen=True, slots=True)
class Scope:
    """How far permissions reach. Accounts and sites are None where they do not narrow; an empty set permits nothing."""

    reach: Reach = Reach.ORGANIZATION
    account_ids: frozenset[UUID] | None = None
    site_ids: frozenset[UUID] | None = None
    team_id: UUID | None = None
    #: The queues that a person of reach `team` works.
    queue_ids: frozenset[UUID] = frozenset()
    #: The one ticket that a customer's link is about.
    ticket_id: UUID | None = None

    @property
    def is_whole(self) -> bool:
        """True when everything of the organization is reached."""
        narrowed = (self.account_ids, self.site_ids, self.ticket_id)
        return self.reach is Reach.ORGANIZATION and all(one is None for one in narrowed)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, for which organization; built anew for every request, so that a changed row works at once."""

    org_id: UUID
    #: What the audit trail calls them: a person's id, or the subject of a token.
    actor_id: str
    actor_kind: ActorKind
    #: None for a token's subject that is nobody we know.
    person_id: UUID | None
    #: For people to read: an address, or the actor's id.
    email: str
    role: str
    permissions: frozenset[Permission]
    scope: Scope
    way: Way
    session_id: UUID | None = None
    created_at: datetime | None = None
    expires_at: datetime | None = None

    @property
    def is_sent(self) -> bool:
        """True for who does a technician's work and sends nobody: theirs are the tickets that they are sent to.

        By permissions, since an organization may call its technicians as it likes.
        """
        return not self.permissions.isdisjoint(_FIELD) and Permission.ASSIGNMENT_DISPATCH not in self.permissions

    def may(self, permission: Permission | None) -> bool:
        """Say whether the permission is held; None asks for none."""
        return permission is None or permission in self.permissions
