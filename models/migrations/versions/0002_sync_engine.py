"""The sync engine: windows, comparisons, gaps, budgets, watches, slots; the cursor as an opaque text."""

# Deploys roll: this migration must leave the version before it able to work. It keeps `history_id` and
# `backfills.cursor`, which that version moves by itself: reading some changes twice changes nothing.

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"

#: Columns whose words grew, with the words of this version and of the one before.
_WORDS = (
    ("mailboxes", "provider", "'gmail', 'files', 'imap'", "'gmail', 'files'"),
    (
        "mailboxes",
        "state",
        "'active', 'probing', 'paused', 'suspended', 'blocked', 'auth_required'",
        "'active', 'paused', 'auth_required'",
    ),
    (
        "jobs",
        "state",
        "'ready', 'held', 'running', 'waiting', 'blocked', 'dead'",
        "'ready', 'running', 'waiting', 'blocked', 'dead'",
    ),
)


def _hold(table: str, column: str, words: str) -> None:
    op.execute(f"ALTER TABLE {table} DROP CONSTRAINT ck_{table}_{column}_legal")
    op.execute(f"ALTER TABLE {table} ADD CONSTRAINT ck_{table}_{column}_legal CHECK ({column} IN ({words})) NOT VALID")
    op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT ck_{table}_{column}_legal")


def upgrade() -> None:
    """Apply."""
    for table, column, now, _ in _WORDS:
        _hold(table, column, now)
    op.create_table(
        "budgets",
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("level", sa.Double(), nullable=False),
        sa.Column("level_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("day", sa.Date(), server_default=sa.text("CURRENT_DATE"), nullable=False),
        sa.Column("day_units", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("day_bytes", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("rest_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("bytes_rest_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("rest_reason", sa.Text(), nullable=True),
        sa.Column("probe_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("refusals", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("ramp_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("concurrency", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("scope", name=op.f("pk_budgets")),
        postgresql_with={"fillfactor": "50"},
    )
    op.create_table(
        "projects",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("profile", sa.Text(), server_default="since_2026_05", nullable=False),
        sa.Column("units_per_user_minute", sa.Integer(), nullable=True),
        sa.Column("units_per_minute", sa.Integer(), nullable=True),
        sa.Column("units_per_day", sa.BigInteger(), nullable=True),
        sa.Column("bytes_per_user_day", sa.BigInteger(), nullable=True),
        sa.Column("concurrency", sa.SmallInteger(), nullable=True),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("changed_by", sa.Text(), nullable=True),
        sa.CheckConstraint("profile IN ('before_2026_05', 'since_2026_05')", name=op.f("ck_projects_profile_legal")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_projects")),
    )
    op.create_table(
        "slots",
        sa.Column("schedule", sa.Text(), nullable=False),
        sa.Column("slot_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("taken_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("taken_by", sa.Text(), nullable=False),
        sa.Column("jobs", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("outcome IN ('ran', 'caught_up', 'skipped')", name=op.f("ck_slots_outcome_legal")),
        sa.PrimaryKeyConstraint("schedule", "slot_at", name=op.f("pk_slots")),
    )
    op.create_table(
        "gaps",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("mailbox_id", sa.Uuid(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="open", nullable=False),
        sa.Column("from_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("to_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("missing", sa.BigInteger(), nullable=True),
        sa.Column("sample_ids", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("found_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expiries", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("filled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("filled_by", sa.Text(), nullable=True),
        sa.CheckConstraint("(state = 'filled') = (filled_at IS NOT NULL)", name=op.f("ck_gaps_filled_when_filled")),
        sa.CheckConstraint("cause IN ('history_expired', 'reconcile', 'audit')", name=op.f("ck_gaps_cause_legal")),
        sa.CheckConstraint("state IN ('open', 'filling', 'filled')", name=op.f("ck_gaps_state_legal")),
        sa.ForeignKeyConstraint(["mailbox_id"], ["mailboxes.id"], name=op.f("fk_gaps_mailbox_id")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_gaps_org_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gaps")),
    )
    op.create_index(op.f("ix_gaps_mailbox_id_found_at"), "gaps", ["mailbox_id", "found_at"], unique=False)
    op.create_index(
        "ix_gaps_unfilled", "gaps", ["mailbox_id"], unique=False, postgresql_where=sa.text("state <> 'filled'")
    )
    op.create_table(
        "reconciles",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("mailbox_id", sa.Uuid(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="running", nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("asked_by", sa.Text(), nullable=False),
        sa.Column("labels_left", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("label", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("restarts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("waits_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("is_wanted_again", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("is_doubted", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("labels_read", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("cursor", sa.Text(), nullable=True),
        sa.Column("pages", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("listed", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("missing", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("vanished", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("relabelled", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("listed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(state = 'done') = (finished_at IS NOT NULL)", name=op.f("ck_reconciles_finished_when_done")
        ),
        sa.CheckConstraint("scope IN ('nightly', 'resync', 'full', 'audit')", name=op.f("ck_reconciles_scope_legal")),
        sa.CheckConstraint("state IN ('running', 'done')", name=op.f("ck_reconciles_state_legal")),
        sa.ForeignKeyConstraint(["mailbox_id"], ["mailboxes.id"], name=op.f("fk_reconciles_mailbox_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reconciles")),
    )
    op.create_index(
        op.f("ix_reconciles_mailbox_id_started_at"), "reconciles", ["mailbox_id", "started_at"], unique=False
    )
    op.create_index(
        "uq_reconciles_running",
        "reconciles",
        ["mailbox_id"],
        unique=True,
        postgresql_where=sa.text("state = 'running'"),
    )
    op.create_table(
        "watches",
        sa.Column("mailbox_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), server_default="active", nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("renewed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("renew_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("pushed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("unannounced_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.CheckConstraint("state IN ('active', 'silent', 'failed')", name=op.f("ck_watches_state_legal")),
        sa.ForeignKeyConstraint(["mailbox_id"], ["mailboxes.id"], name=op.f("fk_watches_mailbox_id")),
        sa.PrimaryKeyConstraint("mailbox_id", name=op.f("pk_watches")),
    )
    op.create_table(
        "backfill_windows",
        sa.Column("backfill_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), server_default="open", nullable=False),
        sa.Column("after_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("before_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cursor", sa.Text(), nullable=True),
        sa.Column("pages", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("listed", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("fresh", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("restarts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(state = 'done') = (finished_at IS NOT NULL)", name=op.f("ck_backfill_windows_finished_when_done")
        ),
        sa.CheckConstraint("state IN ('open', 'done')", name=op.f("ck_backfill_windows_state_legal")),
        sa.ForeignKeyConstraint(["backfill_id"], ["backfills.id"], name=op.f("fk_backfill_windows_backfill_id")),
        sa.PrimaryKeyConstraint("backfill_id", "number", name=op.f("pk_backfill_windows")),
    )
    op.create_table(
        "reconcile_ids",
        sa.Column("reconcile_id", sa.Uuid(), nullable=False),
        sa.Column("provider_id", sa.Text(), nullable=False),
        sa.Column("thread_id", sa.Text(), nullable=True),
        sa.Column("locator", sa.Text(), nullable=True),
        sa.Column("labels", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=True),
        sa.ForeignKeyConstraint(["reconcile_id"], ["reconciles.id"], name=op.f("fk_reconcile_ids_reconcile_id")),
        sa.PrimaryKeyConstraint("reconcile_id", "provider_id", name=op.f("pk_reconcile_ids")),
    )
    op.add_column("backfills", sa.Column("fresh", sa.BigInteger(), server_default=sa.text("0"), nullable=False))
    op.create_index(
        "ix_jobs_held",
        "jobs",
        ["mailbox_id", "lane", "place", "id"],
        unique=False,
        postgresql_where=sa.text("state = 'held'"),
    )
    op.create_index(
        "ix_jobs_let_go",
        "jobs",
        ["mailbox_id"],
        unique=False,
        postgresql_where=sa.text("stage = 'fetch' AND lane <> 'live' AND state IN ('ready', 'running', 'waiting')"),
    )
    op.add_column("mailboxes", sa.Column("paused_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("mailboxes", sa.Column("paused_by", sa.Text(), nullable=True))
    op.add_column(
        "mailboxes", sa.Column("failures_in_row", sa.SmallInteger(), server_default=sa.text("0"), nullable=False)
    )
    op.add_column("mailboxes", sa.Column("trips", sa.SmallInteger(), server_default=sa.text("0"), nullable=False))
    op.add_column(
        "mailboxes", sa.Column("poll_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False)
    )
    op.add_column(
        "mailboxes",
        sa.Column("poll_interval", sa.Interval(), server_default=sa.text("interval '30 seconds'"), nullable=False),
    )
    op.add_column("mailboxes", sa.Column("project", sa.Text(), nullable=True))
    op.add_column("mailboxes", sa.Column("sync_cursor", sa.Text(), nullable=True))
    op.add_column("occurrences", sa.Column("vanished_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("occurrences", sa.Column("absences", sa.SmallInteger(), server_default=sa.text("0"), nullable=False))
    op.create_index(
        op.f("ix_occurrences_created_at"), "occurrences", ["created_at"], unique=False, postgresql_using="brin"
    )
    op.create_index(
        "ix_occurrences_vanished",
        "occurrences",
        ["mailbox_id"],
        unique=False,
        postgresql_where=sa.text("vanished_at IS NOT NULL AND deleted_at IS NULL"),
    )

    op.execute("UPDATE mailboxes SET sync_cursor = CAST(history_id AS text)")


def downgrade() -> None:
    """Undo; what the version before cannot say becomes the nearest that it can."""
    op.execute("UPDATE mailboxes SET history_id = CAST(sync_cursor AS bigint) WHERE provider = 'gmail'")
    op.execute("UPDATE mailboxes SET state = 'active' WHERE state IN ('probing', 'suspended')")
    op.execute("UPDATE mailboxes SET state = 'auth_required' WHERE state = 'blocked' OR provider = 'imap'")
    op.execute("UPDATE mailboxes SET provider = 'files' WHERE provider = 'imap'")
    op.execute("UPDATE jobs SET state = 'ready' WHERE state = 'held'")
    op.drop_index(
        "ix_occurrences_vanished",
        table_name="occurrences",
        postgresql_where=sa.text("vanished_at IS NOT NULL AND deleted_at IS NULL"),
    )
    op.drop_index(op.f("ix_occurrences_created_at"), table_name="occurrences", postgresql_using="brin")
    op.drop_column("occurrences", "absences")
    op.drop_column("occurrences", "vanished_at")
    op.drop_column("mailboxes", "sync_cursor")
    op.drop_column("mailboxes", "project")
    op.drop_column("mailboxes", "poll_interval")
    op.drop_column("mailboxes", "poll_at")
    op.drop_column("mailboxes", "trips")
    op.drop_column("mailboxes", "failures_in_row")
    op.drop_column("mailboxes", "paused_by")
    op.drop_column("mailboxes", "paused_at")
    op.drop_index(
        "ix_jobs_let_go",
        table_name="jobs",
        postgresql_where=sa.text("stage = 'fetch' AND lane <> 'live' AND state IN ('ready', 'running', 'waiting')"),
    )
    op.drop_index("ix_jobs_held", table_name="jobs", postgresql_where=sa.text("state = 'held'"))
    op.drop_column("backfills", "fresh")
    op.drop_table("reconcile_ids")
    op.drop_table("backfill_windows")
    op.drop_table("watches")
    op.drop_index("uq_reconciles_running", table_name="reconciles", postgresql_where=sa.text("state = 'running'"))
    op.drop_index(op.f("ix_reconciles_mailbox_id_started_at"), table_name="reconciles")
    op.drop_table("reconciles")
    op.drop_index("ix_gaps_unfilled", table_name="gaps", postgresql_where=sa.text("state <> 'filled'"))
    op.drop_index(op.f("ix_gaps_mailbox_id_found_at"), table_name="gaps")
    op.drop_table("gaps")
    op.drop_table("slots")
    op.drop_table("projects")
    op.drop_table("budgets")
    for table, column, _, before in _WORDS:
        _hold(table, column, before)
