"""Row-level security by organization: the barrier behind the queries' own conditions (reliability, section 5).

A request's transaction takes on the database role `fieldpost_request` and says which organization it is for; every
table with an organization then shows and takes its rows only. Workers, the command line and migrations own the tables
and are not barred. An index on an expression, an array or a document cannot be used behind the barrier, because
PostgreSQL calls no function on rows before it knows that they may be seen; what needs one steps out with `unbarred`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from uuid import UUID

from sqlalchemy import Connection, MetaData, text
from sqlalchemy.exc import DBAPIError, PendingRollbackError

#: One role for all databases of a server: it owns nothing, cannot log in, and is taken on by whoever serves requests.
ROLE = "fieldpost_request"
#: Built-in rows (no organization) of these may be read by all.
_SHARED = frozenset({"roles", "incident_templates"})
#: Requests add to the audit trail and take nothing from it; workers erase its details (reliability, section 5).
APPEND_ONLY = (
    *("audit_events", "audit_details", "work_order_events", "work_session_events", "xp_transactions", "level_events"),
    "level_coupons",
    *("case_assessments", "verification_outcomes", "case_truths"),
)
#: With an organization, and yet not barred: found by indexes that the barrier forbids; what is read there is joined
#: with a table that is barred.
OPEN = frozenset({"message_search", "ticket_words"})

_OWN = "org_id = (SELECT CAST(nullif(current_setting('app.org_id', true), '') AS uuid))"
_OF_OWN_ROLE = f"EXISTS (SELECT FROM roles WHERE roles.id = role_permissions.role_id AND roles.{_OWN})"
#: No organization stands in these rows: a role's permissions are changed by its organization, and read by all.
_PERMISSIONS_OF_OWN_ROLES = (
    "ALTER TABLE role_permissions ENABLE ROW LEVEL SECURITY",
    f"CREATE POLICY built_in ON role_permissions FOR SELECT TO {ROLE} USING (true)",
    f"CREATE POLICY by_organization ON role_permissions TO {ROLE} USING ({_OF_OWN_ROLE}) WITH CHECK ({_OF_OWN_ROLE})",
)

_HAS_ROLE = text("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = :role)")
_MAY_TAKE = text("""
    SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = :role) AND pg_has_role(current_user, :role, 'SET')
""")
_MAY_CREATE = text("SELECT rolcreaterole OR rolsuper FROM pg_roles WHERE rolname = current_user")
_SECURED = text("""
    SELECT tablename FROM pg_policies WHERE policyname = 'by_organization' AND schemaname = current_schema()
""")
_BIND = text("SELECT set_config('role', :role, true), set_config('app.org_id', :org, true)")
_TAKE = text("SELECT set_config('role', :role, true)")
_BARRED = "is_barred"


def secured(metadata: MetaData) -> list[str]:
    """Return the tables that are barred, by name."""
    return sorted(name for name, table in metadata.tables.items() if "org_id" in table.columns and name not in OPEN)


def secure(connection: Connection, metadata: MetaData) -> bool:
    """Put up the barrier around every table that has an organization; False where no role may be made.

    Idempotent; a table that a later version adds is barred by its migration's run.
    """
    if not _ensure_role(connection):
        return False
    schema = connection.execute(text("SELECT quote_ident(current_schema())")).scalar_one()
    there = set(connection.execute(_SECURED).scalars())
    if "role_permissions" not in there:
        for statement in _PERMISSIONS_OF_OWN_ROLES:
            connection.execute(text(statement))
    for statement in _grants(schema):
        connection.execute(text(statement))
    for table in secured(metadata):
        if table not in there:
            for statement in _policy(table):
                connection.execute(text(statement))
    return True


def is_ready(connection: Connection) -> bool:
    """Say whether a request's transaction can take on the role."""
    return bool(connection.execute(_MAY_TAKE, {"role": ROLE}).scalar_one())


def bind(connection: Connection, org_id: UUID) -> None:
    """Put the rest of the transaction behind the barrier, for one organization."""
    connection.execute(_BIND, {"role": ROLE, "org": str(org_id)})
    connection.execution_options(**{_BARRED: True})


def is_bound(connection: Connection) -> bool:
    """Say whether the connection's transaction is behind the barrier; asks nothing of the database."""
    return bool(connection.get_execution_options().get(_BARRED))


@contextmanager
def unbarred(connection: Connection) -> Iterator[None]:
    """Let one query of a bound transaction use an index that the barrier forbids; it must name its organization.

    Whatever the query raises, the barrier stands again afterwards.
    """
    if not is_bound(connection):
        yield
        return
    connection.execute(_TAKE, {"role": "none"})
    connection.execution_options(**{_BARRED: False})
    try:
        yield
    except BaseException:
        # In a transaction that has failed nothing runs; going back to a savepoint then takes the role back, too. On a
        # connection that was cut nothing runs either, and the cut is what must be told.
        with suppress(DBAPIError, PendingRollbackError):
            connection.execute(_TAKE, {"role": ROLE})
        connection.execution_options(**{_BARRED: True})
        raise
    connection.execute(_TAKE, {"role": ROLE})
    connection.execution_options(**{_BARRED: True})


def _ensure_role(connection: Connection) -> bool:
    if not connection.execute(_HAS_ROLE, {"role": ROLE}).scalar_one():
        if not connection.execute(_MAY_CREATE).scalar_one():
            return False
        # Another database of the server may make it at the same time.
        connection.execute(
            text(f"""
            DO $$ BEGIN
                CREATE ROLE {ROLE} NOLOGIN;
            EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
            END $$
        """)
        )
    if not is_ready(connection):
        if not connection.execute(_MAY_CREATE).scalar_one():
            return False
        connection.execute(text(f"GRANT {ROLE} TO CURRENT_USER"))
    return True


def _grants(schema: str) -> Iterator[str]:
    yield f"GRANT USAGE ON SCHEMA {schema} TO {ROLE}"
    yield f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {ROLE}"
    yield f"REVOKE UPDATE, DELETE ON {', '.join(APPEND_ONLY)} FROM {ROLE}"
    yield f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {ROLE}"


def _policy(table: str) -> Iterator[str]:
    yield f'ALTER TABLE "{table}" ENABLE ROW LEVEL SECURITY'
    yield f'CREATE POLICY by_organization ON "{table}" TO {ROLE} USING ({_OWN}) WITH CHECK ({_OWN})'
    if table in _SHARED:
        # For reading alone: else one organization could change or take away what all have.
        yield f'CREATE POLICY built_in ON "{table}" FOR SELECT TO {ROLE} USING (org_id IS NULL)'
