"""Forgetting sessions, devices, tokens, notices and tries that are over: what happened stands in the audit trail."""

from __future__ import annotations

from sqlalchemy import Connection, text

from pipeline.runtime import device_rows

#: Ids grow with time, so that what is old is a range of the primary key. A refresh token is good for 30 days, a token
#: for a password for 7; what is older by a day opens nothing, whoever has it.
_REFRESH_TOKENS = text("""
    DELETE FROM refresh_tokens WHERE id = ANY(ARRAY(
        SELECT id FROM refresh_tokens WHERE id < (SELECT uuidv7(interval '-31 days')) ORDER BY id LIMIT :most))
""")
_RESET_TOKENS = text("""
    DELETE FROM reset_tokens WHERE id = ANY(ARRAY(
        SELECT id FROM reset_tokens WHERE id < (SELECT uuidv7(interval '-30 days')) ORDER BY id LIMIT :most))
""")
_NOTICES = text("""
    DELETE FROM notices WHERE id = ANY(ARRAY(
        SELECT id FROM notices WHERE id < (SELECT uuidv7(interval '-30 days')) ORDER BY id LIMIT :most))
""")
_NOTIFICATIONS = text("""
    DELETE FROM notifications WHERE id = ANY(ARRAY(
        SELECT id FROM notifications WHERE id < (SELECT uuidv7(interval '-180 days')) ORDER BY id LIMIT :most))
""")
#: With the tokens of a family.
_SESSIONS = text("""
    DELETE FROM sessions WHERE id = ANY(ARRAY(
        SELECT id FROM sessions WHERE expires_at < now() - interval '30 days' ORDER BY expires_at LIMIT :most))
""")
#: Names that nobody has and nobody has tried since.
_UNKNOWN = text("""
    DELETE FROM unknown_logins WHERE identifier_sha256 = ANY(ARRAY(
        SELECT identifier_sha256 FROM unknown_logins WHERE tried_at < now() - interval '30 days'
         ORDER BY tried_at LIMIT :most FOR UPDATE SKIP LOCKED))
""")


def forget(connection: Connection, most: int = 100_000) -> int:
    """Forget what has been over for a month, at most so many of each kind; return how many.

    What people were notified of is kept for half a year. Devices go before the sessions that they came by.
    """
    statements = (_REFRESH_TOKENS, _RESET_TOKENS, _NOTICES, _NOTIFICATIONS, _SESSIONS, _UNKNOWN)
    devices = device_rows.forget(connection, most)
    return devices + sum(connection.execute(statement, {"most": most}).rowcount for statement in statements)
