"""Who runs a command, and what the audit trail is told of it."""

from __future__ import annotations

import os
import pwd
from uuid import UUID

from sqlalchemy import Connection

from models.permissions import Permission
from pipeline.runtime import auditing
from pipeline.runtime.auditing import Entry


def operator() -> str:
    """Return the name of the operating system's user, else the number."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def actor() -> str:
    """Return what the audit trail and notes call who runs a command."""
    return f"cli:{operator()}"


def leave_row(connection: Connection, org_id: UUID, done: Permission, kind: str, target_id: object) -> None:
    """Tell the audit trail what was done at the machine, by the name that it has over HTTP."""
    auditing.append(connection, Entry(org_id, done.value, actor(), target_kind=kind, target_id=str(target_id)))
