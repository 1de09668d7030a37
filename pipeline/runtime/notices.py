"""What is told to people themselves: written down sealed in the transaction that makes it necessary, sent later."""

from __future__ import annotations

import secrets as random
from uuid import UUID

import orjson
from sqlalchemy import Connection, text

from models.enums import Lane, NoticeKind
from pipeline.core.notices import Words
from pipeline.runtime import ledger
from pipeline.runtime.jobs import Emit
from pipeline.runtime.ledger import Line
from pipeline.runtime.secrets import Secrets

_PURPOSE = "notice"
_FRESH = text("SELECT uuidv7()")
_TELL = text("""
    INSERT INTO notices (id, org_id, person_id, kind, recipient, sealed)
    VALUES (:id, :org, :person, :kind, :recipient, :sealed)
""")


def tell(
    connection: Connection,
    secrets: Secrets,
    *,
    org_id: UUID,
    person_id: UUID,
    kind: NoticeKind,
    recipient: str,
    words: Words,
) -> set[Line]:
    """Write down what somebody is told, and the job that sends it; return the lines that have work now."""
    notice_id: UUID = connection.execute(_FRESH).scalar_one()
    values = {"id": notice_id, "org": org_id, "person": person_id, "kind": kind.value, "recipient": recipient}
    connection.execute(_TELL, values | {"sealed": _sealed(secrets, notice_id, words)})
    trace_id = random.token_hex(16)
    return ledger.put(connection, [Emit("notify", str(notice_id), org_id, None, Lane.LIVE, 0, trace_id)])


def opened(secrets: Secrets, notice_id: UUID, sealed: bytes) -> Words:
    """Return what a notice says. Raises as `Secrets.unseal`."""
    said = orjson.loads(secrets.unseal(_PURPOSE, str(notice_id), sealed))
    return Words(said["subject"], said["body"])


def _sealed(secrets: Secrets, notice_id: UUID, words: Words) -> bytes:
    return secrets.seal(_PURPOSE, str(notice_id), orjson.dumps({"subject": words.subject, "body": words.body}))
