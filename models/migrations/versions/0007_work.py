"""Work: orders of the field and the workshop by one model, their photos, sessions, points, levels and pushes."""

# Deploys roll: what is here is added, with defaults, so the version before works on.

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"

#: What built-in roles may do besides, as this version seeds it.
_GRANTS: tuple[tuple[str, list[str]], ...] = (
    (
        "admin",
        [
            "attendance.change",
            "inventory.change",
            "levels.change",
            "rules.change",
            "rules.read",
            "work_orders.cancel",
            "work_orders.complete_outsourced",
            "workshop.cancel",
            "workshop.review",
            "xp.change",
            "xp.read",
        ],
    ),
    ("master", ["workshop.review"]),
    (
        "ops_manager",
        [
            "attendance.change",
            "inventory.change",
            "levels.change",
            "rules.read",
            "workshop.cancel",
            "workshop.metrics",
            "workshop.review",
            "xp.change",
            "xp.read",
        ],
    ),
    ("maintenance_lead", ["work_orders.cancel", "work_orders.complete_outsourced"]),
    ("operations_lead", ["work_orders.cancel"]),
    ("store_manager", ["work_orders.complete_outsourced"]),
)
_OPEN, _OPEN_BEFORE = "state NOT IN ('done', 'cancelled')", "state IN ('created', 'in_progress')"
_STATES = "'created', 'assigned', 'in_progress', 'returned', 'outsourced', 'under_review', 'new', 'waiting_qc', 'rework', 'done', 'cancelled'"
_STATE_OF_POLICY = "(policy = 'field' AND state IN ('created', 'assigned', 'in_progress', 'returned', 'outsourced', 'done', 'cancelled')) OR (policy = 'workshop' AND state IN ('under_review', 'new', 'assigned', 'in_progress', 'waiting_qc', 'rework', 'done', 'cancelled'))"
_APPEND_ONLY = ("work_order_events", "work_session_events", "xp_transactions", "level_events", "level_coupons")

_GRANT = sa.text("""
    INSERT INTO role_permissions (role_id, permission)
    SELECT r.id, p FROM roles r, unnest(CAST(:permissions AS text[])) AS p WHERE r.org_id IS NULL AND r.code = :code
        ON CONFLICT DO NOTHING
""")
_REVOKE = sa.text("""
    DELETE FROM role_permissions USING roles r
     WHERE r.id = role_id AND r.org_id IS NULL AND r.code = :code AND permission = ANY(CAST(:permissions AS text[]))
""")


def _hold(table: str, column: str, values: str) -> None:
    """Hold a column to other words than before."""
    name = f"ck_{table}_{column}_legal"
    op.drop_constraint(op.f(name), table)
    op.create_check_constraint(op.f(name), table, f"{column} IN ({values})")


def _index_open(predicate: str) -> None:
    """Index the open orders of cases and teams anew, by what counts as open."""
    op.drop_index("uq_work_orders_open", "work_orders")
    op.drop_index("ix_work_orders_team_open", "work_orders")
    where = sa.text(predicate)
    op.create_index("uq_work_orders_open", "work_orders", ["case_id"], unique=True, postgresql_where=where)
    op.create_index("ix_work_orders_team_open", "work_orders", ["team_id"], postgresql_where=where)


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "attendance_records",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("work_date", sa.Date(), nullable=False),
        sa.Column("checked_in_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("checked_out_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("checked_out_at >= checked_in_at", name=op.f("ck_attendance_records_in_order")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_attendance_records_org_id")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_attendance_records_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attendance_records")),
        sa.UniqueConstraint(
            "org_id", "person_id", "work_date", name=op.f("uq_attendance_records_org_id_person_id_work_date")
        ),
    )
    op.create_index(
        op.f("ix_attendance_records_org_id_work_date_id"),
        "attendance_records",
        ["org_id", "work_date", "id"],
        unique=False,
    )
    op.create_table(
        "item_categories",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("name <> ''", name=op.f("ck_item_categories_name_not_blank")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_item_categories_org_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_item_categories")),
        sa.UniqueConstraint("org_id", "name", name=op.f("uq_item_categories_org_id_name")),
    )
    op.create_table(
        "level_coupons",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("amount > 0", name=op.f("ck_level_coupons_amount_positive")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_level_coupons_org_id")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_level_coupons_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_level_coupons")),
        sa.UniqueConstraint("org_id", "reference", name=op.f("uq_level_coupons_org_id_reference")),
    )
    op.create_table(
        "level_events",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("week_start", sa.Date(), nullable=True),
        sa.Column("week_xp", sa.Integer(), nullable=True),
        sa.Column("total_xp", sa.Integer(), nullable=False),
        sa.Column("from_level", sa.SmallInteger(), nullable=False),
        sa.Column("to_level", sa.SmallInteger(), nullable=False),
        sa.Column("reason", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "(source = 'weekly_evaluation') = (week_start IS NOT NULL)",
            name=op.f("ck_level_events_week_of_evaluations"),
        ),
        sa.CheckConstraint(
            "source IN ('weekly_evaluation', 'manual_override')", name=op.f("ck_level_events_source_legal")
        ),
        sa.CheckConstraint(
            "status IN ('level_up', 'maintained', 'warning', 'reset_to_l1', 'manual_set', 'warning_cleared')",
            name=op.f("ck_level_events_status_legal"),
        ),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_level_events_org_id")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_level_events_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_level_events")),
        sa.UniqueConstraint(
            "org_id", "person_id", "week_start", name=op.f("uq_level_events_org_id_person_id_week_start")
        ),
    )
    op.create_index(
        op.f("ix_level_events_org_id_person_id_id"), "level_events", ["org_id", "person_id", "id"], unique=False
    )
    op.create_table(
        "levels",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("level", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("is_warned", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.CheckConstraint("level BETWEEN 1 AND 5", name=op.f("ck_levels_level_range")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_levels_org_id")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_levels_person_id")),
        sa.PrimaryKeyConstraint("org_id", "person_id", name=op.f("pk_levels")),
    )
    op.create_table(
        "rules_versions",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("rules", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("checksum", sa.Text(), nullable=False),
        sa.Column("diff", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("reason", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("source_version", sa.Integer(), nullable=True),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "(action = 'rollback') = (source_version IS NOT NULL)", name=op.f("ck_rules_versions_source_of_rollback")
        ),
        sa.CheckConstraint(
            "action IN ('bootstrap', 'update', 'rollback')", name=op.f("ck_rules_versions_action_legal")
        ),
        sa.CheckConstraint("version > 0", name=op.f("ck_rules_versions_version_positive")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_rules_versions_org_id")),
        sa.PrimaryKeyConstraint("org_id", "version", name=op.f("pk_rules_versions")),
    )
    op.create_table(
        "devices",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=True),
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("token_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("token_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("dropped_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("dropped_because", sa.Text(), nullable=True),
        sa.CheckConstraint("platform IN ('android', 'ios', 'web')", name=op.f("ck_devices_platform_legal")),
        sa.CheckConstraint(
            "(dropped_at IS NULL) = (dropped_because IS NULL)", name=op.f("ck_devices_dropped_because_of_something")
        ),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_devices_org_id")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_devices_person_id")),
        sa.ForeignKeyConstraint(
            ["session_id"], ["sessions.id"], name=op.f("fk_devices_session_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_devices")),
    )
    op.create_index(
        "ix_devices_person", "devices", ["person_id"], unique=False, postgresql_where=sa.text("dropped_at IS NULL")
    )
    op.create_index(
        "ix_devices_session",
        "devices",
        ["session_id"],
        unique=False,
        postgresql_where=sa.text("session_id IS NOT NULL"),
    )
    op.create_index(
        "uq_devices_token", "devices", ["token_sha256"], unique=True, postgresql_where=sa.text("dropped_at IS NULL")
    )
    op.create_table(
        "inventory_items",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("serial_number", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("category_id", sa.Uuid(), nullable=True),
        sa.Column("state", sa.Text(), server_default="ready", nullable=False),
        sa.Column("version", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("made_because", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('ready', 'in_service', 'rented', 'blocked', 'write_off')",
            name=op.f("ck_inventory_items_state_legal"),
        ),
        sa.CheckConstraint(
            "serial_number = upper(serial_number) AND length(serial_number) BETWEEN 1 AND 32",
            name=op.f("ck_inventory_items_serial"),
        ),
        sa.ForeignKeyConstraint(["category_id"], ["item_categories.id"], name=op.f("fk_inventory_items_category_id")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_inventory_items_org_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inventory_items")),
        sa.UniqueConstraint("org_id", "serial_number", name=op.f("uq_inventory_items_org_id_serial_number")),
    )
    op.create_table(
        "parts",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("category_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("name <> ''", name=op.f("ck_parts_name_not_blank")),
        sa.ForeignKeyConstraint(["category_id"], ["item_categories.id"], name=op.f("fk_parts_category_id")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_parts_org_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_parts")),
        sa.UniqueConstraint("category_id", "name", name=op.f("uq_parts_category_id_name")),
    )
    op.create_table(
        "checklists",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("site_id", sa.Uuid(), nullable=False),
        sa.Column("asset_id", sa.Uuid(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="held", nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("released_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(state = 'released') = (released_at IS NOT NULL)", name=op.f("ck_checklists_released_at_when_released")
        ),
        sa.CheckConstraint("name <> ''", name=op.f("ck_checklists_name_not_blank")),
        sa.CheckConstraint("state IN ('held', 'released')", name=op.f("ck_checklists_state_legal")),
        sa.ForeignKeyConstraint(["asset_id"], ["assets.id"], name=op.f("fk_checklists_asset_id")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_checklists_org_id")),
        sa.ForeignKeyConstraint(["site_id"], ["sites.id"], name=op.f("fk_checklists_site_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_checklists")),
    )
    op.create_index(
        "ix_checklists_held",
        "checklists",
        ["site_id", "name"],
        unique=False,
        postgresql_where=sa.text("state = 'held'"),
    )
    op.create_table(
        "findings",
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("checklist_id", sa.Uuid(), nullable=False),
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("item_text", sa.Text(), nullable=False),
        sa.Column("item_note", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("item_text <> ''", name=op.f("ck_findings_item_text_not_blank")),
        sa.ForeignKeyConstraint(["checklist_id"], ["checklists.id"], name=op.f("fk_findings_checklist_id")),
        sa.ForeignKeyConstraint(["order_id"], ["work_orders.id"], name=op.f("fk_findings_order_id")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_findings_org_id")),
        sa.PrimaryKeyConstraint("order_id", name=op.f("pk_findings")),
    )
    op.create_index(op.f("ix_findings_checklist_id"), "findings", ["checklist_id"], unique=False)
    op.create_table(
        "notifications",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("pushed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "kind IN ('WO_ASSIGNED', 'WO_REASSIGNED', 'WO_DUE_SOON', 'WO_OVERDUE', 'WO_RETURNED', 'WO_CANCELLED', 'WO_QC_FAILED', 'WO_QC_PASSED')",
            name=op.f("ck_notifications_kind_legal"),
        ),
        sa.ForeignKeyConstraint(["order_id"], ["work_orders.id"], name=op.f("fk_notifications_order_id")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_notifications_org_id")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_notifications_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notifications")),
        sa.UniqueConstraint(
            "org_id", "person_id", "reference", name=op.f("uq_notifications_org_id_person_id_reference")
        ),
    )
    op.create_index(op.f("ix_notifications_order_id"), "notifications", ["order_id"], unique=False)
    op.create_index(
        op.f("ix_notifications_org_id_person_id_id"), "notifications", ["org_id", "person_id", "id"], unique=False
    )
    op.create_index(
        "ix_notifications_unread",
        "notifications",
        ["org_id", "person_id"],
        unique=False,
        postgresql_where=sa.text("read_at IS NULL"),
    )
    op.create_table(
        "order_photos",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("attempt", sa.SmallInteger(), nullable=False),
        sa.Column("source_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("thumbnail_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lat", sa.Double(), nullable=True),
        sa.Column("lon", sa.Double(), nullable=True),
        sa.Column("device", sa.Text(), nullable=True),
        sa.Column("uploaded_by", sa.Text(), nullable=False),
        sa.Column("uploaded_by_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("removed_by", sa.Text(), nullable=True),
        sa.CheckConstraint("kind IN ('ISSUE', 'COMPLETION', 'RETURN')", name=op.f("ck_order_photos_kind_legal")),
        sa.CheckConstraint("(lat IS NULL) = (lon IS NULL)", name=op.f("ck_order_photos_position_whole")),
        sa.CheckConstraint(
            "(removed_at IS NULL) = (removed_by IS NULL)", name=op.f("ck_order_photos_removed_by_somebody")
        ),
        sa.CheckConstraint(
            "length(source_sha256) = 32 AND length(sha256) = 32", name=op.f("ck_order_photos_sha256_length")
        ),
        sa.ForeignKeyConstraint(["order_id"], ["work_orders.id"], name=op.f("fk_order_photos_order_id")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_order_photos_org_id")),
        sa.ForeignKeyConstraint(["uploaded_by_id"], ["people.id"], name=op.f("fk_order_photos_uploaded_by_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_order_photos")),
    )
    op.create_index(op.f("ix_order_photos_sha256"), "order_photos", ["sha256"], unique=False)
    op.create_index(
        "ix_order_photos_there",
        "order_photos",
        ["order_id", "id"],
        unique=False,
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.create_index(op.f("ix_order_photos_thumbnail_sha256"), "order_photos", ["thumbnail_sha256"], unique=False)
    op.create_index(
        "uq_order_photos_source",
        "order_photos",
        ["order_id", "kind", "attempt", "source_sha256"],
        unique=True,
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.create_table(
        "quality_checks",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("technician_id", sa.Uuid(), nullable=False),
        sa.Column("inspector_id", sa.Uuid(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("notes", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("result IN ('PASS', 'FAIL')", name=op.f("ck_quality_checks_result_legal")),
        sa.CheckConstraint("inspector_id <> technician_id", name=op.f("ck_quality_checks_four_eyes")),
        sa.ForeignKeyConstraint(["inspector_id"], ["people.id"], name=op.f("fk_quality_checks_inspector_id")),
        sa.ForeignKeyConstraint(["order_id"], ["work_orders.id"], name=op.f("fk_quality_checks_order_id")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_quality_checks_org_id")),
        sa.ForeignKeyConstraint(["technician_id"], ["people.id"], name=op.f("fk_quality_checks_technician_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quality_checks")),
    )
    op.create_index(op.f("ix_quality_checks_order_id_id"), "quality_checks", ["order_id", "id"], unique=False)
    op.create_index(
        op.f("ix_quality_checks_org_id_technician_id_id"),
        "quality_checks",
        ["org_id", "technician_id", "id"],
        unique=False,
    )
    op.create_table(
        "repair_parts",
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("part_id", sa.Uuid(), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.SmallInteger(), nullable=False),
        sa.Column("color", sa.Text(), nullable=False),
        sa.Column("comment", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("minutes", sa.Integer(), nullable=False),
        sa.CheckConstraint("color IN ('green', 'yellow', 'red')", name=op.f("ck_repair_parts_color_legal")),
        sa.CheckConstraint("minutes >= 1", name=op.f("ck_repair_parts_minutes_positive")),
        sa.ForeignKeyConstraint(["order_id"], ["work_orders.id"], name=op.f("fk_repair_parts_order_id")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_repair_parts_org_id")),
        sa.ForeignKeyConstraint(["part_id"], ["parts.id"], name=op.f("fk_repair_parts_part_id")),
        sa.PrimaryKeyConstraint("order_id", "part_id", name=op.f("pk_repair_parts")),
    )
    op.create_table(
        "repairs",
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("minutes", sa.Integer(), nullable=False),
        sa.Column("flag_color", sa.Text(), nullable=False),
        sa.Column("xp_amount", sa.Integer(), nullable=False),
        sa.Column("is_manual", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("approved_by_id", sa.Uuid(), nullable=True),
        sa.Column("approved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("flag_color IN ('green', 'yellow', 'red')", name=op.f("ck_repairs_flag_color_legal")),
        sa.CheckConstraint(
            "(approved_by_id IS NULL) = (approved_at IS NULL)", name=op.f("ck_repairs_approved_by_somebody")
        ),
        sa.CheckConstraint("minutes > 0", name=op.f("ck_repairs_minutes_positive")),
        sa.CheckConstraint("xp_amount >= 0", name=op.f("ck_repairs_xp_amount_positive")),
        sa.ForeignKeyConstraint(["approved_by_id"], ["people.id"], name=op.f("fk_repairs_approved_by_id")),
        sa.ForeignKeyConstraint(["order_id"], ["work_orders.id"], name=op.f("fk_repairs_order_id")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_repairs_org_id")),
        sa.PrimaryKeyConstraint("order_id", name=op.f("pk_repairs")),
    )
    op.create_table(
        "work_order_events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("command", sa.Text(), nullable=False),
        sa.Column("attempt", sa.SmallInteger(), nullable=False),
        sa.Column("from_state", sa.Text(), nullable=True),
        sa.Column("to_state", sa.Text(), nullable=False),
        sa.Column("actor_id", sa.Text(), nullable=False),
        sa.Column("actor_role", sa.Text(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("data", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("audit_number", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "(policy = 'field' AND ((from_state IS NULL AND to_state IN ('assigned', 'created')) OR (from_state IS NOT NULL AND (from_state, to_state) IN (('assigned', 'assigned'), ('assigned', 'cancelled'), ('assigned', 'created'), ('assigned', 'done'), ('assigned', 'in_progress'), ('assigned', 'outsourced'), ('assigned', 'returned'), ('cancelled', 'cancelled'), ('cancelled', 'created'), ('created', 'assigned'), ('created', 'cancelled'), ('created', 'created'), ('created', 'done'), ('created', 'in_progress'), ('created', 'outsourced'), ('done', 'done'), ('done', 'in_progress'), ('in_progress', 'assigned'), ('in_progress', 'cancelled'), ('in_progress', 'created'), ('in_progress', 'done'), ('in_progress', 'in_progress'), ('in_progress', 'returned'), ('outsourced', 'assigned'), ('outsourced', 'cancelled'), ('outsourced', 'done'), ('outsourced', 'outsourced'), ('returned', 'assigned'), ('returned', 'cancelled'), ('returned', 'done'), ('returned', 'outsourced'), ('returned', 'returned'))))) OR (policy = 'workshop' AND ((from_state IS NULL AND to_state IN ('under_review')) OR (from_state IS NOT NULL AND (from_state, to_state) IN (('assigned', 'assigned'), ('assigned', 'cancelled'), ('assigned', 'in_progress'), ('cancelled', 'cancelled'), ('done', 'done'), ('in_progress', 'cancelled'), ('in_progress', 'in_progress'), ('in_progress', 'waiting_qc'), ('new', 'assigned'), ('new', 'cancelled'), ('new', 'new'), ('rework', 'cancelled'), ('rework', 'in_progress'), ('rework', 'rework'), ('under_review', 'assigned'), ('under_review', 'cancelled'), ('under_review', 'new'), ('under_review', 'under_review'), ('waiting_qc', 'cancelled'), ('waiting_qc', 'done'), ('waiting_qc', 'rework'), ('waiting_qc', 'waiting_qc')))))",
            name=op.f("ck_work_order_events_legal"),
        ),
        sa.CheckConstraint("policy IN ('field', 'workshop')", name=op.f("ck_work_order_events_policy_legal")),
        sa.ForeignKeyConstraint(["order_id"], ["work_orders.id"], name=op.f("fk_work_order_events_order_id")),
        sa.ForeignKeyConstraint(
            ["org_id", "audit_number"],
            ["audit_events.org_id", "audit_events.number"],
            name=op.f("fk_work_order_events_org_id_audit_number"),
        ),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_work_order_events_org_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_work_order_events")),
    )
    op.create_index(op.f("ix_work_order_events_order_id_id"), "work_order_events", ["order_id", "id"], unique=False)
    op.create_table(
        "work_sessions",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("technician_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), server_default="running", nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(state = 'stopped') = (ended_at IS NOT NULL)", name=op.f("ck_work_sessions_ended_when_stopped")
        ),
        sa.CheckConstraint("state IN ('running', 'paused', 'stopped')", name=op.f("ck_work_sessions_state_legal")),
        sa.ForeignKeyConstraint(["order_id"], ["work_orders.id"], name=op.f("fk_work_sessions_order_id")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_work_sessions_org_id")),
        sa.ForeignKeyConstraint(["technician_id"], ["people.id"], name=op.f("fk_work_sessions_technician_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_work_sessions")),
    )
    op.create_index(op.f("ix_work_sessions_order_id_id"), "work_sessions", ["order_id", "id"], unique=False)
    op.create_index(
        "uq_work_sessions_order_open",
        "work_sessions",
        ["order_id"],
        unique=True,
        postgresql_where=sa.text("state <> 'stopped'"),
    )
    op.create_index(
        "uq_work_sessions_technician_open",
        "work_sessions",
        ["org_id", "technician_id"],
        unique=True,
        postgresql_where=sa.text("state <> 'stopped'"),
    )
    op.create_table(
        "xp_transactions",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("amount", sa.Integer(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=True),
        sa.Column("comment", sa.Text(), nullable=True),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "kind IN ('attendance_punctuality', 'ticket_base_xp', 'ticket_qc_first_pass_bonus', 'ticket_qc_status_update', 'manual_adjustment')",
            name=op.f("ck_xp_transactions_kind_legal"),
        ),
        sa.ForeignKeyConstraint(["order_id"], ["work_orders.id"], name=op.f("fk_xp_transactions_order_id")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_xp_transactions_org_id")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_xp_transactions_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_xp_transactions")),
        sa.UniqueConstraint("org_id", "reference", name=op.f("uq_xp_transactions_org_id_reference")),
    )
    op.create_index(
        op.f("ix_xp_transactions_org_id_person_id_id"),
        "xp_transactions",
        ["org_id", "person_id", "id"],
        unique=False,
        postgresql_include=["amount", "created_at"],
    )
    op.create_table(
        "resumable_uploads",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=True),
        sa.Column("client_id", sa.Text(), nullable=True),
        sa.Column("length", sa.BigInteger(), nullable=False),
        sa.Column("received", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=True),
        sa.Column("photo_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("kind IN ('ISSUE', 'COMPLETION', 'RETURN')", name=op.f("ck_resumable_uploads_kind_legal")),
        sa.CheckConstraint(
            "length > 0 AND received BETWEEN 0 AND length", name=op.f("ck_resumable_uploads_received_in_range")
        ),
        sa.ForeignKeyConstraint(["order_id"], ["work_orders.id"], name=op.f("fk_resumable_uploads_order_id")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_resumable_uploads_org_id")),
        sa.ForeignKeyConstraint(["photo_id"], ["order_photos.id"], name=op.f("fk_resumable_uploads_photo_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_resumable_uploads")),
    )
    op.create_index(op.f("ix_resumable_uploads_expires_at"), "resumable_uploads", ["expires_at"], unique=False)
    op.create_index(op.f("ix_resumable_uploads_order_id"), "resumable_uploads", ["order_id"], unique=False)
    op.create_index("uq_resumable_uploads_client", "resumable_uploads", ["org_id", "owner", "client_id"], unique=True)
    op.create_table(
        "work_session_events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("technician_id", sa.Uuid(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("event_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor_id", sa.Text(), nullable=False),
        sa.Column("data", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.CheckConstraint(
            "action IN ('started', 'paused', 'resumed', 'stopped')", name=op.f("ck_work_session_events_action_legal")
        ),
        sa.ForeignKeyConstraint(["order_id"], ["work_orders.id"], name=op.f("fk_work_session_events_order_id")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_work_session_events_org_id")),
        sa.ForeignKeyConstraint(["session_id"], ["work_sessions.id"], name=op.f("fk_work_session_events_session_id")),
        sa.ForeignKeyConstraint(["technician_id"], ["people.id"], name=op.f("fk_work_session_events_technician_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_work_session_events")),
    )
    op.create_index(op.f("ix_work_session_events_order_id_id"), "work_session_events", ["order_id", "id"], unique=False)
    op.create_index(
        op.f("ix_work_session_events_org_id_technician_id_event_at"),
        "work_session_events",
        ["org_id", "technician_id", "event_at"],
        unique=False,
    )
    op.create_index(
        op.f("ix_work_session_events_session_id_id"), "work_session_events", ["session_id", "id"], unique=False
    )
    op.create_table(
        "upload_parts",
        sa.Column("upload_id", sa.Uuid(), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("begins_at", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_upload_parts_org_id")),
        sa.ForeignKeyConstraint(
            ["upload_id"], ["resumable_uploads.id"], name=op.f("fk_upload_parts_upload_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("upload_id", "begins_at", name=op.f("pk_upload_parts")),
    )
    op.add_column("work_orders", sa.Column("policy", sa.Text(), server_default="field", nullable=False))
    op.add_column("work_orders", sa.Column("title", sa.Text(), server_default=sa.text("''"), nullable=False))
    op.add_column("work_orders", sa.Column("priority", sa.Text(), server_default="normal", nullable=False))
    op.add_column("work_orders", sa.Column("checklist_id", sa.Uuid(), nullable=True))
    op.add_column("work_orders", sa.Column("item_id", sa.Uuid(), nullable=True))
    op.add_column("work_orders", sa.Column("site_id", sa.Uuid(), nullable=True))
    op.add_column("work_orders", sa.Column("asset_id", sa.Uuid(), nullable=True))
    op.add_column("work_orders", sa.Column("assigned_to_id", sa.Uuid(), nullable=True))
    op.add_column("work_orders", sa.Column("assigned_by_id", sa.Uuid(), nullable=True))
    op.add_column("work_orders", sa.Column("assigned_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("work_orders", sa.Column("attempt", sa.SmallInteger(), server_default=sa.text("0"), nullable=False))
    op.add_column("work_orders", sa.Column("created_by_id", sa.Uuid(), nullable=True))
    op.add_column("work_orders", sa.Column("instructions", sa.Text(), nullable=True))
    op.add_column("work_orders", sa.Column("return_reason", sa.Text(), nullable=True))
    op.add_column("work_orders", sa.Column("fix_note", sa.Text(), nullable=True))
    op.add_column("work_orders", sa.Column("outsourced_to", sa.Text(), nullable=True))
    op.add_column("work_orders", sa.Column("started_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("work_orders", sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("work_orders", sa.Column("due_soon_told_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("work_orders", sa.Column("overdue_told_at", sa.DateTime(timezone=True), nullable=True))
    op.alter_column("work_orders", "case_id", existing_type=sa.UUID(), nullable=True)
    op.alter_column("work_orders", "due_at", existing_type=postgresql.TIMESTAMP(timezone=True), nullable=True)
    op.create_index(
        "ix_work_orders_checklist_open",
        "work_orders",
        ["checklist_id"],
        unique=False,
        postgresql_where=sa.text("state NOT IN ('done', 'cancelled')"),
    )
    op.create_index(
        "ix_work_orders_due",
        "work_orders",
        ["org_id", "state", "due_at", "id"],
        unique=False,
        postgresql_where=sa.text("policy = 'field'"),
    )
    op.create_index(
        "ix_work_orders_due_at_site",
        "work_orders",
        ["site_id", "state", "due_at", "id"],
        unique=False,
        postgresql_where=sa.text("policy = 'field'"),
    )
    op.create_index(
        "ix_work_orders_due_mine",
        "work_orders",
        ["assigned_to_id", "state", "due_at", "id"],
        unique=False,
        postgresql_where=sa.text("policy = 'field'"),
    )
    op.create_index(
        "ix_work_orders_due_soon",
        "work_orders",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text(
            "policy = 'field' AND state IN ('created', 'assigned', 'in_progress', 'returned') AND due_soon_told_at IS NULL"
        ),
    )
    op.create_index(
        "ix_work_orders_mine_closed",
        "work_orders",
        ["assigned_to_id", "closed_at"],
        unique=False,
        postgresql_where=sa.text("closed_at IS NOT NULL"),
    )
    op.create_index(
        "ix_work_orders_mine_open",
        "work_orders",
        ["assigned_to_id", "due_at"],
        unique=False,
        postgresql_where=sa.text("state NOT IN ('done', 'cancelled')"),
    )
    op.create_index(
        "ix_work_orders_outsourced",
        "work_orders",
        ["org_id", "state", "due_at", "id"],
        unique=False,
        postgresql_where=sa.text("outsourced_to IS NOT NULL"),
    )
    op.create_index(
        "ix_work_orders_overdue",
        "work_orders",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text(
            "policy = 'field' AND state IN ('created', 'assigned', 'in_progress', 'returned') AND overdue_told_at IS NULL"
        ),
    )
    op.create_index(
        "ix_work_orders_repairs",
        "work_orders",
        ["org_id", "id"],
        unique=False,
        postgresql_where=sa.text("policy = 'workshop'"),
    )
    op.create_index(
        "ix_work_orders_repairs_in",
        "work_orders",
        ["org_id", "state", "id"],
        unique=False,
        postgresql_where=sa.text("policy = 'workshop'"),
    )
    op.create_index(
        "ix_work_orders_repairs_of",
        "work_orders",
        ["assigned_to_id", "id"],
        unique=False,
        postgresql_where=sa.text("policy = 'workshop'"),
    )
    op.create_index(
        "uq_work_orders_in_progress",
        "work_orders",
        ["org_id", "assigned_to_id"],
        unique=True,
        postgresql_where=sa.text("policy = 'workshop' AND state = 'in_progress'"),
    )
    op.create_index(
        "uq_work_orders_item",
        "work_orders",
        ["item_id"],
        unique=True,
        postgresql_where=sa.text("state NOT IN ('done', 'cancelled')"),
    )
    op.create_foreign_key(op.f("fk_work_orders_asset_id"), "work_orders", "assets", ["asset_id"], ["id"])
    op.create_foreign_key(op.f("fk_work_orders_assigned_to_id"), "work_orders", "people", ["assigned_to_id"], ["id"])
    op.create_foreign_key(op.f("fk_work_orders_item_id"), "work_orders", "inventory_items", ["item_id"], ["id"])
    op.create_foreign_key(op.f("fk_work_orders_site_id"), "work_orders", "sites", ["site_id"], ["id"])
    op.create_foreign_key(op.f("fk_work_orders_created_by_id"), "work_orders", "people", ["created_by_id"], ["id"])
    op.create_foreign_key(op.f("fk_work_orders_assigned_by_id"), "work_orders", "people", ["assigned_by_id"], ["id"])
    op.create_foreign_key(op.f("fk_work_orders_checklist_id"), "work_orders", "checklists", ["checklist_id"], ["id"])

    _hold("work_orders", "state", _STATES)
    op.create_check_constraint(op.f("ck_work_orders_state_of_policy"), "work_orders", _STATE_OF_POLICY)
    op.create_check_constraint(
        op.f("ck_work_orders_due_in_the_field"), "work_orders", "policy <> 'field' OR due_at IS NOT NULL"
    )
    op.create_check_constraint(
        op.f("ck_work_orders_item_in_the_workshop"), "work_orders", "(policy = 'workshop') = (item_id IS NOT NULL)"
    )
    op.create_check_constraint(
        op.f("ck_work_orders_closed_when_over"), "work_orders", "closed_at IS NULL OR state IN ('done', 'cancelled')"
    )
    op.create_check_constraint(
        op.f("ck_work_orders_somebody_s"),
        "work_orders",
        "state NOT IN ('assigned', 'waiting_qc', 'rework') OR assigned_to_id IS NOT NULL",
    )
    op.create_check_constraint(
        op.f("ck_work_orders_outsourced_to_somebody"),
        "work_orders",
        "(state = 'outsourced') <= (outsourced_to IS NOT NULL)",
    )
    op.create_check_constraint(
        op.f("ck_work_orders_returned_because_of_something"),
        "work_orders",
        "(state = 'returned') <= (return_reason IS NOT NULL)",
    )
    op.create_check_constraint(op.f("ck_work_orders_policy_legal"), "work_orders", "policy IN ('field', 'workshop')")
    op.create_check_constraint(
        op.f("ck_work_orders_priority_legal"), "work_orders", "priority IN ('low', 'normal', 'high', 'urgent')"
    )
    _index_open(_OPEN)
    for table in _APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION refuse_change();"
            f"CREATE TRIGGER no_truncate BEFORE TRUNCATE ON {table} EXECUTE FUNCTION refuse_change()"
        )
    for code, permissions in _GRANTS:
        op.get_bind().execute(_GRANT, {"code": code, "permissions": permissions})


def downgrade() -> None:
    """Take back; orders that only this version knows go with it."""
    for code, permissions in _GRANTS:
        op.get_bind().execute(_REVOKE, {"code": code, "permissions": permissions})
    op.drop_constraint(op.f("ck_work_orders_state_of_policy"), "work_orders")
    op.drop_constraint(op.f("ck_work_orders_due_in_the_field"), "work_orders")
    op.drop_constraint(op.f("ck_work_orders_item_in_the_workshop"), "work_orders")
    op.drop_constraint(op.f("ck_work_orders_closed_when_over"), "work_orders")
    op.drop_constraint(op.f("ck_work_orders_somebody_s"), "work_orders")
    op.drop_constraint(op.f("ck_work_orders_outsourced_to_somebody"), "work_orders")
    op.drop_constraint(op.f("ck_work_orders_returned_because_of_something"), "work_orders")
    op.drop_constraint(op.f("ck_work_orders_policy_legal"), "work_orders")
    op.drop_constraint(op.f("ck_work_orders_priority_legal"), "work_orders")
    _index_open(_OPEN_BEFORE)
    op.execute("DELETE FROM work_orders WHERE case_id IS NULL")
    op.execute(
        "UPDATE work_orders SET state = 'created' WHERE state NOT IN ('created', 'in_progress', 'done', 'cancelled')"
    )
    _hold("work_orders", "state", "'created', 'in_progress', 'done', 'cancelled'")
    op.drop_constraint(op.f("fk_work_orders_checklist_id"), "work_orders", type_="foreignkey")
    op.drop_constraint(op.f("fk_work_orders_assigned_by_id"), "work_orders", type_="foreignkey")
    op.drop_constraint(op.f("fk_work_orders_created_by_id"), "work_orders", type_="foreignkey")
    op.drop_constraint(op.f("fk_work_orders_site_id"), "work_orders", type_="foreignkey")
    op.drop_constraint(op.f("fk_work_orders_item_id"), "work_orders", type_="foreignkey")
    op.drop_constraint(op.f("fk_work_orders_assigned_to_id"), "work_orders", type_="foreignkey")
    op.drop_constraint(op.f("fk_work_orders_asset_id"), "work_orders", type_="foreignkey")
    op.drop_index(
        "uq_work_orders_item", table_name="work_orders", postgresql_where=sa.text("state NOT IN ('done', 'cancelled')")
    )
    op.drop_index(
        "uq_work_orders_in_progress",
        table_name="work_orders",
        postgresql_where=sa.text("policy = 'workshop' AND state = 'in_progress'"),
    )
    op.drop_index(
        "ix_work_orders_repairs_of", table_name="work_orders", postgresql_where=sa.text("policy = 'workshop'")
    )
    op.drop_index(
        "ix_work_orders_repairs_in", table_name="work_orders", postgresql_where=sa.text("policy = 'workshop'")
    )
    op.drop_index("ix_work_orders_repairs", table_name="work_orders", postgresql_where=sa.text("policy = 'workshop'"))
    op.drop_index(
        "ix_work_orders_overdue",
        table_name="work_orders",
        postgresql_where=sa.text(
            "policy = 'field' AND state IN ('created', 'assigned', 'in_progress', 'returned') AND overdue_told_at IS NULL"
        ),
    )
    op.drop_index(
        "ix_work_orders_outsourced", table_name="work_orders", postgresql_where=sa.text("outsourced_to IS NOT NULL")
    )
    op.drop_index(
        "ix_work_orders_mine_open",
        table_name="work_orders",
        postgresql_where=sa.text("state NOT IN ('done', 'cancelled')"),
    )
    op.drop_index(
        "ix_work_orders_mine_closed", table_name="work_orders", postgresql_where=sa.text("closed_at IS NOT NULL")
    )
    op.drop_index(
        "ix_work_orders_due_soon",
        table_name="work_orders",
        postgresql_where=sa.text(
            "policy = 'field' AND state IN ('created', 'assigned', 'in_progress', 'returned') AND due_soon_told_at IS NULL"
        ),
    )
    op.drop_index("ix_work_orders_due_mine", table_name="work_orders", postgresql_where=sa.text("policy = 'field'"))
    op.drop_index("ix_work_orders_due_at_site", table_name="work_orders", postgresql_where=sa.text("policy = 'field'"))
    op.drop_index("ix_work_orders_due", table_name="work_orders", postgresql_where=sa.text("policy = 'field'"))
    op.drop_index(
        "ix_work_orders_checklist_open",
        table_name="work_orders",
        postgresql_where=sa.text("state NOT IN ('done', 'cancelled')"),
    )
    op.alter_column("work_orders", "due_at", existing_type=postgresql.TIMESTAMP(timezone=True), nullable=False)
    op.alter_column("work_orders", "case_id", existing_type=sa.UUID(), nullable=False)
    op.drop_column("work_orders", "overdue_told_at")
    op.drop_column("work_orders", "due_soon_told_at")
    op.drop_column("work_orders", "closed_at")
    op.drop_column("work_orders", "started_at")
    op.drop_column("work_orders", "outsourced_to")
    op.drop_column("work_orders", "fix_note")
    op.drop_column("work_orders", "return_reason")
    op.drop_column("work_orders", "instructions")
    op.drop_column("work_orders", "created_by_id")
    op.drop_column("work_orders", "attempt")
    op.drop_column("work_orders", "assigned_at")
    op.drop_column("work_orders", "assigned_by_id")
    op.drop_column("work_orders", "assigned_to_id")
    op.drop_column("work_orders", "asset_id")
    op.drop_column("work_orders", "site_id")
    op.drop_column("work_orders", "item_id")
    op.drop_column("work_orders", "checklist_id")
    op.drop_column("work_orders", "priority")
    op.drop_column("work_orders", "title")
    op.drop_column("work_orders", "policy")
    op.drop_table("upload_parts")
    op.drop_index(op.f("ix_work_session_events_session_id_id"), table_name="work_session_events")
    op.drop_index(op.f("ix_work_session_events_org_id_technician_id_event_at"), table_name="work_session_events")
    op.drop_index(op.f("ix_work_session_events_order_id_id"), table_name="work_session_events")
    op.drop_table("work_session_events")
    op.drop_index("uq_resumable_uploads_client", table_name="resumable_uploads")
    op.drop_index(op.f("ix_resumable_uploads_order_id"), table_name="resumable_uploads")
    op.drop_index(op.f("ix_resumable_uploads_expires_at"), table_name="resumable_uploads")
    op.drop_table("resumable_uploads")
    op.drop_index(
        op.f("ix_xp_transactions_org_id_person_id_id"),
        table_name="xp_transactions",
        postgresql_include=["amount", "created_at"],
    )
    op.drop_table("xp_transactions")
    op.drop_index(
        "uq_work_sessions_technician_open", table_name="work_sessions", postgresql_where=sa.text("state <> 'stopped'")
    )
    op.drop_index(
        "uq_work_sessions_order_open", table_name="work_sessions", postgresql_where=sa.text("state <> 'stopped'")
    )
    op.drop_index(op.f("ix_work_sessions_order_id_id"), table_name="work_sessions")
    op.drop_table("work_sessions")
    op.drop_index(op.f("ix_work_order_events_order_id_id"), table_name="work_order_events")
    op.drop_table("work_order_events")
    op.drop_table("repairs")
    op.drop_table("repair_parts")
    op.drop_index(op.f("ix_quality_checks_org_id_technician_id_id"), table_name="quality_checks")
    op.drop_index(op.f("ix_quality_checks_order_id_id"), table_name="quality_checks")
    op.drop_table("quality_checks")
    op.drop_index("uq_order_photos_source", table_name="order_photos", postgresql_where=sa.text("removed_at IS NULL"))
    op.drop_index(op.f("ix_order_photos_thumbnail_sha256"), table_name="order_photos")
    op.drop_index("ix_order_photos_there", table_name="order_photos", postgresql_where=sa.text("removed_at IS NULL"))
    op.drop_index(op.f("ix_order_photos_sha256"), table_name="order_photos")
    op.drop_table("order_photos")
    op.drop_index("ix_notifications_unread", table_name="notifications", postgresql_where=sa.text("read_at IS NULL"))
    op.drop_index(op.f("ix_notifications_org_id_person_id_id"), table_name="notifications")
    op.drop_index(op.f("ix_notifications_order_id"), table_name="notifications")
    op.drop_table("notifications")
    op.drop_index(op.f("ix_findings_checklist_id"), table_name="findings")
    op.drop_table("findings")
    op.drop_index("ix_checklists_held", table_name="checklists", postgresql_where=sa.text("state = 'held'"))
    op.drop_table("checklists")
    op.drop_table("parts")
    op.drop_table("inventory_items")
    op.drop_index("uq_devices_token", table_name="devices", postgresql_where=sa.text("dropped_at IS NULL"))
    op.drop_index("ix_devices_session", table_name="devices", postgresql_where=sa.text("session_id IS NOT NULL"))
    op.drop_index("ix_devices_person", table_name="devices", postgresql_where=sa.text("dropped_at IS NULL"))
    op.drop_table("devices")
    op.drop_table("rules_versions")
    op.drop_table("levels")
    op.drop_index(op.f("ix_level_events_org_id_person_id_id"), table_name="level_events")
    op.drop_table("level_events")
    op.drop_table("level_coupons")
    op.drop_table("item_categories")
    op.drop_index(op.f("ix_attendance_records_org_id_work_date_id"), table_name="attendance_records")
    op.drop_table("attendance_records")
