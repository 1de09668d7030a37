"""The one table of access: every route with who may use it, on whose objects, and what it demands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from models.permissions import Permission
from pipeline.command import Command
from pipeline.commands import desk
from pipeline.core.principals import Way


class Scope(StrEnum):
    """What a route touches: an object of another organization is answered as if it did not exist."""

    PROCESS = "process"
    SESSION = "session"
    ORGANIZATION = "organization"
    MAILBOX = "mailbox"
    DEAD_LETTER = "dead_letter"
    BULK = "bulk"
    REPROCESSING = "reprocessing"
    TICKET = "ticket"
    OUTBOUND = "outbound"
    QUARANTINE = "quarantine"
    CALENDAR = "calendar"
    SLA_POLICY = "sla_policy"
    OCCURRENCE = "occurrence"
    API_TOKEN = "api_token"  # noqa: S105 - a kind of object
    PERSON = "person"
    ROLE = "role"
    ACCOUNT = "account"
    SITE = "site"
    ALLOWLIST = "allowlist"
    ROUTING_RULE = "routing_rule"
    SAVED_VIEW = "saved_view"
    QUEUE = "queue"


#: What is reached through a ticket, or is the asker's own.
_WITHIN_REACH = frozenset({Scope.SESSION, Scope.TICKET, Scope.OUTBOUND})


@dataclass(frozen=True, slots=True)
class Access:
    """One row: a route without a permission is public."""

    method: str
    path: str
    scope: Scope
    permission: Permission | None = None
    #: With a session's cookie, the double-submitted token and the same origin are demanded.
    needs_csrf: bool = False
    #: Counted against the limit of its client's address.
    is_limited: bool = False
    #: The setting that must be true; otherwise the route does not exist.
    switch: str | None = None
    #: What a refusal in words is answered with: bad input, or the state of the object.
    refusal: int = 400
    #: A public route that wants to know who asks, if anybody does.
    is_told_who: bool = False
    #: The ways in that are good for it; None for all.
    ways: frozenset[Way] | None = None
    #: What the audit trail calls it; None for the permission's name.
    action: str | None = None
    #: The tools of contract 000 that it is; a caller that names another is refused.
    tools: tuple[str, ...] = ()
    #: Its queries keep within the reach of who asks. What does not is for those alone who reach the organization.
    is_reach_kept: bool = False

    @property
    def is_public(self) -> bool:
        """True when nobody needs to sign in."""
        return self.permission is None

    @property
    def asks_who(self) -> bool:
        """True when it is looked up who asks: a probe must not need a database for a cookie that came along."""
        return not self.is_public or self.is_told_who

    @property
    def is_change(self) -> bool:
        """True when it may change something."""
        return self.method != "GET"


def _public(
    method: str,
    path: str,
    *,
    needs_csrf: bool = False,
    is_limited: bool = False,
    switch: str | None = None,
    is_told_who: bool = False,
    action: str | None = None,
) -> Access:
    return Access(
        method,
        path,
        Scope.PROCESS,
        None,
        needs_csrf,
        is_limited,
        switch,
        is_told_who=is_told_who or needs_csrf,
        action=action,
    )


def _read(
    path: str, scope: Scope, permission: Permission, *, is_reach_kept: bool = False, refusal: int = 400
) -> Access:
    is_kept = is_reach_kept or scope in _WITHIN_REACH
    return Access("GET", path, scope, permission, refusal=refusal, is_reach_kept=is_kept)


def _change(
    path: str,
    scope: Scope,
    permission: Permission,
    *,
    method: str = "POST",
    is_limited: bool = False,
    refusal: int = 409,
    ways: frozenset[Way] | None = None,
    action: str | None = None,
    is_reach_kept: bool = False,
) -> Access:
    """Return the row of a change; `method` is POST, PUT, PATCH or DELETE."""
    return Access(
        method,
        path,
        scope,
        permission,
        needs_csrf=True,
        is_limited=is_limited,
        refusal=refusal,
        ways=ways,
        action=action,
        is_reach_kept=is_reach_kept or scope in _WITHIN_REACH,
    )


def _command(path: str, command: Command[Any, Any], *, method: str = "POST") -> Access:
    """Return the row of a command's route: its permission, what it is done to, and its name stand in the command."""
    return _change(
        path,
        Scope(command.target.kind),
        command.permission,
        method=method,
        action=command.name,
        is_reach_kept=True,
    )


#: A session ends and changes by its own cookie only.
_BY_COOKIE = frozenset({Way.SESSION})
#: A token makes no tokens: else revoking one would not be enough.
_BY_HAND = frozenset({Way.SESSION, Way.ACCESS_TOKEN})

ROWS = (
    _public("GET", "/openapi.json"),
    _public("GET", "/healthz"),
    _public("GET", "/readyz"),
    _public("GET", "/metrics", switch="enable_prometheus_metrics"),
    _public("GET", "/auth/csrf", is_limited=True, is_told_who=True),
    _public("GET", "/auth/oidc/start", is_limited=True, switch="is_oidc_served"),
    _public("GET", "/auth/oidc/callback", is_limited=True, switch="is_oidc_served", is_told_who=True),
    _public(
        "POST",
        "/auth/dev/login",
        needs_csrf=True,
        is_limited=True,
        switch="is_dev_login_served",
        action="session.begin",
    ),
    # Its caller is proved by a token of its own, before its body is read (`ops_api.push_door`).
    _public("POST", "/push/gmail", switch="is_push_served"),
    _change(
        "/auth/logout", Scope.SESSION, Permission.OWN_SESSION, is_limited=True, ways=_BY_COOKIE, action="session.end"
    ),
    _change(
        "/auth/switch-org",
        Scope.SESSION,
        Permission.OWN_SESSION,
        is_limited=True,
        refusal=403,
        ways=_BY_COOKIE,
        action="session.switch",
    ),
    _read("/me", Scope.SESSION, Permission.OWN_SESSION),
    _read("/api-tokens", Scope.ORGANIZATION, Permission.TOKENS_CHANGE),
    _change("/api-tokens", Scope.ORGANIZATION, Permission.TOKENS_CHANGE, refusal=422, ways=_BY_HAND),
    _change("/api-tokens/{token_id}", Scope.API_TOKEN, Permission.TOKENS_CHANGE, method="DELETE"),
    # Proved by what their bodies hold: a password, a refresh token, a token from a mail (contract 004).
    _public("POST", "/api/v1/auth/login", is_limited=True, action="session.begin"),
    _public("POST", "/api/v1/auth/refresh", is_limited=True, action="session.refresh"),
    _public("POST", "/api/v1/auth/logout", is_limited=True, action="session.end"),
    _public("POST", "/api/v1/auth/forgot-password", is_limited=True, action="password.forgot"),
    _public("POST", "/api/v1/auth/reset-password", is_limited=True, action="password.reset"),
    _read("/api/v1/me", Scope.SESSION, Permission.OWN_SESSION),
    _read("/api/v1/me/profile", Scope.SESSION, Permission.OWN_SESSION),
    _read("/people", Scope.ORGANIZATION, Permission.PEOPLE_READ),
    _change("/people", Scope.ORGANIZATION, Permission.PEOPLE_CHANGE, refusal=422),
    _read("/people/{person_id}", Scope.PERSON, Permission.PEOPLE_READ),
    _change("/people/{person_id}", Scope.PERSON, Permission.PEOPLE_CHANGE, method="PATCH", refusal=422),
    _read("/roles", Scope.ORGANIZATION, Permission.PEOPLE_READ),
    _change("/roles", Scope.ORGANIZATION, Permission.PEOPLE_CHANGE, refusal=422),
    _change("/roles/{role_id}", Scope.ROLE, Permission.PEOPLE_CHANGE, method="PATCH", refusal=422),
    _change("/roles/{role_id}", Scope.ROLE, Permission.PEOPLE_CHANGE, method="DELETE", refusal=422),
    _read("/accounts", Scope.ORGANIZATION, Permission.PEOPLE_READ, is_reach_kept=True),
    _change("/accounts", Scope.ORGANIZATION, Permission.PEOPLE_CHANGE, refusal=422),
    _change("/accounts/{account_id}", Scope.ACCOUNT, Permission.PEOPLE_CHANGE, method="PATCH", refusal=422),
    _read("/sites", Scope.ORGANIZATION, Permission.PEOPLE_READ, is_reach_kept=True),
    _change("/sites", Scope.ORGANIZATION, Permission.PEOPLE_CHANGE, refusal=422),
    _change("/sites/{site_id}", Scope.SITE, Permission.PEOPLE_CHANGE, method="PATCH", refusal=422),
    _read("/mailboxes", Scope.ORGANIZATION, Permission.MAILBOXES_READ),
    _change("/mailboxes/{mailbox_id}/sync/backfill", Scope.MAILBOX, Permission.MAILBOXES_SYNC),
    _change("/mailboxes/{mailbox_id}/sync/history", Scope.MAILBOX, Permission.MAILBOXES_SYNC),
    _read("/mailboxes/{mailbox_id}/sync/status", Scope.MAILBOX, Permission.MAILBOXES_READ),
    _read("/mailboxes/{mailbox_id}/sync/audit", Scope.MAILBOX, Permission.MAILBOXES_READ),
    _change("/mailboxes/{mailbox_id}/sync/audit", Scope.MAILBOX, Permission.MAILBOXES_SYNC),
    _change("/mailboxes/{mailbox_id}/sync/reconcile", Scope.MAILBOX, Permission.MAILBOXES_SYNC),
    _read("/mailboxes/{mailbox_id}/sync/gaps", Scope.MAILBOX, Permission.MAILBOXES_READ),
    _change("/mailboxes/{mailbox_id}/sync/gaps/fill", Scope.MAILBOX, Permission.MAILBOXES_SYNC),
    _read("/mailboxes/{mailbox_id}/sync/labels", Scope.MAILBOX, Permission.MAILBOXES_READ),
    _read("/mailboxes/{mailbox_id}/connectivity", Scope.MAILBOX, Permission.MAILBOXES_READ),
    _change("/mailboxes/{mailbox_id}/sync/pause", Scope.MAILBOX, Permission.MAILBOXES_SYNC),
    _change("/mailboxes/{mailbox_id}/sync/resume", Scope.MAILBOX, Permission.MAILBOXES_SYNC),
    _read("/tickets/send-identities", Scope.ORGANIZATION, Permission.TICKETS_READ),
    _change("/tickets/{ticket_id}/reply", Scope.TICKET, Permission.TICKETS_REPLY, refusal=422),
    _read("/outbound", Scope.ORGANIZATION, Permission.TICKETS_READ, is_reach_kept=True),
    _change("/outbound/{outbound_id}/retry", Scope.OUTBOUND, Permission.TICKETS_REPLY),
    _change("/outbound/{outbound_id}/settle", Scope.OUTBOUND, Permission.TICKETS_REPLY),
    _change("/outbound/{outbound_id}/cancel", Scope.OUTBOUND, Permission.TICKETS_REPLY),
    _read("/tickets", Scope.ORGANIZATION, Permission.TICKETS_READ, is_reach_kept=True),
    _read("/tickets/saved-views", Scope.ORGANIZATION, Permission.TICKETS_READ, is_reach_kept=True),
    _change("/tickets/saved-views", Scope.ORGANIZATION, Permission.VIEWS_CHANGE),
    _change("/tickets/saved-views/{view_id}", Scope.SAVED_VIEW, Permission.VIEWS_CHANGE, method="DELETE"),
    _read("/tickets/{ticket_id}", Scope.TICKET, Permission.TICKETS_READ),
    _read("/tickets/{ticket_id}/messages", Scope.TICKET, Permission.TICKETS_READ),
    _read("/tickets/{ticket_id}/messages/{message_id}", Scope.TICKET, Permission.TICKETS_READ),
    _read("/tickets/{ticket_id}/events", Scope.TICKET, Permission.TICKETS_READ),
    _read("/tickets/{ticket_id}/notes", Scope.TICKET, Permission.TICKETS_READ),
    _read("/tickets/{ticket_id}/attachments/{attachment_id}/download", Scope.TICKET, Permission.TICKETS_READ),
    _read("/tickets/{ticket_id}/attachments/{attachment_id}/link", Scope.TICKET, Permission.TICKETS_READ),
    # Its caller is proved by the link, which names a person and these bytes (`ops_api.downloads`).
    _public("GET", "/tickets/{ticket_id}/attachments/{attachment_id}/signed/download", is_told_who=True),
    _read("/queues", Scope.ORGANIZATION, Permission.QUEUES_READ, is_reach_kept=True),
    _change("/queues", Scope.ORGANIZATION, Permission.QUEUES_CHANGE),
    _change("/queues/{queue_id}", Scope.QUEUE, Permission.QUEUES_CHANGE, method="PATCH"),
    _change("/queues/{queue_id}", Scope.QUEUE, Permission.QUEUES_CHANGE, method="DELETE"),
    _read("/queues/{queue_id}/members", Scope.QUEUE, Permission.QUEUES_READ),
    _change("/queues/{queue_id}/members/{person_id}", Scope.QUEUE, Permission.QUEUES_CHANGE, method="PUT"),
    _change("/queues/{queue_id}/members/{person_id}", Scope.QUEUE, Permission.QUEUES_CHANGE, method="DELETE"),
    _read("/tickets/{ticket_id}/conversation", Scope.TICKET, Permission.TICKETS_READ),
    _command("/tickets/{ticket_id}", desk.UPDATE, method="PATCH"),
    _command("/tickets/{ticket_id}/notes", desk.ADD_NOTE),
    _command("/tickets/{ticket_id}/tags", desk.CHANGE_TAGS),
    _change("/tickets/{ticket_id}/merge", Scope.TICKET, Permission.TICKETS_REGROUP),
    _change("/tickets/{ticket_id}/split", Scope.TICKET, Permission.TICKETS_REGROUP),
    _change("/tickets/{ticket_id}/regroupings/{regrouping_id}/undo", Scope.TICKET, Permission.TICKETS_REGROUP),
    _read("/tickets/routing/allowlist", Scope.ORGANIZATION, Permission.ROUTING_READ),
    _change("/tickets/routing/allowlist", Scope.ORGANIZATION, Permission.ROUTING_CHANGE, refusal=422),
    _change(
        "/tickets/routing/allowlist/{allowlist_id}",
        Scope.ALLOWLIST,
        Permission.ROUTING_CHANGE,
        method="PATCH",
        refusal=422,
    ),
    _change("/tickets/routing/allowlist/{allowlist_id}", Scope.ALLOWLIST, Permission.ROUTING_CHANGE, method="DELETE"),
    _read("/tickets/routing/rules", Scope.ORGANIZATION, Permission.ROUTING_READ),
    _change("/tickets/routing/rules", Scope.ORGANIZATION, Permission.ROUTING_CHANGE, refusal=422),
    _change(
        "/tickets/routing/rules/{rule_id}",
        Scope.ROUTING_RULE,
        Permission.ROUTING_CHANGE,
        method="PATCH",
        refusal=422,
    ),
    _change("/tickets/routing/rules/{rule_id}", Scope.ROUTING_RULE, Permission.ROUTING_CHANGE, method="DELETE"),
    _change(
        "/tickets/routing/simulate",
        Scope.ORGANIZATION,
        Permission.ROUTING_READ,
        refusal=422,
        action="routing.simulate",
    ),
    _change(
        "/tickets/routing/simulations",
        Scope.ORGANIZATION,
        Permission.ROUTING_READ,
        refusal=422,
        action="routing.simulate",
    ),
    _read("/tickets/routing/shadow", Scope.ORGANIZATION, Permission.ROUTING_READ),
    _read("/tickets/{ticket_id}/routing", Scope.TICKET, Permission.ROUTING_READ),
    _read("/people/{person_id}/shifts", Scope.PERSON, Permission.DUTY_READ, is_reach_kept=True),
    _change(
        "/people/{person_id}/shifts",
        Scope.PERSON,
        Permission.DUTY_CHANGE,
        method="PUT",
        refusal=422,
        is_reach_kept=True,
    ),
    _read("/people/{person_id}/leaves", Scope.PERSON, Permission.DUTY_READ, is_reach_kept=True),
    _change("/people/{person_id}/leaves", Scope.PERSON, Permission.DUTY_CHANGE, refusal=422, is_reach_kept=True),
    _change(
        "/people/{person_id}/leaves/{leave_id}",
        Scope.PERSON,
        Permission.DUTY_CHANGE,
        method="DELETE",
        is_reach_kept=True,
    ),
    _read("/sla/overview", Scope.ORGANIZATION, Permission.SLA_READ, is_reach_kept=True),
    _read("/sla/policies", Scope.ORGANIZATION, Permission.SLA_READ),
    _change("/sla/policies", Scope.ORGANIZATION, Permission.SLA_CHANGE, refusal=422),
    _change("/sla/policies/{policy_id}", Scope.SLA_POLICY, Permission.SLA_CHANGE, method="PATCH", refusal=422),
    _change("/sla/policies/{policy_id}", Scope.SLA_POLICY, Permission.SLA_CHANGE, method="DELETE"),
    _read("/sla/calendars", Scope.ORGANIZATION, Permission.SLA_READ),
    _change("/sla/calendars", Scope.ORGANIZATION, Permission.SLA_CHANGE, refusal=422),
    _change("/sla/calendars/{calendar_id}", Scope.CALENDAR, Permission.SLA_CHANGE, method="PATCH", refusal=422),
    _change("/sla/calendars/{calendar_id}", Scope.CALENDAR, Permission.SLA_CHANGE, method="DELETE"),
    _read("/sla/calendars/{calendar_id}/holidays", Scope.CALENDAR, Permission.SLA_READ),
    _change("/sla/calendars/{calendar_id}/holidays", Scope.CALENDAR, Permission.SLA_CHANGE, refusal=422),
    _change("/sla/calendars/{calendar_id}/holidays/{day}", Scope.CALENDAR, Permission.SLA_CHANGE, method="DELETE"),
    _read("/tickets/{ticket_id}/sla", Scope.TICKET, Permission.SLA_READ),
    _read("/search", Scope.ORGANIZATION, Permission.TICKETS_READ, is_reach_kept=True, refusal=422),
    _read("/audit", Scope.ORGANIZATION, Permission.AUDIT_READ),
    _read("/audit/verify", Scope.ORGANIZATION, Permission.AUDIT_READ),
    _read("/ops/mailboxes/sync", Scope.ORGANIZATION, Permission.OPS_READ),
    _read("/ops/messages/collisions", Scope.ORGANIZATION, Permission.OPS_READ),
    _change("/ops/messages/collisions/backfill", Scope.ORGANIZATION, Permission.REPROCESS),
    _read("/erasures", Scope.ORGANIZATION, Permission.ERASE),
    _change("/erasures", Scope.ORGANIZATION, Permission.ERASE, refusal=422),
    _change("/ops/reprocessings", Scope.ORGANIZATION, Permission.REPROCESS),
    _read("/ops/reprocessings", Scope.ORGANIZATION, Permission.OPS_READ),
    _read("/ops/reprocessings/{reprocessing_id}", Scope.REPROCESSING, Permission.OPS_READ),
    _change("/ops/reprocessings/{reprocessing_id}/apply", Scope.REPROCESSING, Permission.REPROCESS),
    _change("/ops/reprocessings/{reprocessing_id}/cancel", Scope.REPROCESSING, Permission.REPROCESS),
    _read("/ops/metrics/overview", Scope.ORGANIZATION, Permission.OPS_READ),
    _read("/ops/schedule", Scope.ORGANIZATION, Permission.OPS_READ),
    _read("/ops/jobs/dlq", Scope.ORGANIZATION, Permission.DEAD_LETTERS_READ),
    _read("/ops/jobs/dlq/groups", Scope.ORGANIZATION, Permission.DEAD_LETTERS_READ),
    _read("/ops/jobs/dlq/count", Scope.ORGANIZATION, Permission.DEAD_LETTERS_READ),
    _change("/ops/jobs/dlq/replay", Scope.ORGANIZATION, Permission.DEAD_LETTERS_RESOLVE),
    _change("/ops/jobs/dlq/discard", Scope.ORGANIZATION, Permission.DEAD_LETTERS_RESOLVE),
    _read("/ops/jobs/dlq/bulks", Scope.ORGANIZATION, Permission.DEAD_LETTERS_READ),
    _read("/ops/jobs/dlq/bulks/{bulk_id}", Scope.BULK, Permission.DEAD_LETTERS_READ),
    _read("/ops/jobs/dlq/bulks/{bulk_id}/items", Scope.BULK, Permission.DEAD_LETTERS_READ),
    _change("/ops/jobs/dlq/bulks/{bulk_id}/cancel", Scope.BULK, Permission.DEAD_LETTERS_RESOLVE),
    _read("/ops/jobs/dlq/letters/{letter_id}", Scope.DEAD_LETTER, Permission.DEAD_LETTERS_READ),
    _change("/ops/jobs/dlq/letters/{letter_id}/restore", Scope.DEAD_LETTER, Permission.DEAD_LETTERS_RESOLVE),
    _change("/ops/jobs/{job_id}/replay", Scope.DEAD_LETTER, Permission.DEAD_LETTERS_RESOLVE),
    _change("/ops/jobs/{job_id}/discard", Scope.DEAD_LETTER, Permission.DEAD_LETTERS_RESOLVE),
    _change("/ops/jobs/{job_id}/args", Scope.DEAD_LETTER, Permission.DEAD_LETTERS_RESOLVE, refusal=422),
    _read("/ops/occurrences/{occurrence_id}/raw", Scope.OCCURRENCE, Permission.OPS_READ),
    _read("/ops/quarantine", Scope.ORGANIZATION, Permission.QUARANTINE_READ),
    _change("/ops/quarantine/{quarantine_id}/release", Scope.QUARANTINE, Permission.QUARANTINE_RELEASE),
)

#: Every row by method and path.
TABLE: Mapping[tuple[str, str], Access] = MappingProxyType({(row.method, row.path): row for row in ROWS})
