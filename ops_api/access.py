"""What a row of the table of access says of a route, and how a row is made; the rows stand in `ops_api.access_rows`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import Any

from models.permissions import Permission
from pipeline.command import Command
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
    RATE = "rate"
    INVOICE = "invoice"
    PLAN = "plan"
    INVENTORY_ITEM = "inventory_item"
    ITEM_CATEGORY = "item_category"
    WORKSHOP_PART = "workshop_part"
    WORK_ORDER = "work_order"
    CHECKLIST = "checklist"
    DEVICE = "device"
    NOTIFICATION = "notification"
    PHOTO = "photo"
    CASE = "case"
    TRIAGE_POLICY = "triage_policy"
    ASSET = "asset"
    ASSET_PATTERN = "asset_pattern"


#: What is reached through a ticket, or is the asker's own.
_WITHIN_REACH = frozenset({Scope.SESSION, Scope.TICKET, Scope.OUTBOUND, Scope.DEVICE, Scope.NOTIFICATION, Scope.CASE})


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
    #: Without an `Idempotency-Key` it is refused before its body is read (contract 000).
    needs_key: bool = False
    #: Without a version as `If-Match` it is refused before its body is read (contract 004).
    needs_version: bool = False
    #: Its queries keep within the reach of who asks. What does not is for those alone who reach the organization.
    is_reach_kept: bool = False
    #: Bytes of the largest body that it takes; None for the common limit. Such a body is a file (`ops_api.uploads`).
    body_limit: int | None = None
    #: The same for a body of JSON.
    json_limit: int | None = None
    #: How long its answer may take; None for the common deadline.
    patience: timedelta | None = None

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
        return self.method not in {"GET", "HEAD"}


def public(
    method: str,
    path: str,
    *,
    needs_csrf: bool = False,
    is_limited: bool = False,
    switch: str | None = None,
    is_told_who: bool = False,
    action: str | None = None,
) -> Access:
    """Return the row of a route that nobody needs to sign in for."""
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


def read(
    path: str,
    scope: Scope,
    permission: Permission,
    *,
    method: str = "GET",
    is_reach_kept: bool = False,
    refusal: int = 400,
    tools: tuple[str, ...] = (),
) -> Access:
    """Return the row of a route that changes nothing; `method` is GET or HEAD."""
    is_kept = is_reach_kept or scope in _WITHIN_REACH
    return Access(method, path, scope, permission, refusal=refusal, is_reach_kept=is_kept, tools=tools)


def change(
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
    body_limit: int | None = None,
    json_limit: int | None = None,
    patience: timedelta | None = None,
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
        body_limit=body_limit,
        json_limit=json_limit,
        patience=patience,
    )


def command(
    path: str,
    command: Command[Any, Any],
    *,
    method: str = "POST",
    body_limit: int | None = None,
    patience: timedelta | None = None,
    needs_version: bool = False,
) -> Access:
    """Return the row of a command's route: its permission, what it is done to, and its name stand in the command.

    A command that demands a key is contract 000's: the tool of its name.
    """
    row = change(
        path,
        Scope(command.target.kind),
        command.permission,
        method=method,
        action=command.name,
        is_reach_kept=True,
        body_limit=body_limit,
        patience=patience,
    )
    tools = (command.name,) if command.needs_key else ()
    return replace(row, needs_key=command.needs_key, tools=tools, needs_version=needs_version)
