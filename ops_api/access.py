"""The one table of access: every route with who may use it, on whose objects, and what it demands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Permission(StrEnum):
    """What a signed-in person may do."""

    OWN_SESSION = "session.own"
    MAILBOXES_READ = "mailboxes.read"
    MAILBOXES_SYNC = "mailboxes.sync"
    OPS_READ = "ops.read"
    TICKETS_READ = "tickets.read"
    TICKETS_REGROUP = "tickets.regroup"
    TICKETS_REPLY = "tickets.reply"
    REPROCESS = "messages.reprocess"
    DEAD_LETTERS_READ = "dead_letters.read"
    DEAD_LETTERS_RESOLVE = "dead_letters.resolve"
    QUARANTINE_READ = "quarantine.read"
    QUARANTINE_RELEASE = "quarantine.release"


class Role(StrEnum):
    """Who a person is in an organization (contract 001)."""

    ADMIN = "admin"
    AGENT = "agent"
    VIEWER = "viewer"


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
    OCCURRENCE = "occurrence"


#: Contract 001: admins operate mailboxes and jobs; agents and viewers work with tickets, and may see why one is stuck.
ROLES: Mapping[Role, frozenset[Permission]] = MappingProxyType(
    {
        Role.ADMIN: frozenset(Permission),
        Role.AGENT: frozenset(
            {
                Permission.OWN_SESSION,
                Permission.TICKETS_READ,
                Permission.TICKETS_REGROUP,
                Permission.TICKETS_REPLY,
                Permission.QUARANTINE_READ,
                Permission.DEAD_LETTERS_READ,
            }
        ),
        Role.VIEWER: frozenset({Permission.OWN_SESSION, Permission.TICKETS_READ, Permission.DEAD_LETTERS_READ}),
    }
)


@dataclass(frozen=True, slots=True)
class Access:
    """One row: a route without a permission is public."""

    method: str
    path: str
    scope: Scope
    permission: Permission | None = None
    #: The double-submitted token and the same origin are demanded.
    needs_csrf: bool = False
    #: Counted against the limit of its client's address.
    is_limited: bool = False
    #: The setting that must be true; otherwise the route does not exist.
    switch: str | None = None
    #: What a refusal in words is answered with: bad input, or the state of the object.
    refusal: int = 400

    @property
    def is_public(self) -> bool:
        """True when no session is needed."""
        return self.permission is None


def _public(
    method: str, path: str, *, needs_csrf: bool = False, is_limited: bool = False, switch: str | None = None
) -> Access:
    return Access(method, path, Scope.PROCESS, None, needs_csrf, is_limited, switch)


def _read(path: str, scope: Scope, permission: Permission) -> Access:
    return Access("GET", path, scope, permission)


def _change(path: str, scope: Scope, permission: Permission, *, is_limited: bool = False, refusal: int = 409) -> Access:
    return Access("POST", path, scope, permission, needs_csrf=True, is_limited=is_limited, refusal=refusal)


ROWS = (
    _public("GET", "/openapi.json"),
    _public("GET", "/healthz"),
    _public("GET", "/readyz"),
    _public("GET", "/metrics", switch="enable_prometheus_metrics"),
    _public("GET", "/auth/csrf", is_limited=True),
    _public("POST", "/auth/dev/login", needs_csrf=True, is_limited=True, switch="allow_dev_login"),
    # Its caller is proved by a token of its own, before its body is read (`ops_api.push_door`).
    _public("POST", "/push/gmail", switch="is_push_served"),
    _change("/auth/logout", Scope.SESSION, Permission.OWN_SESSION, is_limited=True),
    _read("/me", Scope.SESSION, Permission.OWN_SESSION),
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
    _read("/outbound", Scope.ORGANIZATION, Permission.TICKETS_READ),
    _change("/outbound/{outbound_id}/retry", Scope.OUTBOUND, Permission.TICKETS_REPLY),
    _change("/outbound/{outbound_id}/settle", Scope.OUTBOUND, Permission.TICKETS_REPLY),
    _change("/outbound/{outbound_id}/cancel", Scope.OUTBOUND, Permission.TICKETS_REPLY),
    _read("/tickets/{ticket_id}/conversation", Scope.TICKET, Permission.TICKETS_READ),
    _change("/tickets/{ticket_id}/merge", Scope.TICKET, Permission.TICKETS_REGROUP),
    _change("/tickets/{ticket_id}/split", Scope.TICKET, Permission.TICKETS_REGROUP),
    _change("/tickets/{ticket_id}/regroupings/{regrouping_id}/undo", Scope.TICKET, Permission.TICKETS_REGROUP),
    Access("GET", "/search", Scope.ORGANIZATION, Permission.TICKETS_READ, refusal=422),
    _read("/ops/mailboxes/sync", Scope.ORGANIZATION, Permission.OPS_READ),
    _read("/ops/messages/collisions", Scope.ORGANIZATION, Permission.OPS_READ),
    _change("/ops/messages/collisions/backfill", Scope.ORGANIZATION, Permission.REPROCESS),
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
