"""Field work of tickets: its lifecycle, schedule, technicians, proof, approvals and invoices."""

# Deploys roll: everything here is added, with defaults, so the version before works on.

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"

#: What built-in roles may do besides, as this version seeds it.
_GRANTS: tuple[tuple[str, list[str]], ...] = (
    (
        "admin",
        [
            "assignment.recommend",
            "closeout.candidate",
            "dispatch.read",
            "invoices.read",
            "plans.change",
            "rates.change",
            "schedule.hold",
            "technicians.change",
            "templates.change",
            "ticket.cancel",
            "ticket.close",
            "ticket.reopen",
        ],
    ),
    ("agent", ["assignment.recommend", "closeout.candidate", "dispatch.read"]),
    (
        "dispatcher",
        [
            "assignment.recommend",
            "closeout.candidate",
            "dispatch.read",
            "invoices.read",
            "plans.change",
            "schedule.hold",
            "ticket.cancel",
            "ticket.close",
            "ticket.reopen",
        ],
    ),
    ("technician", ["closeout.candidate"]),
    ("qa", ["ticket.reopen"]),
    ("approver", ["invoices.read", "ticket.close"]),
    ("finance", ["invoices.read", "rates.change", "ticket.close"]),
)
#: Incident type, name, evidence, whether it is of high risk, minutes of a visit (seed-behaviours, 1.7).
_TEMPLATES: tuple[tuple[str, str, list[str], bool, int], ...] = (
    (
        "DOOR_WONT_LATCH",
        "Door does not latch",
        [
            "photo_before_door_edge_and_strike",
            "photo_after_latched_alignment",
            "note_adjustments_and_test_cycles",
            "signature_or_no_signature_reason",
        ],
        False,
        60,
    ),
    (
        "CLOSER_LEAKING_OR_SLAMMING",
        "Closer leaks or slams",
        [
            "photo_before_closer_body",
            "photo_after_closer_or_adjustment",
            "note_sweep_and_latch_speed_settings",
            "signature_or_no_signature_reason",
        ],
        False,
        60,
    ),
    (
        "AUTO_OPERATOR_FAULT",
        "Automatic operator at fault",
        [
            "photo_before_operator_and_sensors",
            "photo_after_operator_and_sensors",
            "note_cycle_and_sensor_tests",
            "signature_or_no_signature_reason",
        ],
        True,
        90,
    ),
    (
        "CANNOT_SECURE_ENTRY",
        "Entry cannot be secured",
        [
            "photo_before_security_risk",
            "photo_after_temporary_or_permanent_securement",
            "note_risk_mitigation_and_customer_handoff",
            "signature_or_no_signature_reason",
        ],
        True,
        90,
    ),
    (
        "HARDWARE_REPLACEMENT",
        "Hardware to be replaced",
        [
            "photo_before_failed_hardware",
            "photo_after_installed_hardware",
            "note_part_numbers_and_function_test",
            "signature_or_no_signature_reason",
        ],
        False,
        120,
    ),
    (
        "FRAME_OR_GLASS_DAMAGE",
        "Frame or glass damaged",
        [
            "photo_before_damage_extent",
            "photo_after_repair_or_board_up",
            "note_safety_actions_and_follow_up_scope",
            "signature_or_no_signature_reason",
        ],
        True,
        120,
    ),
)
_CHECKLIST = [
    "work_performed",
    "parts_used_or_needed",
    "resolution_status",
    "onsite_photos_after",
    "billing_authorization",
]
_LEGAL = "kind <> 'dispatch' OR (from_state IS NULL AND to_state IN ('NEW', 'READY_TO_SCHEDULE', 'TRIAGED')) OR (from_state IS NOT NULL AND (from_state, to_state) IN (('APPROVAL_REQUIRED', 'CANCELLED'), ('APPROVAL_REQUIRED', 'IN_PROGRESS'), ('APPROVAL_REQUIRED', 'READY_TO_SCHEDULE'), ('APPROVAL_REQUIRED', 'TRIAGED'), ('APPROVAL_REQUIRED', 'VERIFIED'), ('CANCELLED', 'NEW'), ('CANCELLED', 'TRIAGED'), ('COMPLETED_PENDING_VERIFICATION', 'CANCELLED'), ('COMPLETED_PENDING_VERIFICATION', 'IN_PROGRESS'), ('COMPLETED_PENDING_VERIFICATION', 'VERIFIED'), ('DISPATCHED', 'CANCELLED'), ('DISPATCHED', 'ON_SITE'), ('DISPATCHED', 'READY_TO_SCHEDULE'), ('DISPATCHED', 'SCHEDULED'), ('INVOICED', 'CLOSED'), ('IN_PROGRESS', 'APPROVAL_REQUIRED'), ('IN_PROGRESS', 'CANCELLED'), ('IN_PROGRESS', 'COMPLETED_PENDING_VERIFICATION'), ('IN_PROGRESS', 'ON_HOLD'), ('IN_PROGRESS', 'READY_TO_SCHEDULE'), ('NEEDS_INFO', 'CANCELLED'), ('NEEDS_INFO', 'TRIAGED'), ('NEW', 'CANCELLED'), ('NEW', 'NEEDS_INFO'), ('NEW', 'READY_TO_SCHEDULE'), ('NEW', 'TRIAGED'), ('ON_HOLD', 'CANCELLED'), ('ON_HOLD', 'IN_PROGRESS'), ('ON_HOLD', 'READY_TO_SCHEDULE'), ('ON_SITE', 'CANCELLED'), ('ON_SITE', 'IN_PROGRESS'), ('PENDING_CUSTOMER_CONFIRMATION', 'CANCELLED'), ('PENDING_CUSTOMER_CONFIRMATION', 'READY_TO_SCHEDULE'), ('PENDING_CUSTOMER_CONFIRMATION', 'SCHEDULED'), ('PENDING_CUSTOMER_CONFIRMATION', 'SCHEDULE_PROPOSED'), ('READY_TO_SCHEDULE', 'CANCELLED'), ('READY_TO_SCHEDULE', 'PENDING_CUSTOMER_CONFIRMATION'), ('READY_TO_SCHEDULE', 'SCHEDULE_PROPOSED'), ('SCHEDULED', 'CANCELLED'), ('SCHEDULED', 'DISPATCHED'), ('SCHEDULED', 'PENDING_CUSTOMER_CONFIRMATION'), ('SCHEDULED', 'READY_TO_SCHEDULE'), ('SCHEDULE_PROPOSED', 'CANCELLED'), ('SCHEDULE_PROPOSED', 'PENDING_CUSTOMER_CONFIRMATION'), ('SCHEDULE_PROPOSED', 'READY_TO_SCHEDULE'), ('SCHEDULE_PROPOSED', 'SCHEDULED'), ('TRIAGED', 'APPROVAL_REQUIRED'), ('TRIAGED', 'CANCELLED'), ('TRIAGED', 'DISPATCHED'), ('TRIAGED', 'NEEDS_INFO'), ('TRIAGED', 'READY_TO_SCHEDULE'), ('VERIFIED', 'APPROVAL_REQUIRED'), ('VERIFIED', 'CLOSED'), ('VERIFIED', 'INVOICED'), ('VERIFIED', 'IN_PROGRESS')))"

_GRANT = sa.text("""
    INSERT INTO role_permissions (role_id, permission)
    SELECT r.id, p FROM roles r, unnest(CAST(:permissions AS text[])) AS p WHERE r.org_id IS NULL AND r.code = :code
        ON CONFLICT DO NOTHING
""")
_REVOKE = sa.text("""
    DELETE FROM role_permissions USING roles r
     WHERE r.id = role_id AND r.org_id IS NULL AND r.code = :code AND permission = ANY(CAST(:permissions AS text[]))
""")
_TEMPLATE = sa.text("""
    INSERT INTO incident_templates
           (incident_type, name, evidence_keys, checklist_keys, is_high_risk, visit_minutes)
    VALUES (:incident_type, :name, :evidence, :checklist, :risk, :minutes)
""")


def _hold(table: str, column: str, values: str) -> None:
    """Hold a column to other words than before."""
    name = f"ck_{table}_{column}_legal"
    op.drop_constraint(op.f(name), table)
    op.create_check_constraint(op.f(name), table, f"{column} IN ({values})")


def upgrade() -> None:
    """Apply."""
    op.execute("CREATE EXTENSION IF NOT EXISTS btree_gist")
    op.create_table(
        "certificates",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("valid_until", sa.Date(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("name <> ''", name=op.f("ck_certificates_name_not_blank")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_certificates_org_id")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_certificates_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_certificates")),
        sa.UniqueConstraint("org_id", "person_id", "name", name=op.f("uq_certificates_org_id_person_id_name")),
    )
    op.create_table(
        "day_plans",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("state", sa.Text(), server_default="draft", nullable=False),
        sa.Column("asked", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("result", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("applied_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("applied_by", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(state = 'applied') = (applied_at IS NOT NULL)", name=op.f("ck_day_plans_applied_at_when_applied")
        ),
        sa.CheckConstraint("state IN ('draft', 'applied')", name=op.f("ck_day_plans_state_legal")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_day_plans_org_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_day_plans")),
    )
    op.create_index(op.f("ix_day_plans_org_id_day_id"), "day_plans", ["org_id", "day", "id"], unique=False)
    op.create_table(
        "incident_templates",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=True),
        sa.Column("incident_type", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("is_current", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("evidence_keys", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("checklist_keys", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("skills", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("certificates", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("visit_minutes", sa.Integer(), server_default=sa.text("60"), nullable=False),
        sa.Column("is_high_risk", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_by", sa.Text(), server_default=sa.text("'system'"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "incident_type = upper(incident_type) AND incident_type <> ''",
            name=op.f("ck_incident_templates_incident_type_upper"),
        ),
        sa.CheckConstraint(
            "cardinality(evidence_keys) > 0 AND cardinality(checklist_keys) > 0",
            name=op.f("ck_incident_templates_asks_for_something"),
        ),
        sa.CheckConstraint("visit_minutes BETWEEN 5 AND 1440", name=op.f("ck_incident_templates_visit_minutes_range")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_incident_templates_org_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incident_templates")),
        sa.UniqueConstraint(
            "org_id",
            "incident_type",
            "version",
            name=op.f("uq_incident_templates_org_id_incident_type_version"),
            postgresql_nulls_not_distinct=True,
        ),
    )
    op.create_index(
        "uq_incident_templates_current",
        "incident_templates",
        ["org_id", "incident_type"],
        unique=True,
        postgresql_nulls_not_distinct=True,
        postgresql_where=sa.text("is_current"),
    )
    op.create_table(
        "invoice_series",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("next_number", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("prefix", sa.Text(), server_default=sa.text("'INV-'"), nullable=False),
        sa.CheckConstraint("next_number > 0", name=op.f("ck_invoice_series_next_number_positive")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_invoice_series_org_id")),
        sa.PrimaryKeyConstraint("org_id", name=op.f("pk_invoice_series")),
    )
    op.create_table(
        "technicians",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("zones", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("home_lat", sa.Double(), nullable=True),
        sa.Column("home_lon", sa.Double(), nullable=True),
        sa.Column("most_visits", sa.SmallInteger(), nullable=True),
        sa.Column("is_available", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("(home_lat IS NULL) = (home_lon IS NULL)", name=op.f("ck_technicians_home_whole")),
        sa.CheckConstraint(
            "home_lat BETWEEN -90 AND 90 AND home_lon BETWEEN -180 AND 180", name=op.f("ck_technicians_home_on_earth")
        ),
        sa.CheckConstraint("most_visits > 0", name=op.f("ck_technicians_most_visits_positive")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_technicians_org_id")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_technicians_person_id")),
        sa.PrimaryKeyConstraint("org_id", "person_id", name=op.f("pk_technicians")),
    )
    op.create_table(
        "rates",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=True),
        sa.Column("incident_type", sa.Text(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("labor_hour_cents", sa.BigInteger(), nullable=False),
        sa.Column("travel_hour_cents", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("callout_cents", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("step_minutes", sa.SmallInteger(), server_default=sa.text("15"), nullable=False),
        sa.Column("least_minutes", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("tax_percent", sa.Numeric(precision=6, scale=3), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_rates_currency_plain")),
        sa.CheckConstraint(
            "labor_hour_cents >= 0 AND travel_hour_cents >= 0 AND callout_cents >= 0",
            name=op.f("ck_rates_not_negative"),
        ),
        sa.CheckConstraint(
            "step_minutes BETWEEN 1 AND 240 AND least_minutes BETWEEN 0 AND 1440", name=op.f("ck_rates_minutes_range")
        ),
        sa.CheckConstraint("tax_percent BETWEEN 0 AND 100", name=op.f("ck_rates_tax_range")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_rates_account_id")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_rates_org_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rates")),
        sa.UniqueConstraint(
            "org_id",
            "account_id",
            "incident_type",
            "currency",
            name=op.f("uq_rates_org_id_account_id_incident_type_currency"),
            postgresql_nulls_not_distinct=True,
        ),
    )
    op.create_table(
        "approvals",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("ticket_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), server_default="PENDING", nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("return_state", sa.Text(), nullable=False),
        sa.Column("amount_delta_cents", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("evidence_refs", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("requested_by_id", sa.Uuid(), nullable=True),
        sa.Column("requested_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("notes", sa.Text(), nullable=True),
        sa.CheckConstraint("(state = 'PENDING') = (decided_at IS NULL)", name=op.f("ck_approvals_decided_when_over")),
        sa.CheckConstraint("kind IN ('NTE_INCREASE', 'PROPOSAL')", name=op.f("ck_approvals_kind_legal")),
        sa.CheckConstraint(
            "return_state IN ('NEW', 'NEEDS_INFO', 'TRIAGED', 'APPROVAL_REQUIRED', 'READY_TO_SCHEDULE', 'SCHEDULE_PROPOSED', 'SCHEDULED', 'PENDING_CUSTOMER_CONFIRMATION', 'DISPATCHED', 'ON_SITE', 'IN_PROGRESS', 'ON_HOLD', 'COMPLETED_PENDING_VERIFICATION', 'VERIFIED', 'INVOICED', 'CLOSED', 'CANCELLED')",
            name=op.f("ck_approvals_return_state_legal"),
        ),
        sa.CheckConstraint(
            "state IN ('PENDING', 'APPROVED', 'DENIED', 'CANCELLED')", name=op.f("ck_approvals_state_legal")
        ),
        sa.CheckConstraint(
            "(decided_at IS NULL) = (decided_by IS NULL)", name=op.f("ck_approvals_decided_by_somebody")
        ),
        sa.CheckConstraint("amount_delta_cents >= 0", name=op.f("ck_approvals_amount_positive")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_approvals_org_id")),
        sa.ForeignKeyConstraint(["requested_by_id"], ["people.id"], name=op.f("fk_approvals_requested_by_id")),
        sa.ForeignKeyConstraint(["ticket_id"], ["tickets.id"], name=op.f("fk_approvals_ticket_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approvals")),
    )
    op.create_index(op.f("ix_approvals_ticket_id_id"), "approvals", ["ticket_id", "id"], unique=False)
    op.create_index(
        "uq_approvals_pending", "approvals", ["ticket_id"], unique=True, postgresql_where=sa.text("state = 'PENDING'")
    )
    op.create_table(
        "completions",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("ticket_id", sa.Uuid(), nullable=False),
        sa.Column("command", sa.Text(), nullable=False),
        sa.Column("template_id", sa.Uuid(), nullable=False),
        sa.Column("checklist_status", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("no_signature_reason", sa.Text(), nullable=True),
        sa.Column("evidence_refs", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("completed_by", sa.Text(), nullable=False),
        sa.Column("completed_by_id", sa.Uuid(), nullable=True),
        sa.Column("completed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["completed_by_id"], ["people.id"], name=op.f("fk_completions_completed_by_id")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_completions_org_id")),
        sa.ForeignKeyConstraint(["template_id"], ["incident_templates.id"], name=op.f("fk_completions_template_id")),
        sa.ForeignKeyConstraint(["ticket_id"], ["tickets.id"], name=op.f("fk_completions_ticket_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_completions")),
    )
    op.create_index(op.f("ix_completions_ticket_id_id"), "completions", ["ticket_id", "id"], unique=False)
    op.create_table(
        "dispatches",
        sa.Column("ticket_id", sa.Uuid(), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("asset_id", sa.Uuid(), nullable=True),
        sa.Column("incident_type", sa.Text(), nullable=True),
        sa.Column("template_id", sa.Uuid(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("priority", sa.Text(), server_default="ROUTINE", nullable=False),
        sa.Column("nte_cents", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("currency", sa.Text(), server_default=sa.text("'USD'"), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_soon_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_soon_told_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("overdue_told_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("arrived_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("queue_due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("scheduled_start", sa.DateTime(timezone=True), nullable=True),
        sa.Column("scheduled_end", sa.DateTime(timezone=True), nullable=True),
        sa.Column("assigned_provider_id", sa.Uuid(), nullable=True),
        sa.Column("assigned_tech_id", sa.Uuid(), nullable=True),
        sa.Column("visit_number", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("customer_name", sa.Text(), nullable=True),
        sa.Column("customer_phone", sa.Text(), nullable=True),
        sa.Column("customer_email", sa.Text(), nullable=True),
        sa.Column("identity_signature", sa.Text(), nullable=True),
        sa.Column("identity_confidence", sa.SmallInteger(), nullable=True),
        sa.Column("classification_confidence", sa.SmallInteger(), nullable=True),
        sa.Column("is_sop_handoff_required", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("is_sop_handoff_acknowledged", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("sop_handoff_prompt", sa.Text(), nullable=True),
        sa.Column("rework_reason", sa.Text(), nullable=True),
        sa.Column("trace_id", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_dispatches_currency_plain")),
        sa.CheckConstraint("priority IN ('EMERGENCY', 'URGENT', 'ROUTINE')", name=op.f("ck_dispatches_priority_legal")),
        sa.CheckConstraint(
            "(scheduled_start IS NULL) = (scheduled_end IS NULL)", name=op.f("ck_dispatches_window_whole")
        ),
        sa.CheckConstraint(
            "classification_confidence BETWEEN 0 AND 100", name=op.f("ck_dispatches_classification_confidence_range")
        ),
        sa.CheckConstraint(
            "identity_confidence BETWEEN 0 AND 100", name=op.f("ck_dispatches_identity_confidence_range")
        ),
        sa.CheckConstraint("nte_cents >= 0", name=op.f("ck_dispatches_nte_positive")),
        sa.CheckConstraint("scheduled_end > scheduled_start", name=op.f("ck_dispatches_window_in_order")),
        sa.ForeignKeyConstraint(["asset_id"], ["assets.id"], name=op.f("fk_dispatches_asset_id")),
        sa.ForeignKeyConstraint(["assigned_tech_id"], ["people.id"], name=op.f("fk_dispatches_assigned_tech_id")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_dispatches_org_id")),
        sa.ForeignKeyConstraint(["template_id"], ["incident_templates.id"], name=op.f("fk_dispatches_template_id")),
        sa.ForeignKeyConstraint(["ticket_id"], ["tickets.id"], name=op.f("fk_dispatches_ticket_id")),
        sa.PrimaryKeyConstraint("ticket_id", name=op.f("pk_dispatches")),
    )
    op.create_index(
        "ix_dispatches_asset",
        "dispatches",
        ["asset_id"],
        unique=False,
        postgresql_where=sa.text("asset_id IS NOT NULL"),
    )
    op.create_index(
        "ix_dispatches_due_soon",
        "dispatches",
        ["due_soon_at"],
        unique=False,
        postgresql_where=sa.text("queue_due_at IS NOT NULL AND arrived_at IS NULL AND due_soon_told_at IS NULL"),
    )
    op.create_index(
        "ix_dispatches_overdue",
        "dispatches",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("queue_due_at IS NOT NULL AND arrived_at IS NULL AND overdue_told_at IS NULL"),
    )
    op.create_index(
        "ix_dispatches_queue",
        "dispatches",
        ["org_id", "queue_due_at", "ticket_id"],
        unique=False,
        postgresql_where=sa.text("queue_due_at IS NOT NULL"),
    )
    op.create_index(
        "ix_dispatches_tech",
        "dispatches",
        ["assigned_tech_id", "ticket_id"],
        unique=False,
        postgresql_where=sa.text("assigned_tech_id IS NOT NULL"),
    )
    op.create_table(
        "evidence_items",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("ticket_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("uri", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("evidence_key", sa.Text(), nullable=True),
        sa.Column("checksum", sa.Text(), nullable=True),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=True),
        sa.Column("thumbnail_sha256", sa.LargeBinary(), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("content_type", sa.Text(), nullable=True),
        sa.Column("check_state", sa.Text(), server_default="unchecked", nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_by_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("superseded_by_id", sa.Uuid(), nullable=True),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("withdrawn_by", sa.Text(), nullable=True),
        sa.Column("withdrawn_because", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(check_state = 'checked') = (sha256 IS NOT NULL OR note IS NOT NULL)",
            name=op.f("ck_evidence_items_checked_when_ours"),
        ),
        sa.CheckConstraint("check_state IN ('checked', 'unchecked')", name=op.f("ck_evidence_items_check_state_legal")),
        sa.CheckConstraint(
            "(withdrawn_at IS NULL) = (withdrawn_because IS NULL)",
            name=op.f("ck_evidence_items_withdrawn_because_of_something"),
        ),
        sa.CheckConstraint(
            "(withdrawn_at IS NULL) = (withdrawn_by IS NULL)", name=op.f("ck_evidence_items_withdrawn_by_somebody")
        ),
        sa.CheckConstraint("num_nonnulls(uri, note) = 1", name=op.f("ck_evidence_items_uri_or_note")),
        sa.CheckConstraint("superseded_by_id <> id", name=op.f("ck_evidence_items_not_by_itself")),
        sa.ForeignKeyConstraint(["created_by_id"], ["people.id"], name=op.f("fk_evidence_items_created_by_id")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_evidence_items_org_id")),
        sa.ForeignKeyConstraint(
            ["superseded_by_id"], ["evidence_items.id"], name=op.f("fk_evidence_items_superseded_by_id")
        ),
        sa.ForeignKeyConstraint(["ticket_id"], ["tickets.id"], name=op.f("fk_evidence_items_ticket_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_evidence_items")),
    )
    op.create_index(
        "ix_evidence_items_sha256",
        "evidence_items",
        ["sha256"],
        unique=False,
        postgresql_where=sa.text("sha256 IS NOT NULL"),
    )
    op.create_index(
        "ix_evidence_items_thumbnail",
        "evidence_items",
        ["thumbnail_sha256"],
        unique=False,
        postgresql_where=sa.text("thumbnail_sha256 IS NOT NULL"),
    )
    op.create_index(op.f("ix_evidence_items_ticket_id_id"), "evidence_items", ["ticket_id", "id"], unique=False)
    op.create_table(
        "intakes",
        sa.Column("ticket_id", sa.Uuid(), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("signature", sa.Text(), nullable=False),
        sa.Column("during", postgresql.TSTZRANGE(), nullable=False),
        sa.Column("is_open", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        postgresql.ExcludeConstraint(
            (sa.column("org_id"), "="),
            (sa.column("signature"), "="),
            (sa.column("during"), "&&"),
            where=sa.text("is_open"),
            using="gist",
            name="ex_intakes_duplicate",
        ),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_intakes_org_id")),
        sa.ForeignKeyConstraint(["ticket_id"], ["tickets.id"], name=op.f("fk_intakes_ticket_id")),
        sa.PrimaryKeyConstraint("ticket_id", name=op.f("pk_intakes")),
    )
    op.create_table(
        "invoices",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("ticket_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("subtotal_cents", sa.BigInteger(), nullable=False),
        sa.Column("tax_percent", sa.Numeric(precision=6, scale=3), nullable=False),
        sa.Column("tax_cents", sa.BigInteger(), nullable=False),
        sa.Column("total_cents", sa.BigInteger(), nullable=False),
        sa.Column("nte_cents", sa.BigInteger(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("customer", sa.Text(), nullable=False),
        sa.Column("issued_on", sa.Date(), nullable=False),
        sa.Column("issued_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("pdf_sha256", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint("nte_cents = 0 OR total_cents <= nte_cents", name=op.f("ck_invoices_within_limit")),
        sa.CheckConstraint("subtotal_cents >= 0 AND tax_cents >= 0", name=op.f("ck_invoices_not_negative")),
        sa.CheckConstraint("total_cents = subtotal_cents + tax_cents", name=op.f("ck_invoices_total_adds_up")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_invoices_account_id")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_invoices_org_id")),
        sa.ForeignKeyConstraint(["ticket_id"], ["tickets.id"], name=op.f("fk_invoices_ticket_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invoices")),
        sa.UniqueConstraint("org_id", "code", name=op.f("uq_invoices_org_id_code")),
        sa.UniqueConstraint("org_id", "number", name=op.f("uq_invoices_org_id_number")),
        sa.UniqueConstraint("ticket_id", name=op.f("uq_invoices_ticket_id")),
    )
    op.create_index(op.f("ix_invoices_org_id_id"), "invoices", ["org_id", "id"], unique=False)
    op.create_index(
        "ix_invoices_pdf", "invoices", ["pdf_sha256"], unique=False, postgresql_where=sa.text("pdf_sha256 IS NOT NULL")
    )
    op.create_table(
        "part_entries",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("ticket_id", sa.Uuid(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Numeric(precision=12, scale=3), nullable=False),
        sa.Column("unit_price_cents", sa.BigInteger(), nullable=False),
        sa.Column("recorded_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("removed_by", sa.Text(), nullable=True),
        sa.CheckConstraint("name <> ''", name=op.f("ck_part_entries_name_not_blank")),
        sa.CheckConstraint(
            "(removed_at IS NULL) = (removed_by IS NULL)", name=op.f("ck_part_entries_removed_by_somebody")
        ),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_part_entries_quantity_positive")),
        sa.CheckConstraint("unit_price_cents >= 0", name=op.f("ck_part_entries_price_not_negative")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_part_entries_org_id")),
        sa.ForeignKeyConstraint(["ticket_id"], ["tickets.id"], name=op.f("fk_part_entries_ticket_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_part_entries")),
    )
    op.create_index(op.f("ix_part_entries_ticket_id_id"), "part_entries", ["ticket_id", "id"], unique=False)
    op.create_table(
        "proposed_windows",
        sa.Column("ticket_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.SmallInteger(), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("technician_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("starts_at < ends_at", name=op.f("ck_proposed_windows_in_order")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_proposed_windows_org_id")),
        sa.ForeignKeyConstraint(["technician_id"], ["people.id"], name=op.f("fk_proposed_windows_technician_id")),
        sa.ForeignKeyConstraint(["ticket_id"], ["tickets.id"], name=op.f("fk_proposed_windows_ticket_id")),
        sa.PrimaryKeyConstraint("ticket_id", "position", name=op.f("pk_proposed_windows")),
    )
    op.create_table(
        "recommendations",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("ticket_id", sa.Uuid(), nullable=False),
        sa.Column("asked", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("candidates", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_recommendations_org_id")),
        sa.ForeignKeyConstraint(["ticket_id"], ["tickets.id"], name=op.f("fk_recommendations_ticket_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recommendations")),
    )
    op.create_index(op.f("ix_recommendations_ticket_id_id"), "recommendations", ["ticket_id", "id"], unique=False)
    op.create_table(
        "schedule_holds",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("ticket_id", sa.Uuid(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="open", nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("from_state", sa.Text(), nullable=False),
        sa.Column("scheduled_start", sa.DateTime(timezone=True), nullable=True),
        sa.Column("scheduled_end", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_because", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(state = 'open') = (ended_at IS NULL)", name=op.f("ck_schedule_holds_ended_when_over")),
        sa.CheckConstraint(
            "from_state IN ('NEW', 'NEEDS_INFO', 'TRIAGED', 'APPROVAL_REQUIRED', 'READY_TO_SCHEDULE', 'SCHEDULE_PROPOSED', 'SCHEDULED', 'PENDING_CUSTOMER_CONFIRMATION', 'DISPATCHED', 'ON_SITE', 'IN_PROGRESS', 'ON_HOLD', 'COMPLETED_PENDING_VERIFICATION', 'VERIFIED', 'INVOICED', 'CLOSED', 'CANCELLED')",
            name=op.f("ck_schedule_holds_from_state_legal"),
        ),
        sa.CheckConstraint(
            "reason IN ('CUSTOMER_PENDING', 'CUSTOMER_UNREACHABLE', 'CUSTOMER_CONFIRMATION_STALE')",
            name=op.f("ck_schedule_holds_reason_legal"),
        ),
        sa.CheckConstraint(
            "state IN ('open', 'released', 'rolled_back', 'lapsed', 'cancelled')",
            name=op.f("ck_schedule_holds_state_legal"),
        ),
        sa.CheckConstraint("starts_at < ends_at", name=op.f("ck_schedule_holds_in_order")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_schedule_holds_org_id")),
        sa.ForeignKeyConstraint(["ticket_id"], ["tickets.id"], name=op.f("fk_schedule_holds_ticket_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedule_holds")),
    )
    op.create_index(
        "ix_schedule_holds_lapsing",
        "schedule_holds",
        ["ends_at"],
        unique=False,
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_index(op.f("ix_schedule_holds_ticket_id"), "schedule_holds", ["ticket_id"], unique=False)
    op.create_index(
        "uq_schedule_holds_open",
        "schedule_holds",
        ["ticket_id"],
        unique=True,
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_table(
        "time_entries",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("ticket_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), server_default="labor", nullable=False),
        sa.Column("technician_id", sa.Uuid(), nullable=True),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("recorded_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("removed_by", sa.Text(), nullable=True),
        sa.CheckConstraint("kind IN ('labor', 'travel')", name=op.f("ck_time_entries_kind_legal")),
        sa.CheckConstraint(
            "(removed_at IS NULL) = (removed_by IS NULL)", name=op.f("ck_time_entries_removed_by_somebody")
        ),
        sa.CheckConstraint("began_at <= ended_at", name=op.f("ck_time_entries_in_order")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_time_entries_org_id")),
        sa.ForeignKeyConstraint(["technician_id"], ["people.id"], name=op.f("fk_time_entries_technician_id")),
        sa.ForeignKeyConstraint(["ticket_id"], ["tickets.id"], name=op.f("fk_time_entries_ticket_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_time_entries")),
    )
    op.create_index(op.f("ix_time_entries_ticket_id_id"), "time_entries", ["ticket_id", "id"], unique=False)
    op.create_index(
        "uq_time_entries_going",
        "time_entries",
        ["ticket_id"],
        unique=True,
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_table(
        "visit_links",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("ticket_id", sa.Uuid(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_visit_links_org_id")),
        sa.ForeignKeyConstraint(["ticket_id"], ["tickets.id"], name=op.f("fk_visit_links_ticket_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_visit_links")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_visit_links_token_hash")),
    )
    op.create_index(op.f("ix_visit_links_ticket_id"), "visit_links", ["ticket_id"], unique=False)
    op.create_table(
        "visits",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("ticket_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.SmallInteger(), nullable=False),
        sa.Column("technician_id", sa.Uuid(), nullable=True),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.Text(), server_default="booked", nullable=False),
        sa.Column("is_overlap_allowed", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("sequence", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        postgresql.ExcludeConstraint(
            (sa.column("technician_id"), "="),
            (sa.text("tstzrange(starts_at, ends_at)"), "&&"),
            where=sa.text("state IN ('booked', 'under_way') AND NOT is_overlap_allowed AND technician_id IS NOT NULL"),
            using="gist",
            name="ex_visits_overlap",
        ),
        sa.CheckConstraint(
            "(state IN ('done', 'cancelled')) = (ended_at IS NOT NULL)", name=op.f("ck_visits_ended_when_over")
        ),
        sa.CheckConstraint("state IN ('booked', 'under_way', 'done', 'cancelled')", name=op.f("ck_visits_state_legal")),
        sa.CheckConstraint("starts_at < ends_at", name=op.f("ck_visits_in_order")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_visits_org_id")),
        sa.ForeignKeyConstraint(["technician_id"], ["people.id"], name=op.f("fk_visits_technician_id")),
        sa.ForeignKeyConstraint(["ticket_id"], ["tickets.id"], name=op.f("fk_visits_ticket_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_visits")),
        sa.UniqueConstraint("ticket_id", "number", name=op.f("uq_visits_ticket_id_number")),
    )
    op.create_index(
        "ix_visits_calendar",
        "visits",
        ["org_id", "technician_id", "starts_at"],
        unique=False,
        postgresql_where=sa.text("state <> 'cancelled'"),
    )
    op.create_table(
        "assignments",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("ticket_id", sa.Uuid(), nullable=False),
        sa.Column("technician_id", sa.Uuid(), nullable=False),
        sa.Column("provider_id", sa.Uuid(), nullable=True),
        sa.Column("mode", sa.Text(), server_default="STANDARD", nullable=False),
        sa.Column(
            "candidates", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False
        ),
        sa.Column("recommendation_id", sa.Uuid(), nullable=True),
        sa.Column("overruled_because", sa.Text(), nullable=True),
        sa.Column("assigned_by", sa.Text(), nullable=False),
        sa.Column("assigned_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_because", sa.Text(), nullable=True),
        sa.CheckConstraint("mode IN ('STANDARD', 'EMERGENCY_BYPASS')", name=op.f("ck_assignments_mode_legal")),
        sa.CheckConstraint(
            "(ended_at IS NULL) = (ended_because IS NULL)", name=op.f("ck_assignments_ended_because_of_something")
        ),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_assignments_org_id")),
        sa.ForeignKeyConstraint(
            ["recommendation_id"], ["recommendations.id"], name=op.f("fk_assignments_recommendation_id")
        ),
        sa.ForeignKeyConstraint(["technician_id"], ["people.id"], name=op.f("fk_assignments_technician_id")),
        sa.ForeignKeyConstraint(["ticket_id"], ["tickets.id"], name=op.f("fk_assignments_ticket_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assignments")),
    )
    op.create_index(
        "ix_assignments_technician",
        "assignments",
        ["technician_id"],
        unique=False,
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_index(op.f("ix_assignments_ticket_id_id"), "assignments", ["ticket_id", "id"], unique=False)
    op.create_index(
        "uq_assignments_going", "assignments", ["ticket_id"], unique=True, postgresql_where=sa.text("ended_at IS NULL")
    )
    op.create_table(
        "expected_evidence",
        sa.Column("ticket_id", sa.Uuid(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("evidence_key", sa.Text(), nullable=False),
        sa.Column("captured_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("evidence_id", sa.Uuid(), nullable=True),
        sa.Column("waived_because", sa.Text(), nullable=True),
        sa.Column("waived_by", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(waived_because IS NULL) = (waived_by IS NULL)", name=op.f("ck_expected_evidence_waived_by_somebody")
        ),
        sa.ForeignKeyConstraint(["evidence_id"], ["evidence_items.id"], name=op.f("fk_expected_evidence_evidence_id")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_expected_evidence_org_id")),
        sa.ForeignKeyConstraint(["ticket_id"], ["tickets.id"], name=op.f("fk_expected_evidence_ticket_id")),
        sa.PrimaryKeyConstraint("ticket_id", "sha256", name=op.f("pk_expected_evidence")),
    )
    op.create_index(
        "ix_expected_evidence_outstanding",
        "expected_evidence",
        ["ticket_id"],
        unique=False,
        postgresql_where=sa.text("evidence_id IS NULL AND waived_because IS NULL"),
    )
    op.create_table(
        "invoice_lines",
        sa.Column("invoice_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.SmallInteger(), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Numeric(precision=12, scale=3), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("unit_price_cents", sa.BigInteger(), nullable=False),
        sa.Column("amount_cents", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "kind IN ('labor', 'travel', 'callout', 'part', 'write_off')", name=op.f("ck_invoice_lines_kind_legal")
        ),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoices.id"], name=op.f("fk_invoice_lines_invoice_id")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_invoice_lines_org_id")),
        sa.PrimaryKeyConstraint("invoice_id", "position", name=op.f("pk_invoice_lines")),
    )
    op.create_table(
        "qa_checks",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("ticket_id", sa.Uuid(), nullable=False),
        sa.Column("completion_id", sa.Uuid(), nullable=False),
        sa.Column("technician_id", sa.Uuid(), nullable=True),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("notes", sa.Text(), nullable=True),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("checked_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("result IN ('PASS', 'FAIL')", name=op.f("ck_qa_checks_result_legal")),
        sa.ForeignKeyConstraint(["completion_id"], ["completions.id"], name=op.f("fk_qa_checks_completion_id")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_qa_checks_org_id")),
        sa.ForeignKeyConstraint(["technician_id"], ["people.id"], name=op.f("fk_qa_checks_technician_id")),
        sa.ForeignKeyConstraint(["ticket_id"], ["tickets.id"], name=op.f("fk_qa_checks_ticket_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_qa_checks")),
        sa.UniqueConstraint("completion_id", name=op.f("uq_qa_checks_completion_id")),
    )
    op.create_index(
        "ix_qa_checks_technician",
        "qa_checks",
        ["technician_id", "id"],
        unique=False,
        postgresql_where=sa.text("technician_id IS NOT NULL"),
    )
    op.create_index(op.f("ix_qa_checks_ticket_id_id"), "qa_checks", ["ticket_id", "id"], unique=False)
    op.add_column("sites", sa.Column("zone", sa.Text(), nullable=True))
    op.add_column("sites", sa.Column("lat", sa.Double(), nullable=True))
    op.add_column("sites", sa.Column("lon", sa.Double(), nullable=True))
    op.create_index(
        "ix_transitions_dispatch",
        "transitions",
        ["org_id", "at"],
        unique=False,
        postgresql_where=sa.text("kind = 'dispatch'"),
    )

    _hold("blobs", "kind", "'raw', 'attachment', 'evidence', 'document'")
    _hold("outbound", "kind", "'reply', 'acknowledgement', 'visit'")
    op.create_check_constraint(op.f("ck_transitions_dispatch_legal"), "transitions", _LEGAL)
    op.create_check_constraint(
        op.f("ck_sites_on_earth"), "sites", "lat BETWEEN -90 AND 90 AND lon BETWEEN -180 AND 180"
    )
    op.create_check_constraint(op.f("ck_sites_position_whole"), "sites", "(lat IS NULL) = (lon IS NULL)")
    for code, permissions in _GRANTS:
        op.get_bind().execute(_GRANT, {"code": code, "permissions": permissions})
    for incident_type, name, evidence, risk, minutes in _TEMPLATES:
        values = {"incident_type": incident_type, "name": name, "evidence": evidence, "checklist": _CHECKLIST}
        op.get_bind().execute(_TEMPLATE, values | {"risk": risk, "minutes": minutes})


def downgrade() -> None:
    """Take back."""
    for code, permissions in _GRANTS:
        op.get_bind().execute(_REVOKE, {"code": code, "permissions": permissions})
    op.drop_constraint(op.f("ck_sites_on_earth"), "sites")
    op.drop_constraint(op.f("ck_sites_position_whole"), "sites")
    op.drop_constraint(op.f("ck_transitions_dispatch_legal"), "transitions")
    op.execute("DELETE FROM outbound WHERE kind = 'visit'; DELETE FROM blobs WHERE kind IN ('evidence', 'document')")
    _hold("blobs", "kind", "'raw', 'attachment'")
    _hold("outbound", "kind", "'reply', 'acknowledgement'")
    op.drop_index("ix_transitions_dispatch", table_name="transitions", postgresql_where=sa.text("kind = 'dispatch'"))
    op.drop_column("sites", "lon")
    op.drop_column("sites", "lat")
    op.drop_column("sites", "zone")
    op.drop_index(op.f("ix_qa_checks_ticket_id_id"), table_name="qa_checks")
    op.drop_index(
        "ix_qa_checks_technician", table_name="qa_checks", postgresql_where=sa.text("technician_id IS NOT NULL")
    )
    op.drop_table("qa_checks")
    op.drop_table("invoice_lines")
    op.drop_index(
        "ix_expected_evidence_outstanding",
        table_name="expected_evidence",
        postgresql_where=sa.text("evidence_id IS NULL AND waived_because IS NULL"),
    )
    op.drop_table("expected_evidence")
    op.drop_index("uq_assignments_going", table_name="assignments", postgresql_where=sa.text("ended_at IS NULL"))
    op.drop_index(op.f("ix_assignments_ticket_id_id"), table_name="assignments")
    op.drop_index("ix_assignments_technician", table_name="assignments", postgresql_where=sa.text("ended_at IS NULL"))
    op.drop_table("assignments")
    op.drop_index("ix_visits_calendar", table_name="visits", postgresql_where=sa.text("state <> 'cancelled'"))
    op.drop_table("visits")
    op.drop_index(op.f("ix_visit_links_ticket_id"), table_name="visit_links")
    op.drop_table("visit_links")
    op.drop_index("uq_time_entries_going", table_name="time_entries", postgresql_where=sa.text("ended_at IS NULL"))
    op.drop_index(op.f("ix_time_entries_ticket_id_id"), table_name="time_entries")
    op.drop_table("time_entries")
    op.drop_index("uq_schedule_holds_open", table_name="schedule_holds", postgresql_where=sa.text("state = 'open'"))
    op.drop_index(op.f("ix_schedule_holds_ticket_id"), table_name="schedule_holds")
    op.drop_index("ix_schedule_holds_lapsing", table_name="schedule_holds", postgresql_where=sa.text("state = 'open'"))
    op.drop_table("schedule_holds")
    op.drop_index(op.f("ix_recommendations_ticket_id_id"), table_name="recommendations")
    op.drop_table("recommendations")
    op.drop_table("proposed_windows")
    op.drop_index(op.f("ix_part_entries_ticket_id_id"), table_name="part_entries")
    op.drop_table("part_entries")
    op.drop_index("ix_invoices_pdf", table_name="invoices", postgresql_where=sa.text("pdf_sha256 IS NOT NULL"))
    op.drop_index(op.f("ix_invoices_org_id_id"), table_name="invoices")
    op.drop_table("invoices")
    op.drop_table("intakes")
    op.drop_index(op.f("ix_evidence_items_ticket_id_id"), table_name="evidence_items")
    op.drop_index(
        "ix_evidence_items_thumbnail",
        table_name="evidence_items",
        postgresql_where=sa.text("thumbnail_sha256 IS NOT NULL"),
    )
    op.drop_index(
        "ix_evidence_items_sha256", table_name="evidence_items", postgresql_where=sa.text("sha256 IS NOT NULL")
    )
    op.drop_table("evidence_items")
    op.drop_index(
        "ix_dispatches_tech", table_name="dispatches", postgresql_where=sa.text("assigned_tech_id IS NOT NULL")
    )
    op.drop_index("ix_dispatches_queue", table_name="dispatches", postgresql_where=sa.text("queue_due_at IS NOT NULL"))
    op.drop_index(
        "ix_dispatches_overdue",
        table_name="dispatches",
        postgresql_where=sa.text("queue_due_at IS NOT NULL AND arrived_at IS NULL AND overdue_told_at IS NULL"),
    )
    op.drop_index(
        "ix_dispatches_due_soon",
        table_name="dispatches",
        postgresql_where=sa.text("queue_due_at IS NOT NULL AND arrived_at IS NULL AND due_soon_told_at IS NULL"),
    )
    op.drop_index("ix_dispatches_asset", table_name="dispatches", postgresql_where=sa.text("asset_id IS NOT NULL"))
    op.drop_table("dispatches")
    op.drop_index(op.f("ix_completions_ticket_id_id"), table_name="completions")
    op.drop_table("completions")
    op.drop_index("uq_approvals_pending", table_name="approvals", postgresql_where=sa.text("state = 'PENDING'"))
    op.drop_index(op.f("ix_approvals_ticket_id_id"), table_name="approvals")
    op.drop_table("approvals")
    op.drop_table("rates")
    op.drop_table("technicians")
    op.drop_table("invoice_series")
    op.drop_index(
        "uq_incident_templates_current",
        table_name="incident_templates",
        postgresql_nulls_not_distinct=True,
        postgresql_where=sa.text("is_current"),
    )
    op.drop_table("incident_templates")
    op.drop_index(op.f("ix_day_plans_org_id_day_id"), table_name="day_plans")
    op.drop_table("day_plans")
    op.drop_table("certificates")
    op.execute("DROP EXTENSION btree_gist")
