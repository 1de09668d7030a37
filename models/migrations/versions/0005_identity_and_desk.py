"""Identity, access, the audit trail, the ticket desk, and service levels as ledgers."""

# Deploys roll: everything here is added, with defaults, so the version before works on.

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"

#: Code, name, aliases, permissions, as this version seeds them.
_ROLES: tuple[tuple[str, str, list[str], list[str]], ...] = (
    (
        "admin",
        "Administrator",
        ["super_admin", "dispatcher_admin"],
        [
            "approval.decide",
            "assignment.dispatch",
            "audit.read",
            "billing.generate_invoice",
            "cases.dispatch",
            "cases.read",
            "cases.triage",
            "cases.verify",
            "closeout.add_evidence",
            "closeout.read_evidence",
            "dead_letters.read",
            "dead_letters.resolve",
            "duty.change",
            "duty.read",
            "mailboxes.read",
            "mailboxes.sync",
            "messages.reprocess",
            "ops.read",
            "people.change",
            "people.erase",
            "people.read",
            "qa.verify",
            "quarantine.read",
            "quarantine.release",
            "queues.change",
            "queues.read",
            "routing.change",
            "routing.read",
            "schedule.confirm",
            "schedule.propose",
            "session.own",
            "sla.change",
            "sla.read",
            "tech.check_in",
            "tech.complete",
            "tech.request_change",
            "ticket.create",
            "ticket.triage",
            "tickets.change",
            "tickets.note",
            "tickets.read",
            "tickets.regroup",
            "tickets.reply",
            "tokens.change",
            "views.change",
            "work_orders.assign",
            "work_orders.create",
            "work_orders.outsource",
            "work_orders.read",
            "work_orders.work",
            "workshop.assign",
            "workshop.create",
            "workshop.metrics",
            "workshop.qc",
            "workshop.read",
            "workshop.work",
        ],
    ),
    (
        "agent",
        "Agent",
        ["assistant", "bot"],
        [
            "cases.read",
            "cases.triage",
            "closeout.add_evidence",
            "closeout.read_evidence",
            "dead_letters.read",
            "duty.read",
            "quarantine.read",
            "queues.read",
            "routing.read",
            "schedule.propose",
            "session.own",
            "sla.read",
            "ticket.create",
            "ticket.triage",
            "tickets.change",
            "tickets.note",
            "tickets.read",
            "tickets.regroup",
            "tickets.reply",
            "views.change",
        ],
    ),
    ("viewer", "Viewer", [], ["dead_letters.read", "queues.read", "session.own", "tickets.read"]),
    (
        "dispatcher",
        "Dispatcher",
        [],
        [
            "approval.decide",
            "assignment.dispatch",
            "cases.dispatch",
            "cases.read",
            "cases.triage",
            "cases.verify",
            "closeout.add_evidence",
            "closeout.read_evidence",
            "dead_letters.read",
            "duty.read",
            "qa.verify",
            "queues.read",
            "schedule.confirm",
            "schedule.propose",
            "session.own",
            "sla.read",
            "tech.check_in",
            "tech.complete",
            "ticket.create",
            "ticket.triage",
            "tickets.change",
            "tickets.note",
            "tickets.read",
            "tickets.reply",
            "views.change",
            "work_orders.read",
        ],
    ),
    ("customer", "Customer", [], ["schedule.confirm", "session.own", "tickets.read"]),
    (
        "technician",
        "Technician",
        ["tech"],
        [
            "closeout.add_evidence",
            "closeout.read_evidence",
            "session.own",
            "tech.check_in",
            "tech.complete",
            "tech.request_change",
            "tickets.read",
            "work_orders.read",
            "work_orders.work",
            "workshop.read",
            "workshop.work",
        ],
    ),
    (
        "qa",
        "Quality control",
        ["qc_inspector"],
        ["closeout.read_evidence", "qa.verify", "session.own", "tickets.read", "workshop.qc", "workshop.read"],
    ),
    ("approver", "Approver", [], ["approval.decide", "closeout.read_evidence", "session.own", "tickets.read"]),
    ("finance", "Finance", [], ["billing.generate_invoice", "closeout.read_evidence", "session.own", "tickets.read"]),
    (
        "master",
        "Workshop master",
        [],
        ["duty.read", "session.own", "tickets.read", "work_orders.read", "workshop.create", "workshop.read"],
    ),
    (
        "ops_manager",
        "Operations manager",
        [],
        [
            "duty.change",
            "duty.read",
            "session.own",
            "tickets.read",
            "work_orders.read",
            "workshop.assign",
            "workshop.read",
        ],
    ),
    (
        "maintenance_lead",
        "Maintenance team leader",
        [],
        [
            "duty.change",
            "duty.read",
            "session.own",
            "tickets.read",
            "work_orders.assign",
            "work_orders.outsource",
            "work_orders.read",
            "workshop.read",
        ],
    ),
    (
        "operations_lead",
        "Operations team leader",
        [],
        ["duty.read", "session.own", "tickets.read", "work_orders.create", "work_orders.read", "workshop.read"],
    ),
    ("store_manager", "Store manager", [], ["session.own", "tickets.read", "work_orders.read"]),
)

#: The audit trail takes rows and gives none back; of its details nothing but their erasure.
_APPEND_ONLY = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the table % is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE FUNCTION allow_erasure() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.erased_at IS NULL AND NEW.erased_at IS NOT NULL AND NEW.data IS NULL
       AND (NEW.org_id, NEW.number) = (OLD.org_id, OLD.number) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'the table % is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON audit_events FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON audit_events EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON audit_details FOR EACH ROW EXECUTE FUNCTION allow_erasure();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON audit_details EXECUTE FUNCTION refuse_change();
"""

#: Tickets come in batches: one statement adds the words of all. A code is found by its own index: random letters would
#: cost this one ten new pages each.
_WORDS = """
CREATE FUNCTION add_ticket_words() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ticket_words (ticket_id, org_id, haystack, tags)
    SELECT id, org_id, lower(concat_ws(chr(10), left(subject, 1000), requester_email)), tags FROM fresh;
    RETURN NULL;
END $$;
CREATE FUNCTION keep_ticket_words() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ticket_words (ticket_id, org_id, haystack, tags)
    VALUES (NEW.id, NEW.org_id, lower(concat_ws(chr(10), left(NEW.subject, 1000), NEW.requester_email)), NEW.tags)
    ON CONFLICT (ticket_id) DO UPDATE SET org_id = excluded.org_id, haystack = excluded.haystack, tags = excluded.tags;
    RETURN NULL;
END $$;
CREATE TRIGGER add_words AFTER INSERT ON tickets REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION add_ticket_words();
CREATE TRIGGER keep_changed_words AFTER UPDATE OF subject, requester_email, tags, org_id ON tickets
    FOR EACH ROW WHEN ((OLD.subject, OLD.requester_email, OLD.tags, OLD.org_id)
                       IS DISTINCT FROM (NEW.subject, NEW.requester_email, NEW.tags, NEW.org_id))
    EXECUTE FUNCTION keep_ticket_words();
INSERT INTO ticket_words (ticket_id, org_id, haystack, tags)
SELECT id, org_id, lower(concat_ws(chr(10), left(subject, 1000), requester_email)), tags FROM tickets;
"""

_ROLE = sa.text("INSERT INTO roles (code, name, aliases) VALUES (:code, :name, :aliases) RETURNING id")
_PERMISSIONS = sa.text("""
    INSERT INTO role_permissions (role_id, permission) SELECT :role, unnest(CAST(:permissions AS text[]))
""")


def upgrade() -> None:
    """Apply."""
    op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    op.create_table(
        "login_states",
        sa.Column("state_hash", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("return_to", sa.Text(), server_default=sa.text("'/'"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("state_hash", name=op.f("pk_login_states")),
    )
    op.create_index(op.f("ix_login_states_expires_at"), "login_states", ["expires_at"], unique=False)
    op.create_table(
        "people",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("phone", sa.Text(), nullable=True),
        sa.Column("full_name", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("password_changed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failed_logins", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("locked_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("erased_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("email = lower(email)", name=op.f("ck_people_email_lower")),
        sa.CheckConstraint("erased_at IS NOT NULL OR num_nonnulls(email, phone) > 0", name=op.f("ck_people_reachable")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_people")),
    )
    op.create_index("uq_people_email", "people", ["email"], unique=True, postgresql_where=sa.text("email IS NOT NULL"))
    op.create_index("uq_people_phone", "people", ["phone"], unique=True, postgresql_where=sa.text("phone IS NOT NULL"))
    op.create_table(
        "unknown_logins",
        sa.Column("identifier_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("failed", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("locked_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tried_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("identifier_sha256", name=op.f("pk_unknown_logins")),
    )
    op.create_index(op.f("ix_unknown_logins_tried_at"), "unknown_logins", ["tried_at"], unique=False)
    op.create_table(
        "accounts",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("name <> ''", name=op.f("ck_accounts_name_not_blank")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_accounts_org_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
        sa.UniqueConstraint("org_id", "name", name=op.f("uq_accounts_org_id_name")),
    )
    op.create_table(
        "audit_events",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor_kind", sa.Text(), nullable=False),
        sa.Column("actor_id", sa.Text(), nullable=False),
        sa.Column("actor_role", sa.Text(), nullable=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("target_kind", sa.Text(), nullable=True),
        sa.Column("target_id", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("correlation_id", sa.Text(), nullable=True),
        sa.Column("trace_id", sa.Text(), nullable=True),
        sa.Column("details_sha256", sa.LargeBinary(), nullable=True),
        sa.Column("previous", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint(
            "(outcome = 'refused') = (code IS NOT NULL)", name=op.f("ck_audit_events_code_when_refused")
        ),
        sa.CheckConstraint(
            "actor_kind IN ('HUMAN', 'AGENT', 'SERVICE', 'SYSTEM')", name=op.f("ck_audit_events_actor_kind_legal")
        ),
        sa.CheckConstraint("outcome IN ('done', 'refused')", name=op.f("ck_audit_events_outcome_legal")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_audit_events_org_id")),
        sa.PrimaryKeyConstraint("org_id", "number", name=op.f("pk_audit_events")),
    )
    op.create_index(
        op.f("ix_audit_events_org_id_target_id_number"), "audit_events", ["org_id", "target_id", "number"], unique=False
    )
    op.create_table(
        "audit_heads",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_audit_heads_org_id")),
        sa.PrimaryKeyConstraint("org_id", name=op.f("pk_audit_heads")),
    )
    op.create_table(
        "audit_seals",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("sealed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_audit_seals_org_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_seals")),
    )
    op.create_index(op.f("ix_audit_seals_org_id_number"), "audit_seals", ["org_id", "number"], unique=False)
    op.create_table(
        "calendars",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("hours", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("name <> ''", name=op.f("ck_calendars_name_not_blank")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_calendars_org_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calendars")),
        sa.UniqueConstraint("org_id", "name", name=op.f("uq_calendars_org_id_name")),
    )
    op.create_table(
        "erasures",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="running", nullable=False),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("address_sha256", sa.LargeBinary(), nullable=True),
        sa.Column("before_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("position", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("counts", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(kind = 'address' AND state <> 'done') = (address IS NOT NULL)",
            name=op.f("ck_erasures_address_until_done"),
        ),
        sa.CheckConstraint(
            "(kind = 'address') = (address_sha256 IS NOT NULL)", name=op.f("ck_erasures_hash_of_address")
        ),
        sa.CheckConstraint("(kind = 'age') = (before_at IS NOT NULL)", name=op.f("ck_erasures_time_of_age")),
        sa.CheckConstraint("(state = 'done') = (finished_at IS NOT NULL)", name=op.f("ck_erasures_finished_when_done")),
        sa.CheckConstraint("kind IN ('address', 'age')", name=op.f("ck_erasures_kind_legal")),
        sa.CheckConstraint("state IN ('running', 'done')", name=op.f("ck_erasures_state_legal")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_erasures_org_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_erasures")),
    )
    op.create_index(op.f("ix_erasures_org_id_id"), "erasures", ["org_id", "id"], unique=False)
    op.create_index(
        "uq_erasures_running",
        "erasures",
        ["org_id", "kind", "address"],
        unique=True,
        postgresql_nulls_not_distinct=True,
        postgresql_where=sa.text("state = 'running'"),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("actor_id", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("body_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=True),
        sa.Column("answer", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_idempotency_keys_org_id")),
        sa.PrimaryKeyConstraint("org_id", "actor_id", "method", "path", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index(op.f("ix_idempotency_keys_expires_at"), "idempotency_keys", ["expires_at"], unique=False)
    op.create_table(
        "identities",
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_identities_person_id")),
        sa.PrimaryKeyConstraint("issuer", "subject", name=op.f("pk_identities")),
    )
    op.create_index(op.f("ix_identities_person_id"), "identities", ["person_id"], unique=False)
    op.create_table(
        "leaves",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("begins_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("begins_at < ends_at", name=op.f("ck_leaves_in_order")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_leaves_org_id")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_leaves_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_leaves")),
    )
    op.create_index(
        op.f("ix_leaves_org_id_person_id_ends_at"), "leaves", ["org_id", "person_id", "ends_at"], unique=False
    )
    op.create_table(
        "notices",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=True),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.CheckConstraint("kind IN ('password_reset', 'invitation')", name=op.f("ck_notices_kind_legal")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_notices_org_id")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_notices_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notices")),
    )
    op.create_index(
        "ix_notices_unsent", "notices", ["created_at"], unique=False, postgresql_where=sa.text("sent_at IS NULL")
    )
    op.create_table(
        "reset_tokens",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_reset_tokens_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reset_tokens")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_reset_tokens_token_hash")),
    )
    op.create_index(op.f("ix_reset_tokens_person_id"), "reset_tokens", ["person_id"], unique=False)
    op.create_table(
        "roles",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=True),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("aliases", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("code ~ '^[a-z][a-z0-9_]{0,62}$'", name=op.f("ck_roles_code_plain")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_roles_org_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_roles")),
        sa.UniqueConstraint("org_id", "code", name=op.f("uq_roles_org_id_code"), postgresql_nulls_not_distinct=True),
    )
    op.create_table(
        "saved_views",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("filters", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_by_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("name <> ''", name=op.f("ck_saved_views_name_not_blank")),
        sa.ForeignKeyConstraint(["created_by_id"], ["people.id"], name=op.f("fk_saved_views_created_by_id")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_saved_views_org_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_saved_views")),
        sa.UniqueConstraint("org_id", "name", name=op.f("uq_saved_views_org_id_name")),
    )
    op.create_table(
        "sessions",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_because", sa.Text(), nullable=True),
        sa.CheckConstraint("(kind = 'cookie') = (token_hash IS NOT NULL)", name=op.f("ck_sessions_hash_for_cookies")),
        sa.CheckConstraint("kind IN ('cookie', 'token')", name=op.f("ck_sessions_kind_legal")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_sessions_org_id")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_sessions_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_sessions_token_hash")),
    )
    op.create_index(op.f("ix_sessions_expires_at"), "sessions", ["expires_at"], unique=False)
    op.create_index(
        "ix_sessions_person_going",
        "sessions",
        ["person_id"],
        unique=False,
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_table(
        "shifts",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("weekday", sa.SmallInteger(), nullable=False),
        sa.Column("begins", sa.Time(), nullable=False),
        sa.Column("ends", sa.Time(), nullable=False),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.CheckConstraint("begins <> ends", name=op.f("ck_shifts_not_empty")),
        sa.CheckConstraint("weekday BETWEEN 0 AND 6", name=op.f("ck_shifts_weekday_range")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_shifts_org_id")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_shifts_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shifts")),
    )
    op.create_index(op.f("ix_shifts_org_id_person_id"), "shifts", ["org_id", "person_id"], unique=False)
    op.create_table(
        "api_tokens",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("role_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("hint", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_by", sa.Text(), nullable=True),
        sa.CheckConstraint("name <> ''", name=op.f("ck_api_tokens_name_not_blank")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_api_tokens_org_id")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_api_tokens_person_id")),
        sa.ForeignKeyConstraint(["role_id"], ["roles.id"], name=op.f("fk_api_tokens_role_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_tokens")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_api_tokens_token_hash")),
    )
    op.create_index(
        "uq_api_tokens_name",
        "api_tokens",
        ["org_id", "name"],
        unique=True,
        postgresql_where=sa.text("revoked_at IS NULL"),
    )
    op.create_table(
        "audit_details",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("data", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("erased_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(data IS NULL) = (erased_at IS NOT NULL)", name=op.f("ck_audit_details_erased_or_there")),
        sa.ForeignKeyConstraint(
            ["org_id", "number"],
            ["audit_events.org_id", "audit_events.number"],
            name=op.f("fk_audit_details_org_id_number"),
        ),
        sa.PrimaryKeyConstraint("org_id", "number", name=op.f("pk_audit_details")),
    )
    op.create_table(
        "holidays",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("calendar_id", sa.Uuid(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("name", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.ForeignKeyConstraint(
            ["calendar_id"], ["calendars.id"], name=op.f("fk_holidays_calendar_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_holidays_org_id")),
        sa.PrimaryKeyConstraint("calendar_id", "day", name=op.f("pk_holidays")),
    )
    op.create_table(
        "memberships",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("role_id", sa.Uuid(), nullable=False),
        sa.Column("reach", sa.Text(), server_default="organization", nullable=False),
        sa.Column("team_id", sa.Uuid(), nullable=True),
        sa.Column("reports_to_id", sa.Uuid(), nullable=True),
        sa.Column("skills", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("capacity", sa.Integer(), nullable=True),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("reach <> 'team' OR team_id IS NOT NULL", name=op.f("ck_memberships_team_when_reached")),
        sa.CheckConstraint(
            "reach IN ('organization', 'account', 'site', 'team', 'own')", name=op.f("ck_memberships_reach_legal")
        ),
        sa.CheckConstraint("capacity > 0", name=op.f("ck_memberships_capacity_positive")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_memberships_org_id")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_memberships_person_id")),
        sa.ForeignKeyConstraint(["reports_to_id"], ["people.id"], name=op.f("fk_memberships_reports_to_id")),
        sa.ForeignKeyConstraint(["role_id"], ["roles.id"], name=op.f("fk_memberships_role_id")),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_memberships_team_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_memberships")),
        sa.UniqueConstraint("org_id", "person_id", name=op.f("uq_memberships_org_id_person_id")),
    )
    op.create_index(op.f("ix_memberships_person_id"), "memberships", ["person_id"], unique=False)
    op.create_index(op.f("ix_memberships_role_id"), "memberships", ["role_id"], unique=False)
    op.create_table(
        "queue_memberships",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("queue_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("assigned_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_queue_memberships_org_id")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_queue_memberships_person_id")),
        sa.ForeignKeyConstraint(
            ["queue_id"], ["queues.id"], name=op.f("fk_queue_memberships_queue_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("queue_id", "person_id", name=op.f("pk_queue_memberships")),
    )
    op.create_index(op.f("ix_queue_memberships_person_id"), "queue_memberships", ["person_id"], unique=False)
    op.create_table(
        "refresh_tokens",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("successor_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint(
            "(used_at IS NULL) = (successor_id IS NULL)", name=op.f("ck_refresh_tokens_successor_when_used")
        ),
        sa.ForeignKeyConstraint(
            ["session_id"], ["sessions.id"], name=op.f("fk_refresh_tokens_session_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refresh_tokens")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_refresh_tokens_token_hash")),
    )
    op.create_index(op.f("ix_refresh_tokens_session_id"), "refresh_tokens", ["session_id"], unique=False)
    op.create_table(
        "role_permissions",
        sa.Column("role_id", sa.Uuid(), nullable=False),
        sa.Column("permission", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["role_id"], ["roles.id"], name=op.f("fk_role_permissions_role_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("role_id", "permission", name=op.f("pk_role_permissions")),
    )
    op.create_table(
        "sites",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("address1", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("address2", sa.Text(), nullable=True),
        sa.Column("city", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("region", sa.Text(), nullable=True),
        sa.Column("postal_code", sa.Text(), nullable=True),
        sa.Column("country", sa.Text(), server_default=sa.text("'US'"), nullable=False),
        sa.Column("timezone", sa.Text(), server_default=sa.text("'UTC'"), nullable=False),
        sa.Column("access_instructions", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("name <> ''", name=op.f("ck_sites_name_not_blank")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_sites_account_id")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_sites_org_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sites")),
        sa.UniqueConstraint("account_id", "name", name=op.f("uq_sites_account_id_name")),
    )
    op.create_index(op.f("ix_sites_org_id"), "sites", ["org_id"], unique=False)
    op.create_table(
        "sla_policies",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), server_default=sa.text("100"), nullable=False),
        sa.Column("is_enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("calendar_id", sa.Uuid(), nullable=True),
        sa.Column(
            "conditions", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column("targets", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("pauses", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{pending}'"), nullable=False),
        sa.Column("warning_minutes", sa.Integer(), server_default=sa.text("45"), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("name <> ''", name=op.f("ck_sla_policies_name_not_blank")),
        sa.CheckConstraint("warning_minutes >= 0", name=op.f("ck_sla_policies_warning_positive")),
        sa.ForeignKeyConstraint(["calendar_id"], ["calendars.id"], name=op.f("fk_sla_policies_calendar_id")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_sla_policies_org_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sla_policies")),
        sa.UniqueConstraint("org_id", "name", name=op.f("uq_sla_policies_org_id_name")),
    )
    op.create_index(op.f("ix_sla_policies_calendar_id"), "sla_policies", ["calendar_id"], unique=False)
    op.create_table(
        "membership_scopes",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("membership_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=True),
        sa.Column("site_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint("num_nonnulls(account_id, site_id) = 1", name=op.f("ck_membership_scopes_one_place")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_membership_scopes_account_id")),
        sa.ForeignKeyConstraint(
            ["membership_id"], ["memberships.id"], name=op.f("fk_membership_scopes_membership_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_membership_scopes_org_id")),
        sa.ForeignKeyConstraint(["site_id"], ["sites.id"], name=op.f("fk_membership_scopes_site_id")),
        sa.UniqueConstraint(
            "membership_id",
            "account_id",
            "site_id",
            name=op.f("uq_membership_scopes_membership_id_account_id_site_id"),
            postgresql_nulls_not_distinct=True,
        ),
    )
    op.create_table(
        "clock_intervals",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("ticket_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("because", sa.Text(), nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state IN ('running', 'paused')", name=op.f("ck_clock_intervals_state_legal")),
        sa.CheckConstraint("began_at <= ended_at", name=op.f("ck_clock_intervals_in_order")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_clock_intervals_org_id")),
        sa.ForeignKeyConstraint(["ticket_id"], ["tickets.id"], name=op.f("fk_clock_intervals_ticket_id")),
        sa.PrimaryKeyConstraint("ticket_id", "id", name=op.f("pk_clock_intervals")),
    )
    op.create_index(
        "uq_clock_intervals_open",
        "clock_intervals",
        ["ticket_id"],
        unique=True,
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_table(
        "shadow_decisions",
        sa.Column("ticket_id", sa.Uuid(), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("decision", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_shadow_decisions_org_id")),
        sa.ForeignKeyConstraint(
            ["ticket_id"], ["tickets.id"], name=op.f("fk_shadow_decisions_ticket_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("ticket_id", name=op.f("pk_shadow_decisions")),
    )
    op.create_index(
        op.f("ix_shadow_decisions_org_id_decided_at"), "shadow_decisions", ["org_id", "decided_at"], unique=False
    )
    op.create_table(
        "ticket_clocks",
        sa.Column("ticket_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), server_default="running", nullable=False),
        sa.Column("policy_id", sa.Uuid(), nullable=True),
        sa.Column("policy_version", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("target", sa.Interval(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("warn_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("warned_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("breached_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint(
            "(state = 'running') = (due_at IS NOT NULL AND ended_at IS NULL)",
            name=op.f("ck_ticket_clocks_due_while_running"),
        ),
        sa.CheckConstraint(
            "(state IN ('met', 'missed', 'cancelled')) = (ended_at IS NOT NULL)",
            name=op.f("ck_ticket_clocks_ended_when_over"),
        ),
        sa.CheckConstraint("kind IN ('response', 'resolution')", name=op.f("ck_ticket_clocks_kind_legal")),
        sa.CheckConstraint(
            "state IN ('running', 'paused', 'met', 'missed', 'cancelled')", name=op.f("ck_ticket_clocks_state_legal")
        ),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_ticket_clocks_org_id")),
        sa.ForeignKeyConstraint(["policy_id"], ["sla_policies.id"], name=op.f("fk_ticket_clocks_policy_id")),
        sa.ForeignKeyConstraint(["ticket_id"], ["tickets.id"], name=op.f("fk_ticket_clocks_ticket_id")),
        sa.PrimaryKeyConstraint("ticket_id", "kind", name=op.f("pk_ticket_clocks")),
    )
    op.create_index(
        "ix_ticket_clocks_due",
        "ticket_clocks",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("state = 'running' AND breached_at IS NULL"),
    )
    op.create_index(
        op.f("ix_ticket_clocks_policy_id"),
        "ticket_clocks",
        ["policy_id"],
        unique=False,
        postgresql_where=sa.text("policy_id IS NOT NULL"),
    )
    op.create_index(
        "ix_ticket_clocks_warn",
        "ticket_clocks",
        ["warn_at"],
        unique=False,
        postgresql_where=sa.text("state = 'running' AND warned_at IS NULL"),
    )
    op.create_table(
        "ticket_notes",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("ticket_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("body_markdown", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("body_markdown <> ''", name=op.f("ck_ticket_notes_body_not_blank")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_ticket_notes_org_id")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_ticket_notes_person_id")),
        sa.ForeignKeyConstraint(["ticket_id"], ["tickets.id"], name=op.f("fk_ticket_notes_ticket_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ticket_notes")),
    )
    op.create_index(op.f("ix_ticket_notes_ticket_id_id"), "ticket_notes", ["ticket_id", "id"], unique=False)
    op.create_table(
        "ticket_words",
        sa.Column("ticket_id", sa.Uuid(), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("haystack", sa.Text(), nullable=False),
        sa.Column("tags", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_ticket_words_org_id")),
        sa.ForeignKeyConstraint(
            ["ticket_id"], ["tickets.id"], name=op.f("fk_ticket_words_ticket_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("ticket_id", name=op.f("pk_ticket_words")),
    )
    op.create_index(
        "ix_ticket_words_haystack",
        "ticket_words",
        ["haystack"],
        unique=False,
        postgresql_using="gin",
        postgresql_ops={"haystack": "gin_trgm_ops"},
    )
    op.create_index(
        "ix_ticket_words_tags",
        "ticket_words",
        ["tags"],
        unique=False,
        postgresql_using="gin",
        postgresql_where=sa.text("tags <> '{}'"),
    )
    op.create_table(
        "transitions",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("ticket_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("from_state", sa.Text(), nullable=True),
        sa.Column("to_state", sa.Text(), nullable=False),
        sa.Column("command", sa.Text(), nullable=False),
        sa.Column("audit_number", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("kind IN ('status', 'dispatch')", name=op.f("ck_transitions_kind_legal")),
        sa.ForeignKeyConstraint(
            ["org_id", "audit_number"],
            ["audit_events.org_id", "audit_events.number"],
            name=op.f("fk_transitions_org_id_audit_number"),
        ),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_transitions_org_id")),
        sa.ForeignKeyConstraint(["ticket_id"], ["tickets.id"], name=op.f("fk_transitions_ticket_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transitions")),
    )
    op.create_index(op.f("ix_transitions_ticket_id_id"), "transitions", ["ticket_id", "id"], unique=False)
    op.add_column("blobs", sa.Column("erased_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "ix_blobs_erased", "blobs", ["kind", "sha256"], unique=False, postgresql_where=sa.text("erased_at IS NOT NULL")
    )
    op.create_index(op.f("ix_attachments_org_id_sha256"), "attachments", ["org_id", "sha256"], unique=False)
    op.add_column("messages", sa.Column("erased_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("routing_rules", sa.Column("assign_user_id", sa.Uuid(), nullable=True))
    op.add_column("routing_rules", sa.Column("strategy", sa.Text(), nullable=True))
    op.add_column(
        "routing_rules",
        sa.Column("required_skills", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
    )
    op.add_column("routing_rules", sa.Column("stop", sa.Boolean(), server_default=sa.text("true"), nullable=False))
    op.add_column(
        "routing_rules", sa.Column("is_shadow", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )
    op.add_column(
        "routing_rules", sa.Column("action_drop", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )
    op.add_column("routing_rules", sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False))
    op.create_foreign_key(
        op.f("fk_routing_rules_assign_user_id"), "routing_rules", "people", ["assign_user_id"], ["id"]
    )
    op.add_column("tickets", sa.Column("assignee_user_id", sa.Uuid(), nullable=True))
    op.add_column("tickets", sa.Column("account_id", sa.Uuid(), nullable=True))
    op.add_column("tickets", sa.Column("site_id", sa.Uuid(), nullable=True))
    op.add_column("tickets", sa.Column("mailbox_id", sa.Uuid(), nullable=True))
    op.add_column("tickets", sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("tickets", sa.Column("sla_due_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("tickets", sa.Column("responded_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("tickets", sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "ix_tickets_all",
        "tickets",
        ["org_id", sa.literal_column("last_activity_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_index(
        "ix_tickets_assignee",
        "tickets",
        ["assignee_user_id", sa.literal_column("last_activity_at DESC"), sa.literal_column("id DESC")],
        unique=False,
        postgresql_where=sa.text("assignee_user_id IS NOT NULL"),
    )
    op.create_index(
        "ix_tickets_open_assignee",
        "tickets",
        ["assignee_user_id"],
        unique=False,
        postgresql_where=sa.text("assignee_user_id IS NOT NULL AND status IN ('new', 'open', 'pending')"),
    )
    op.create_index(
        "ix_tickets_queue",
        "tickets",
        ["queue_id", sa.literal_column("last_activity_at DESC"), sa.literal_column("id DESC")],
        unique=False,
        postgresql_where=sa.text("queue_id IS NOT NULL"),
    )
    op.create_index(
        "ix_tickets_sla",
        "tickets",
        ["org_id", "sla_due_at", "id"],
        unique=False,
        postgresql_where=sa.text("sla_due_at IS NOT NULL"),
    )
    op.create_foreign_key(op.f("fk_tickets_assignee_user_id"), "tickets", "people", ["assignee_user_id"], ["id"])
    op.create_foreign_key(op.f("fk_tickets_account_id"), "tickets", "accounts", ["account_id"], ["id"])
    op.create_foreign_key(op.f("fk_tickets_site_id"), "tickets", "sites", ["site_id"], ["id"])
    op.create_foreign_key(op.f("fk_tickets_mailbox_id"), "tickets", "mailboxes", ["mailbox_id"], ["id"])
    op.create_check_constraint(
        op.f("ck_tickets_one_assignee"), "tickets", "num_nonnulls(assignee_user_id, queue_id) <= 1"
    )
    op.create_check_constraint(
        op.f("ck_routing_rules_one_assignee"), "routing_rules", "num_nonnulls(assign_user_id, queue_id) <= 1"
    )
    op.create_check_constraint(
        op.f("ck_routing_rules_strategy_for_queue"), "routing_rules", "strategy IS NULL OR queue_id IS NOT NULL"
    )
    op.create_check_constraint(
        op.f("ck_routing_rules_strategy_legal"), "routing_rules", "strategy IN ('round_robin', 'least_loaded')"
    )
    op.execute('ALTER TABLE tickets ALTER COLUMN code TYPE text COLLATE "C"')
    op.execute(_APPEND_ONLY)
    op.execute(_WORDS)
    for code, name, aliases, permissions in _ROLES:
        role = op.get_bind().execute(_ROLE, {"code": code, "name": name, "aliases": aliases}).scalar_one()
        op.get_bind().execute(_PERMISSIONS, {"role": role, "permissions": permissions})


def downgrade() -> None:
    """Take back."""
    op.execute("DROP TRIGGER add_words ON tickets; DROP TRIGGER keep_changed_words ON tickets")
    op.execute('ALTER TABLE tickets ALTER COLUMN code TYPE text COLLATE "default"')
    op.drop_constraint(op.f("ck_tickets_one_assignee"), "tickets")
    op.drop_constraint(op.f("ck_routing_rules_one_assignee"), "routing_rules")
    op.drop_constraint(op.f("ck_routing_rules_strategy_for_queue"), "routing_rules")
    op.drop_constraint(op.f("ck_routing_rules_strategy_legal"), "routing_rules")
    op.drop_constraint(op.f("fk_tickets_mailbox_id"), "tickets", type_="foreignkey")
    op.drop_constraint(op.f("fk_tickets_site_id"), "tickets", type_="foreignkey")
    op.drop_constraint(op.f("fk_tickets_account_id"), "tickets", type_="foreignkey")
    op.drop_constraint(op.f("fk_tickets_assignee_user_id"), "tickets", type_="foreignkey")
    op.drop_index("ix_tickets_sla", table_name="tickets", postgresql_where=sa.text("sla_due_at IS NOT NULL"))
    op.drop_index("ix_tickets_queue", table_name="tickets", postgresql_where=sa.text("queue_id IS NOT NULL"))
    op.drop_index(
        "ix_tickets_open_assignee",
        table_name="tickets",
        postgresql_where=sa.text("assignee_user_id IS NOT NULL AND status IN ('new', 'open', 'pending')"),
    )
    op.drop_index("ix_tickets_assignee", table_name="tickets", postgresql_where=sa.text("assignee_user_id IS NOT NULL"))
    op.drop_index("ix_tickets_all", table_name="tickets")
    op.drop_column("tickets", "resolved_at")
    op.drop_column("tickets", "responded_at")
    op.drop_column("tickets", "sla_due_at")
    op.drop_column("tickets", "decided_at")
    op.drop_column("tickets", "mailbox_id")
    op.drop_column("tickets", "site_id")
    op.drop_column("tickets", "account_id")
    op.drop_column("tickets", "assignee_user_id")
    op.drop_constraint(op.f("fk_routing_rules_assign_user_id"), "routing_rules", type_="foreignkey")
    op.drop_column("routing_rules", "version")
    op.drop_column("routing_rules", "action_drop")
    op.drop_column("routing_rules", "is_shadow")
    op.drop_column("routing_rules", "stop")
    op.drop_column("routing_rules", "required_skills")
    op.drop_column("routing_rules", "strategy")
    op.drop_column("routing_rules", "assign_user_id")
    op.drop_column("messages", "erased_at")
    op.drop_index(op.f("ix_attachments_org_id_sha256"), table_name="attachments")
    op.drop_index("ix_blobs_erased", table_name="blobs", postgresql_where=sa.text("erased_at IS NOT NULL"))
    op.drop_column("blobs", "erased_at")
    op.drop_index(op.f("ix_transitions_ticket_id_id"), table_name="transitions")
    op.drop_table("transitions")
    op.drop_index(
        "ix_ticket_words_tags",
        table_name="ticket_words",
        postgresql_using="gin",
        postgresql_where=sa.text("tags <> '{}'"),
    )
    op.drop_index(
        "ix_ticket_words_haystack",
        table_name="ticket_words",
        postgresql_using="gin",
        postgresql_ops={"haystack": "gin_trgm_ops"},
    )
    op.drop_table("ticket_words")
    op.drop_index(op.f("ix_ticket_notes_ticket_id_id"), table_name="ticket_notes")
    op.drop_table("ticket_notes")
    op.drop_index(
        "ix_ticket_clocks_warn",
        table_name="ticket_clocks",
        postgresql_where=sa.text("state = 'running' AND warned_at IS NULL"),
    )
    op.drop_index(
        op.f("ix_ticket_clocks_policy_id"),
        table_name="ticket_clocks",
        postgresql_where=sa.text("policy_id IS NOT NULL"),
    )
    op.drop_index(
        "ix_ticket_clocks_due",
        table_name="ticket_clocks",
        postgresql_where=sa.text("state = 'running' AND breached_at IS NULL"),
    )
    op.drop_table("ticket_clocks")
    op.drop_index(op.f("ix_shadow_decisions_org_id_decided_at"), table_name="shadow_decisions")
    op.drop_table("shadow_decisions")
    op.drop_index("uq_clock_intervals_open", table_name="clock_intervals", postgresql_where=sa.text("ended_at IS NULL"))
    op.drop_table("clock_intervals")
    op.drop_table("membership_scopes")
    op.drop_index(op.f("ix_sla_policies_calendar_id"), table_name="sla_policies")
    op.drop_table("sla_policies")
    op.drop_index(op.f("ix_sites_org_id"), table_name="sites")
    op.drop_table("sites")
    op.drop_table("role_permissions")
    op.drop_index(op.f("ix_refresh_tokens_session_id"), table_name="refresh_tokens")
    op.drop_table("refresh_tokens")
    op.drop_index(op.f("ix_queue_memberships_person_id"), table_name="queue_memberships")
    op.drop_table("queue_memberships")
    op.drop_index(op.f("ix_memberships_role_id"), table_name="memberships")
    op.drop_index(op.f("ix_memberships_person_id"), table_name="memberships")
    op.drop_table("memberships")
    op.drop_table("holidays")
    op.drop_table("audit_details")
    op.drop_index("uq_api_tokens_name", table_name="api_tokens", postgresql_where=sa.text("revoked_at IS NULL"))
    op.drop_table("api_tokens")
    op.drop_index(op.f("ix_shifts_org_id_person_id"), table_name="shifts")
    op.drop_table("shifts")
    op.drop_index("ix_sessions_person_going", table_name="sessions", postgresql_where=sa.text("ended_at IS NULL"))
    op.drop_index(op.f("ix_sessions_expires_at"), table_name="sessions")
    op.drop_table("sessions")
    op.drop_table("saved_views")
    op.drop_table("roles")
    op.drop_index(op.f("ix_reset_tokens_person_id"), table_name="reset_tokens")
    op.drop_table("reset_tokens")
    op.drop_index("ix_notices_unsent", table_name="notices", postgresql_where=sa.text("sent_at IS NULL"))
    op.drop_table("notices")
    op.drop_index(op.f("ix_leaves_org_id_person_id_ends_at"), table_name="leaves")
    op.drop_table("leaves")
    op.drop_index(op.f("ix_identities_person_id"), table_name="identities")
    op.drop_table("identities")
    op.drop_index(op.f("ix_idempotency_keys_expires_at"), table_name="idempotency_keys")
    op.drop_table("idempotency_keys")
    op.drop_index(
        "uq_erasures_running",
        table_name="erasures",
        postgresql_nulls_not_distinct=True,
        postgresql_where=sa.text("state = 'running'"),
    )
    op.drop_index(op.f("ix_erasures_org_id_id"), table_name="erasures")
    op.drop_table("erasures")
    op.drop_table("calendars")
    op.drop_index(op.f("ix_audit_seals_org_id_number"), table_name="audit_seals")
    op.drop_table("audit_seals")
    op.drop_table("audit_heads")
    op.drop_index(op.f("ix_audit_events_org_id_target_id_number"), table_name="audit_events")
    op.drop_table("audit_events")
    op.drop_table("accounts")
    op.drop_index(op.f("ix_unknown_logins_tried_at"), table_name="unknown_logins")
    op.drop_table("unknown_logins")
    op.drop_index("uq_people_phone", table_name="people", postgresql_where=sa.text("phone IS NOT NULL"))
    op.drop_index("uq_people_email", table_name="people", postgresql_where=sa.text("email IS NOT NULL"))
    op.drop_table("people")
    op.drop_index(op.f("ix_login_states_expires_at"), table_name="login_states")
    op.drop_table("login_states")
    op.execute("DROP FUNCTION add_ticket_words(); DROP FUNCTION keep_ticket_words()")
    op.execute("DROP FUNCTION refuse_change(); DROP FUNCTION allow_erasure()")
