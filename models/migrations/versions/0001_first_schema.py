"""The first schema."""

# Deploys roll: this migration must leave the version before it able to work. Fill big tables in batches elsewhere.

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Apply."""
    op.execute(sa.schema.CreateSequence(sa.Sequence("work_order_numbers")))
    op.execute(sa.schema.CreateSequence(sa.Sequence("worker_numbers", maxvalue=2_147_483_647, cycle=True)))
    op.create_table(
        "dead_letters",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("job_id", sa.BigInteger(), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("mailbox_id", sa.Uuid(), nullable=True),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("error_class", sa.Text(), nullable=False),
        sa.Column("error_text", sa.Text(), nullable=False),
        sa.Column("error_trace", sa.Text(), nullable=True),
        sa.Column("error_group", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("crashes", sa.Integer(), nullable=False),
        sa.Column("args", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("trace_id", sa.Text(), nullable=False),
        sa.Column("queued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("buried_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("resolution", sa.Text(), nullable=True),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("resolved_by", sa.Text(), nullable=True),
        sa.Column("resolved_reason", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "cause IN ('permanent', 'exhausted', 'crashed', 'unknown_stage')", name=op.f("ck_dead_letters_cause_legal")
        ),
        sa.CheckConstraint("lane IN ('live', 'repair', 'backfill')", name=op.f("ck_dead_letters_lane_legal")),
        sa.CheckConstraint("resolution IN ('replayed', 'discarded')", name=op.f("ck_dead_letters_resolution_legal")),
        sa.CheckConstraint(
            "(resolution IS NULL) = (resolved_at IS NULL)", name=op.f("ck_dead_letters_resolved_when_resolution")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dead_letters")),
    )
    op.create_index(op.f("ix_dead_letters_mailbox_id_id"), "dead_letters", ["mailbox_id", "id"], unique=False)
    op.create_index(
        "ix_dead_letters_open",
        "dead_letters",
        ["org_id", sa.literal_column("id DESC")],
        unique=False,
        postgresql_where=sa.text("resolution IS NULL"),
    )
    op.create_index(
        "uq_dead_letters_open", "dead_letters", ["job_id"], unique=True, postgresql_where=sa.text("resolution IS NULL")
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("mailbox_id", sa.Uuid(), nullable=True),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="ready", nullable=False),
        sa.Column("place", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("run_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("attempt", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("failures", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("crashes", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("company", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("is_suspect", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("is_wanted", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("worker", sa.Integer(), nullable=True),
        sa.Column("args", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("last_error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("trace_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "(state = 'running') = (lease_until IS NOT NULL AND worker IS NOT NULL)",
            name=op.f("ck_jobs_lease_when_running"),
        ),
        sa.CheckConstraint("lane IN ('live', 'repair', 'backfill')", name=op.f("ck_jobs_lane_legal")),
        sa.CheckConstraint(
            "state IN ('ready', 'running', 'waiting', 'blocked', 'dead')", name=op.f("ck_jobs_state_legal")
        ),
        sa.CheckConstraint("length(key) <= 200", name=op.f("ck_jobs_key_length")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.UniqueConstraint("stage", "key", name=op.f("uq_jobs_stage_key")),
        postgresql_with={
            "fillfactor": "70",
            "autovacuum_vacuum_scale_factor": "0.02",
            "autovacuum_vacuum_threshold": "1000",
        },
    )
    op.create_index(
        "ix_jobs_leased", "jobs", ["lease_until"], unique=False, postgresql_where=sa.text("state = 'running'")
    )
    op.create_index(
        "ix_jobs_ready",
        "jobs",
        ["stage", "lane", "place", "id"],
        unique=False,
        postgresql_where=sa.text("state = 'ready'"),
    )
    op.create_index(
        "ix_jobs_stopped",
        "jobs",
        ["mailbox_id"],
        unique=False,
        postgresql_where=sa.text("state IN ('blocked', 'dead')"),
    )
    op.create_index("ix_jobs_waiting", "jobs", ["run_at"], unique=False, postgresql_where=sa.text("state = 'waiting'"))
    op.create_table(
        "organizations",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("policy", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("name <> ''", name=op.f("ck_organizations_name_not_blank")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_organizations")),
        sa.UniqueConstraint("name", name=op.f("uq_organizations_name")),
    )
    op.create_table(
        "workers",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_workers")),
    )
    op.create_table(
        "assets",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("aliases", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("kind", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("zone", sa.Text(), nullable=True),
        sa.Column("lat", sa.Float(), nullable=True),
        sa.Column("lon", sa.Float(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("tag <> ''", name=op.f("ck_assets_tag_not_blank")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_assets_org_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assets")),
        sa.UniqueConstraint("org_id", "tag", name=op.f("uq_assets_org_id_tag")),
    )
    op.create_table(
        "blobs",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("stored_size", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("kind IN ('raw', 'attachment')", name=op.f("ck_blobs_kind_legal")),
        sa.CheckConstraint("length(sha256) = 32", name=op.f("ck_blobs_sha256_length")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_blobs_org_id")),
        sa.PrimaryKeyConstraint("org_id", "kind", "sha256", name=op.f("pk_blobs")),
    )
    op.create_table(
        "mailboxes",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="active", nullable=False),
        sa.Column("state_reason", sa.Text(), nullable=True),
        sa.Column("paused_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("source", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("credentials", sa.LargeBinary(), nullable=True),
        sa.Column("history_id", sa.BigInteger(), nullable=True),
        sa.Column("last_full_sync_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_incremental_sync_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_sync_error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("provider IN ('gmail', 'files')", name=op.f("ck_mailboxes_provider_legal")),
        sa.CheckConstraint("state IN ('active', 'paused', 'auth_required')", name=op.f("ck_mailboxes_state_legal")),
        sa.CheckConstraint("address = lower(address)", name=op.f("ck_mailboxes_address_lower")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_mailboxes_org_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mailboxes")),
        sa.UniqueConstraint("address", name=op.f("uq_mailboxes_address")),
    )
    op.create_index(op.f("ix_mailboxes_org_id"), "mailboxes", ["org_id"], unique=False)
    op.create_table(
        "messages",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("direction", sa.Text(), server_default="inbound", nullable=False),
        sa.Column("rfc_message_id", sa.Text(), nullable=True),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("collision_group_id", sa.Uuid(), nullable=True),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("subject_norm", sa.Text(), nullable=False),
        sa.Column("from_address", sa.Text(), nullable=True),
        sa.Column("from_name", sa.Text(), nullable=True),
        sa.Column("dated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("snippet", sa.Text(), nullable=False),
        sa.Column("flags", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("machine", sa.Text(), nullable=True),
        sa.Column("raw_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("parser_version", sa.SmallInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("direction IN ('inbound', 'outbound')", name=op.f("ck_messages_direction_legal")),
        sa.CheckConstraint(
            "machine IN ('loop', 'bounce', 'auto_reply', 'mailing_list', 'bulk', 'notification')",
            name=op.f("ck_messages_machine_legal"),
        ),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_messages_org_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_messages")),
        sa.UniqueConstraint(
            "org_id", "fingerprint", "signature", name=op.f("uq_messages_org_id_fingerprint_signature")
        ),
    )
    op.create_index(
        op.f("ix_messages_collision_group_id"),
        "messages",
        ["collision_group_id"],
        unique=False,
        postgresql_where=sa.text("collision_group_id IS NOT NULL"),
    )
    op.create_table(
        "queues",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("name <> ''", name=op.f("ck_queues_name_not_blank")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_queues_org_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_queues")),
        sa.UniqueConstraint("org_id", "slug", name=op.f("uq_queues_org_id_slug")),
    )
    op.create_table(
        "recipient_allowlist",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("pattern", sa.Text(), nullable=False),
        sa.Column("is_enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("pattern <> ''", name=op.f("ck_recipient_allowlist_pattern_not_blank")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_recipient_allowlist_org_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recipient_allowlist")),
        sa.UniqueConstraint("org_id", "pattern", name=op.f("uq_recipient_allowlist_org_id_pattern")),
    )
    op.create_table(
        "teams",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("skills", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("zones", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("capacity", sa.Integer(), nullable=True),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("capacity > 0", name=op.f("ck_teams_capacity_positive")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_teams_org_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_teams")),
        sa.UniqueConstraint("org_id", "name", name=op.f("uq_teams_org_id_name")),
    )
    op.create_table(
        "attachments",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("message_id", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), server_default="attachment", nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("disposition", sa.Text(), nullable=False),
        sa.Column("content_id", sa.Text(), nullable=True),
        sa.Column("is_quarantined", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.CheckConstraint("disposition IN ('attachment', 'inline')", name=op.f("ck_attachments_disposition_legal")),
        sa.ForeignKeyConstraint(["message_id"], ["messages.id"], name=op.f("fk_attachments_message_id")),
        sa.ForeignKeyConstraint(
            ["org_id", "kind", "sha256"],
            ["blobs.org_id", "blobs.kind", "blobs.sha256"],
            name=op.f("fk_attachments_org_id_kind_sha256"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attachments")),
        sa.UniqueConstraint("message_id", "position", name=op.f("uq_attachments_message_id_position")),
    )
    op.create_table(
        "backfills",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("mailbox_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), server_default="running", nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cursor", sa.Text(), nullable=True),
        sa.Column("listed", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("estimate", sa.BigInteger(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(state = 'done') = (finished_at IS NOT NULL)", name=op.f("ck_backfills_finished_when_done")
        ),
        sa.CheckConstraint("state IN ('running', 'done')", name=op.f("ck_backfills_state_legal")),
        sa.ForeignKeyConstraint(["mailbox_id"], ["mailboxes.id"], name=op.f("fk_backfills_mailbox_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_backfills")),
    )
    op.create_index(
        "uq_backfills_running", "backfills", ["mailbox_id"], unique=True, postgresql_where=sa.text("state = 'running'")
    )
    op.create_table(
        "cases",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("asset_id", sa.Uuid(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="open", nullable=False),
        sa.Column("priority_score", sa.Integer(), nullable=False),
        sa.Column("sla_hours", sa.Integer(), nullable=False),
        sa.Column("root_cause_tag", sa.Text(), nullable=False),
        sa.Column("confidence", sa.Numeric(precision=3, scale=2), nullable=False),
        sa.Column("recommended_action", sa.Text(), nullable=False),
        sa.Column("grid_stress_level", sa.Text(), nullable=False),
        sa.Column("explanation", sa.Text(), nullable=False),
        sa.Column("uncertainty_reasons", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("verification_required", sa.Boolean(), nullable=False),
        sa.Column("version", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("assessed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "grid_stress_level IN ('normal', 'elevated', 'high')", name=op.f("ck_cases_grid_stress_level_legal")
        ),
        sa.CheckConstraint("mode IN ('baseline', 'certainty')", name=op.f("ck_cases_mode_legal")),
        sa.CheckConstraint(
            "recommended_action IN ('dispatch_field_tech', 'remote_reset', 'needs_verification')",
            name=op.f("ck_cases_recommended_action_legal"),
        ),
        sa.CheckConstraint(
            "root_cause_tag IN ('payment_terminal', 'connector', 'network', 'unknown')",
            name=op.f("ck_cases_root_cause_tag_legal"),
        ),
        sa.CheckConstraint("state IN ('open', 'closed')", name=op.f("ck_cases_state_legal")),
        sa.CheckConstraint(
            "verification_required = (recommended_action = 'needs_verification')",
            name=op.f("ck_cases_verification_action"),
        ),
        sa.CheckConstraint("confidence BETWEEN 0 AND 1", name=op.f("ck_cases_confidence_range")),
        sa.CheckConstraint("priority_score BETWEEN 0 AND 100", name=op.f("ck_cases_priority_range")),
        sa.ForeignKeyConstraint(["asset_id"], ["assets.id"], name=op.f("fk_cases_asset_id")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_cases_org_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cases")),
    )
    op.create_index(
        "uq_cases_open",
        "cases",
        ["org_id", "asset_id", "mode"],
        unique=True,
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_table(
        "flows",
        sa.Column("mailbox_id", sa.Uuid(), nullable=False),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("finish", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("lane IN ('live', 'repair', 'backfill')", name=op.f("ck_flows_lane_legal")),
        sa.ForeignKeyConstraint(["mailbox_id"], ["mailboxes.id"], name=op.f("fk_flows_mailbox_id")),
        sa.PrimaryKeyConstraint("mailbox_id", "lane", name=op.f("pk_flows")),
    )
    op.create_table(
        "message_addresses",
        sa.Column("message_id", sa.BigInteger(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("position", sa.SmallInteger(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.CheckConstraint("role IN ('from', 'to', 'cc', 'reply_to')", name=op.f("ck_message_addresses_role_legal")),
        sa.ForeignKeyConstraint(["message_id"], ["messages.id"], name=op.f("fk_message_addresses_message_id")),
        sa.PrimaryKeyConstraint("message_id", "role", "position", name=op.f("pk_message_addresses")),
    )
    op.create_table(
        "message_contents",
        sa.Column("message_id", sa.BigInteger(), nullable=False),
        sa.Column("body_text", sa.Text(), nullable=False),
        sa.Column("body_html", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["message_id"], ["messages.id"], name=op.f("fk_message_contents_message_id")),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_message_contents")),
    )
    op.create_table(
        "message_references",
        sa.Column("message_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("position", sa.SmallInteger(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.CheckConstraint("kind IN ('in_reply_to', 'references')", name=op.f("ck_message_references_kind_legal")),
        sa.ForeignKeyConstraint(["message_id"], ["messages.id"], name=op.f("fk_message_references_message_id")),
        sa.PrimaryKeyConstraint("message_id", "kind", "position", name=op.f("pk_message_references")),
    )
    op.create_table(
        "occurrences",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("mailbox_id", sa.Uuid(), nullable=False),
        sa.Column("provider_id", sa.Text(), nullable=False),
        sa.Column("thread_id", sa.Text(), nullable=True),
        sa.Column("locator", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), server_default="seen", nullable=False),
        sa.Column("labels", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("internal_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("raw_sha256", sa.LargeBinary(), nullable=True),
        sa.Column("message_id", sa.BigInteger(), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "state IN ('seen', 'fetched', 'parsed', 'stitched', 'routed', 'gone', 'ignored', 'quarantined')",
            name=op.f("ck_occurrences_state_legal"),
        ),
        sa.CheckConstraint(
            "state NOT IN ('fetched', 'parsed', 'stitched', 'routed') OR raw_sha256 IS NOT NULL",
            name=op.f("ck_occurrences_raw"),
        ),
        sa.CheckConstraint(
            "state NOT IN ('parsed', 'stitched', 'routed') OR message_id IS NOT NULL",
            name=op.f("ck_occurrences_parsed"),
        ),
        sa.ForeignKeyConstraint(["mailbox_id"], ["mailboxes.id"], name=op.f("fk_occurrences_mailbox_id")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_occurrences_org_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_occurrences")),
        sa.UniqueConstraint("mailbox_id", "provider_id", name=op.f("uq_occurrences_mailbox_id_provider_id")),
        postgresql_with={"fillfactor": "60"},
    )
    op.create_table(
        "routing_rules",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("is_enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("priority", sa.Integer(), server_default=sa.text("100"), nullable=False),
        sa.Column("match_recipient_pattern", sa.Text(), nullable=True),
        sa.Column("match_sender_domain_pattern", sa.Text(), nullable=True),
        sa.Column("match_sender_email_pattern", sa.Text(), nullable=True),
        sa.Column("match_subject_pattern", sa.Text(), nullable=True),
        sa.Column("match_direction", sa.Text(), nullable=True),
        sa.Column("queue_id", sa.Uuid(), nullable=True),
        sa.Column("set_status", sa.Text(), nullable=True),
        sa.Column("set_priority", sa.Text(), nullable=True),
        sa.Column("add_tags", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("auto_close", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "match_direction IN ('inbound', 'outbound')", name=op.f("ck_routing_rules_match_direction_legal")
        ),
        sa.CheckConstraint(
            "set_priority IN ('low', 'normal', 'high', 'urgent')", name=op.f("ck_routing_rules_set_priority_legal")
        ),
        sa.CheckConstraint("set_status <> 'merged'", name=op.f("ck_routing_rules_set_status_possible")),
        sa.CheckConstraint(
            "set_status IN ('new', 'open', 'pending', 'resolved', 'closed', 'spam', 'merged')",
            name=op.f("ck_routing_rules_set_status_legal"),
        ),
        sa.CheckConstraint("priority BETWEEN 0 AND 10000", name=op.f("ck_routing_rules_priority_range")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_routing_rules_org_id")),
        sa.ForeignKeyConstraint(["queue_id"], ["queues.id"], name=op.f("fk_routing_rules_queue_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_routing_rules")),
    )
    op.create_index(
        op.f("ix_routing_rules_org_id_priority_id"),
        "routing_rules",
        ["org_id", "priority", "id"],
        unique=False,
        postgresql_where=sa.text("is_enabled"),
    )
    op.create_table(
        "tickets",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="new", nullable=False),
        sa.Column("dispatch_state", sa.Text(), server_default="NEW", nullable=False),
        sa.Column("priority", sa.Text(), server_default="normal", nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("subject_norm", sa.Text(), nullable=False),
        sa.Column("requester_email", sa.Text(), nullable=True),
        sa.Column("requester_name", sa.Text(), nullable=True),
        sa.Column("queue_id", sa.Uuid(), nullable=True),
        sa.Column("tags", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("first_message_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_message_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_activity_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("merged_into", sa.Uuid(), nullable=True),
        sa.Column("routed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("response_due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("resolution_due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "(status = 'merged') = (merged_into IS NOT NULL)", name=op.f("ck_tickets_merged_into_when_merged")
        ),
        sa.CheckConstraint(
            "(status IN ('closed', 'spam', 'merged')) = (closed_at IS NOT NULL)",
            name=op.f("ck_tickets_closed_when_ended"),
        ),
        sa.CheckConstraint(
            "dispatch_state IN ('NEW', 'NEEDS_INFO', 'TRIAGED', 'APPROVAL_REQUIRED', 'READY_TO_SCHEDULE', 'SCHEDULE_PROPOSED', 'SCHEDULED', 'PENDING_CUSTOMER_CONFIRMATION', 'DISPATCHED', 'ON_SITE', 'IN_PROGRESS', 'ON_HOLD', 'COMPLETED_PENDING_VERIFICATION', 'VERIFIED', 'INVOICED', 'CLOSED', 'CANCELLED')",
            name=op.f("ck_tickets_dispatch_state_legal"),
        ),
        sa.CheckConstraint("priority IN ('low', 'normal', 'high', 'urgent')", name=op.f("ck_tickets_priority_legal")),
        sa.CheckConstraint(
            "status IN ('new', 'open', 'pending', 'resolved', 'closed', 'spam', 'merged')",
            name=op.f("ck_tickets_status_legal"),
        ),
        sa.CheckConstraint("merged_into <> id", name=op.f("ck_tickets_not_into_itself")),
        sa.ForeignKeyConstraint(["merged_into"], ["tickets.id"], name=op.f("fk_tickets_merged_into")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_tickets_org_id")),
        sa.ForeignKeyConstraint(["queue_id"], ["queues.id"], name=op.f("fk_tickets_queue_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tickets")),
        sa.UniqueConstraint("org_id", "code", name=op.f("uq_tickets_org_id_code")),
    )
    op.create_index(
        "ix_tickets_inbox",
        "tickets",
        ["org_id", "status", sa.literal_column("last_activity_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_table(
        "events",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("ticket_id", sa.Uuid(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("actor", sa.Text(), server_default=sa.text("'system'"), nullable=False),
        sa.Column("data", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("trace_id", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_events_org_id")),
        sa.ForeignKeyConstraint(["ticket_id"], ["tickets.id"], name=op.f("fk_events_ticket_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
    )
    op.create_index(op.f("ix_events_ticket_id_id"), "events", ["ticket_id", "id"], unique=False)
    op.create_table(
        "occurrence_recipients",
        sa.Column("occurrence_id", sa.BigInteger(), nullable=False),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("confidence", sa.Text(), nullable=False),
        sa.Column("evidence", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.CheckConstraint(
            "(source = 'unknown') = (address IS NULL)", name=op.f("ck_occurrence_recipients_address_unless_unknown")
        ),
        sa.CheckConstraint(
            "confidence IN ('high', 'medium', 'low')", name=op.f("ck_occurrence_recipients_confidence_legal")
        ),
        sa.CheckConstraint(
            "source IN ('workspace_header', 'delivered_to', 'x_original_to', 'to_cc_scan', 'unknown')",
            name=op.f("ck_occurrence_recipients_source_legal"),
        ),
        sa.ForeignKeyConstraint(
            ["occurrence_id"], ["occurrences.id"], name=op.f("fk_occurrence_recipients_occurrence_id")
        ),
        sa.PrimaryKeyConstraint("occurrence_id", name=op.f("pk_occurrence_recipients")),
    )
    op.create_table(
        "signals",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("asset_id", sa.Uuid(), nullable=False),
        sa.Column("case_id", sa.Uuid(), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("reporter", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("message_id", sa.BigInteger(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("span", postgresql.ARRAY(sa.Integer()), nullable=True),
        sa.Column("rules_version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("source IN ('charger_api', '311', 'ugc', 'mail')", name=op.f("ck_signals_source_legal")),
        sa.CheckConstraint("status IN ('down', 'degraded', 'online', 'unknown')", name=op.f("ck_signals_status_legal")),
        sa.ForeignKeyConstraint(["asset_id"], ["assets.id"], name=op.f("fk_signals_asset_id")),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name=op.f("fk_signals_case_id")),
        sa.ForeignKeyConstraint(["message_id"], ["messages.id"], name=op.f("fk_signals_message_id")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_signals_org_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_signals")),
        sa.UniqueConstraint("message_id", "asset_id", name=op.f("uq_signals_message_id_asset_id")),
    )
    op.create_index(op.f("ix_signals_case_id"), "signals", ["case_id"], unique=False)
    op.create_table(
        "thread_keys",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("ticket_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_thread_keys_org_id")),
        sa.ForeignKeyConstraint(["ticket_id"], ["tickets.id"], name=op.f("fk_thread_keys_ticket_id")),
        sa.PrimaryKeyConstraint("org_id", "digest", name=op.f("pk_thread_keys")),
    )
    op.create_index(op.f("ix_thread_keys_ticket_id"), "thread_keys", ["ticket_id"], unique=False)
    op.create_table(
        "ticket_messages",
        sa.Column("message_id", sa.BigInteger(), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("ticket_id", sa.Uuid(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("confidence", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=True),
        sa.Column("linked_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("confidence IN ('high', 'medium', 'low')", name=op.f("ck_ticket_messages_confidence_legal")),
        sa.CheckConstraint(
            "reason IN ('new_ticket', 'reply_token', 'in_reply_to', 'references', 'referenced_by', 'provider_thread')",
            name=op.f("ck_ticket_messages_reason_legal"),
        ),
        sa.ForeignKeyConstraint(["message_id"], ["messages.id"], name=op.f("fk_ticket_messages_message_id")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_ticket_messages_org_id")),
        sa.ForeignKeyConstraint(["ticket_id"], ["tickets.id"], name=op.f("fk_ticket_messages_ticket_id")),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_ticket_messages")),
    )
    op.create_index(op.f("ix_ticket_messages_ticket_id"), "ticket_messages", ["ticket_id"], unique=False)
    op.create_table(
        "verification_tasks",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("question", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="open", nullable=False),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "(status = 'done') = (result IS NOT NULL)", name=op.f("ck_verification_tasks_result_when_done")
        ),
        sa.CheckConstraint(
            "result IN ('confirmed_issue', 'false_alarm', 'needs_more_data')",
            name=op.f("ck_verification_tasks_result_legal"),
        ),
        sa.CheckConstraint("status IN ('open', 'done')", name=op.f("ck_verification_tasks_status_legal")),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name=op.f("fk_verification_tasks_case_id")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_verification_tasks_org_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_verification_tasks")),
    )
    op.create_index(
        "uq_verification_tasks_open",
        "verification_tasks",
        ["case_id"],
        unique=True,
        postgresql_where=sa.text("status = 'open'"),
    )
    op.create_table(
        "work_orders",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), server_default=sa.text("nextval('work_order_numbers')"), nullable=False),
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("ticket_id", sa.Uuid(), nullable=True),
        sa.Column("team_id", sa.Uuid(), nullable=True),
        sa.Column("state", sa.Text(), server_default="created", nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("choice", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("version", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("trace_id", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "state IN ('created', 'in_progress', 'done', 'cancelled')", name=op.f("ck_work_orders_state_legal")
        ),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name=op.f("fk_work_orders_case_id")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_work_orders_org_id")),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_work_orders_team_id")),
        sa.ForeignKeyConstraint(["ticket_id"], ["tickets.id"], name=op.f("fk_work_orders_ticket_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_work_orders")),
        sa.UniqueConstraint("number", name=op.f("uq_work_orders_number")),
    )
    op.create_index(
        "ix_work_orders_team_open",
        "work_orders",
        ["team_id"],
        unique=False,
        postgresql_where=sa.text("state IN ('created', 'in_progress')"),
    )
    op.create_index(op.f("ix_work_orders_ticket_id"), "work_orders", ["ticket_id"], unique=False)
    op.create_index(
        "uq_work_orders_open",
        "work_orders",
        ["case_id"],
        unique=True,
        postgresql_where=sa.text("state IN ('created', 'in_progress')"),
    )


def downgrade() -> None:
    """Undo."""
    op.drop_index(
        "uq_work_orders_open", table_name="work_orders", postgresql_where=sa.text("state IN ('created', 'in_progress')")
    )
    op.drop_index(op.f("ix_work_orders_ticket_id"), table_name="work_orders")
    op.drop_index(
        "ix_work_orders_team_open",
        table_name="work_orders",
        postgresql_where=sa.text("state IN ('created', 'in_progress')"),
    )
    op.drop_table("work_orders")
    op.drop_index(
        "uq_verification_tasks_open", table_name="verification_tasks", postgresql_where=sa.text("status = 'open'")
    )
    op.drop_table("verification_tasks")
    op.drop_index(op.f("ix_ticket_messages_ticket_id"), table_name="ticket_messages")
    op.drop_table("ticket_messages")
    op.drop_index(op.f("ix_thread_keys_ticket_id"), table_name="thread_keys")
    op.drop_table("thread_keys")
    op.drop_index(op.f("ix_signals_case_id"), table_name="signals")
    op.drop_table("signals")
    op.drop_table("occurrence_recipients")
    op.drop_index(op.f("ix_events_ticket_id_id"), table_name="events")
    op.drop_table("events")
    op.drop_index("ix_tickets_inbox", table_name="tickets")
    op.drop_table("tickets")
    op.drop_index(
        op.f("ix_routing_rules_org_id_priority_id"), table_name="routing_rules", postgresql_where=sa.text("is_enabled")
    )
    op.drop_table("routing_rules")
    op.drop_table("occurrences")
    op.drop_table("message_references")
    op.drop_table("message_contents")
    op.drop_table("message_addresses")
    op.drop_table("flows")
    op.drop_index("uq_cases_open", table_name="cases", postgresql_where=sa.text("state = 'open'"))
    op.drop_table("cases")
    op.drop_index("uq_backfills_running", table_name="backfills", postgresql_where=sa.text("state = 'running'"))
    op.drop_table("backfills")
    op.drop_table("attachments")
    op.drop_table("teams")
    op.drop_table("recipient_allowlist")
    op.drop_table("queues")
    op.drop_index(
        op.f("ix_messages_collision_group_id"),
        table_name="messages",
        postgresql_where=sa.text("collision_group_id IS NOT NULL"),
    )
    op.drop_table("messages")
    op.drop_index(op.f("ix_mailboxes_org_id"), table_name="mailboxes")
    op.drop_table("mailboxes")
    op.drop_table("blobs")
    op.drop_table("assets")
    op.drop_table("workers")
    op.drop_table("organizations")
    op.drop_index("ix_jobs_waiting", table_name="jobs", postgresql_where=sa.text("state = 'waiting'"))
    op.drop_index("ix_jobs_stopped", table_name="jobs", postgresql_where=sa.text("state IN ('blocked', 'dead')"))
    op.drop_index("ix_jobs_ready", table_name="jobs", postgresql_where=sa.text("state = 'ready'"))
    op.drop_index("ix_jobs_leased", table_name="jobs", postgresql_where=sa.text("state = 'running'"))
    op.drop_table("jobs")
    op.drop_index("uq_dead_letters_open", table_name="dead_letters", postgresql_where=sa.text("resolution IS NULL"))
    op.drop_index("ix_dead_letters_open", table_name="dead_letters", postgresql_where=sa.text("resolution IS NULL"))
    op.drop_index(op.f("ix_dead_letters_mailbox_id_id"), table_name="dead_letters")
    op.drop_table("dead_letters")
    op.execute("DROP SEQUENCE work_order_numbers")
    op.execute("DROP SEQUENCE worker_numbers")
