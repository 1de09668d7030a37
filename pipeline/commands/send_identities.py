"""The addresses that may be written from: added, verified, disabled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, Row, text

from models.enums import SendIdentityStatus
from pipeline.core import composing
from pipeline.core.composing import Unwritable
from pipeline.runtime.errors import UserError
from pipeline.runtime.outgoing import why_it_cannot_send

_MAILBOX = text("SELECT id, org_id, address, provider, source FROM mailboxes WHERE id = :id FOR KEY SHARE")
_ADD = text("""
    INSERT INTO send_identities (org_id, mailbox_id, from_email, display_name, status)
    VALUES (:org, :mailbox, :address, :name, :status)
        ON CONFLICT (org_id, from_email) DO UPDATE
            SET display_name = excluded.display_name, mailbox_id = excluded.mailbox_id, is_enabled = true,
                status = CASE WHEN send_identities.mailbox_id = excluded.mailbox_id
                                   AND send_identities.status = 'verified' THEN 'verified' ELSE excluded.status END
    RETURNING id
""")
_FIND = text("""
    SELECT i.id, i.org_id, i.mailbox_id, i.from_email, i.status, x.address AS mailbox
      FROM send_identities i JOIN mailboxes x ON x.id = i.mailbox_id
     WHERE i.from_email = lower(:name) OR CAST(i.id AS text) = lower(:name) FOR UPDATE OF i
""")
_STATUS = text("UPDATE send_identities SET status = :status WHERE id = :id")
_ENABLED = text("UPDATE send_identities SET is_enabled = :enabled WHERE id = :id")
#: Who let an address be written from stays known; these events belong to no ticket.
_EVENT = text("""
    INSERT INTO events (org_id, kind, actor, data) VALUES (:org, :kind, :actor, CAST(:data AS jsonb))
""")


def add_identity(connection: Connection, mailbox_id: UUID, address: str, name: str, *, actor: str) -> UUID:
    """Let an address be written from through a mailbox; return its id. Adding it again changes its name and mailbox.

    The mailbox's own address is verified at once, another one when somebody proves it. Raises `UserError`.
    """
    mailbox = connection.execute(_MAILBOX, {"id": mailbox_id}).one()
    problem = why_it_cannot_send(mailbox.provider, mailbox.source)
    if problem is not None:
        raise UserError(f"{mailbox.address} cannot send: {problem}")
    try:
        cleaned = composing.address(address)
    except Unwritable as error:
        raise UserError(str(error)) from error
    status = SendIdentityStatus.VERIFIED if cleaned == mailbox.address else SendIdentityStatus.PENDING
    found: UUID = connection.execute(
        _ADD,
        {
            "org": mailbox.org_id,
            "mailbox": mailbox_id,
            "address": cleaned,
            "name": composing.display_name(name),
            "status": status.value,
        },
    ).scalar_one()
    _note(connection, mailbox.org_id, "identity.added", actor, {"address": cleaned, "mailbox": mailbox.address})
    return found


def find_identity(connection: Connection, name: str) -> Row[Any]:
    """Return an address by itself or its id, locked; raises `UserError` when there is none, or several hold it."""
    found = connection.execute(_FIND, {"name": name.strip()}).all()
    if len(found) != 1:
        problem = "is unknown" if not found else "stands for several organizations: give its id"
        raise UserError(f"the address {name!r} {problem}; see `fieldpost identity list`")
    return found[0]


def verify(connection: Connection, name: str, proved: Mapping[str, bool] | None, *, actor: str, assume: bool) -> bool:
    """Note whether the provider lets a mailbox send as an address; return it.

    `proved` is what the provider said of each address, None when it cannot tell: then a person must answer for it with
    `assume`, and is remembered.
    """
    row = find_identity(connection, name)
    if proved is None and not assume and row.from_email != row.mailbox:
        raise UserError(
            f"the provider of {row.mailbox} cannot tell whether it may send as {row.from_email}: make sure that "
            "it may, then repeat this with --assume-verified"
        )
    is_proved = assume or row.from_email == row.mailbox or bool(proved and proved.get(row.from_email))
    status = SendIdentityStatus.VERIFIED if is_proved else SendIdentityStatus.FAILED
    connection.execute(_STATUS, {"id": row.id, "status": status.value})
    by = "assumed" if assume else "provider"
    _note(connection, row.org_id, f"identity.{status.value}", actor, {"address": row.from_email, "by": by})
    return is_proved


def set_enabled(connection: Connection, name: str, *, enabled: bool, actor: str) -> None:
    """Allow or forbid writing from an address; what is queued from a forbidden one fails instead of leaving."""
    row = find_identity(connection, name)
    connection.execute(_ENABLED, {"id": row.id, "enabled": enabled})
    kind = "identity.enabled" if enabled else "identity.disabled"
    _note(connection, row.org_id, kind, actor, {"address": row.from_email})


def _note(connection: Connection, org_id: UUID, kind: str, actor: str, data: Mapping[str, str]) -> None:
    values = {"org": org_id, "kind": kind, "actor": actor, "data": orjson.dumps(data).decode()}
    connection.execute(_EVENT, values)
