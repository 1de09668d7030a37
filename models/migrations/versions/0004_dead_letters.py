"""Dead letters of many at once: wishes with their result lists, who did what, and undoing a discard."""

# Deploys roll: everything here is added, with defaults, so the version before works on.

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "bulks",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("selection", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("selection_digest", sa.Text(), nullable=False),
        sa.Column("canaries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("per_second", sa.Float(), nullable=True),
        sa.Column("allowance", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("topped_up_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_because", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(state IN ('done', 'stopped', 'cancelled')) = (finished_at IS NOT NULL)",
            name=op.f("ck_bulks_finished_when_over"),
        ),
        sa.CheckConstraint("action IN ('replay', 'discard')", name=op.f("ck_bulks_action_legal")),
        sa.CheckConstraint(
            "state IN ('canary', 'running', 'done', 'stopped', 'cancelled')", name=op.f("ck_bulks_state_legal")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bulks")),
    )
    op.create_index("ix_bulks_going", "bulks", ["id"], unique=False, postgresql_where=sa.text("finished_at IS NULL"))
    op.create_index(op.f("ix_bulks_org_id_id"), "bulks", ["org_id", "id"], unique=False)
    op.create_table(
        "bulk_items",
        sa.Column("bulk_id", sa.BigInteger(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("letter_id", sa.BigInteger(), nullable=False),
        sa.Column("job_id", sa.BigInteger(), nullable=False),
        sa.Column("order_key", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), server_default="waiting", nullable=False),
        sa.Column("released_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("again_id", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "(state IN ('waiting', 'released')) = (ended_at IS NULL)", name=op.f("ck_bulk_items_ended_when_over")
        ),
        sa.CheckConstraint(
            "state IN ('waiting', 'released', 'passed', 'failed', 'skipped')", name=op.f("ck_bulk_items_state_legal")
        ),
        sa.ForeignKeyConstraint(["again_id"], ["dead_letters.id"], name=op.f("fk_bulk_items_again_id")),
        sa.ForeignKeyConstraint(["bulk_id"], ["bulks.id"], name=op.f("fk_bulk_items_bulk_id")),
        sa.ForeignKeyConstraint(["letter_id"], ["dead_letters.id"], name=op.f("fk_bulk_items_letter_id")),
        sa.PrimaryKeyConstraint("bulk_id", "place", name=op.f("pk_bulk_items")),
    )
    op.create_index(
        "ix_bulk_items_again",
        "bulk_items",
        ["again_id"],
        unique=False,
        postgresql_where=sa.text("again_id IS NOT NULL"),
    )
    op.create_index(
        "ix_bulk_items_going",
        "bulk_items",
        ["bulk_id", "place"],
        unique=False,
        postgresql_where=sa.text("state IN ('waiting', 'released')"),
    )
    op.create_index(op.f("ix_bulk_items_letter_id"), "bulk_items", ["letter_id"], unique=False)
    op.create_index(
        "ix_bulk_items_released",
        "bulk_items",
        ["bulk_id"],
        unique=False,
        postgresql_where=sa.text("state = 'released'"),
    )
    op.create_index(
        "uq_bulk_items_going",
        "bulk_items",
        ["letter_id"],
        unique=True,
        postgresql_where=sa.text("state IN ('waiting', 'released')"),
    )
    op.create_table(
        "letter_actions",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=True),
        sa.Column("letter_id", sa.BigInteger(), nullable=True),
        sa.Column("bulk_id", sa.BigInteger(), nullable=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("data", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "action IN ('replayed', 'discarded', 'restored', 'edited', 'bulk_started', 'bulk_stopped', 'bulk_cancelled', 'bulk_done')",
            name=op.f("ck_letter_actions_action_legal"),
        ),
        sa.CheckConstraint(
            "letter_id IS NOT NULL OR bulk_id IS NOT NULL", name=op.f("ck_letter_actions_is_about_something")
        ),
        sa.ForeignKeyConstraint(["bulk_id"], ["bulks.id"], name=op.f("fk_letter_actions_bulk_id")),
        sa.ForeignKeyConstraint(["letter_id"], ["dead_letters.id"], name=op.f("fk_letter_actions_letter_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_letter_actions")),
    )
    op.create_index(op.f("ix_letter_actions_bulk_id_id"), "letter_actions", ["bulk_id", "id"], unique=False)
    op.create_index(op.f("ix_letter_actions_letter_id_id"), "letter_actions", ["letter_id", "id"], unique=False)
    op.add_column("dead_letters", sa.Column("first_error", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.add_column("dead_letters", sa.Column("place", sa.BigInteger(), server_default=sa.text("0"), nullable=False))
    op.create_index(
        "ix_dead_letters_discarded",
        "dead_letters",
        ["stage", "key"],
        unique=False,
        postgresql_where=sa.text("resolution = 'discarded'"),
    )
    op.create_index("ix_dead_letters_group", "dead_letters", ["error_group", "stage", "buried_at"], unique=False)
    op.create_index(op.f("ix_dead_letters_job_id_id"), "dead_letters", ["job_id", "id"], unique=False)
    op.create_index(
        "ix_dead_letters_resolved",
        "dead_letters",
        ["resolved_at"],
        unique=False,
        postgresql_where=sa.text("resolution IS NOT NULL"),
    )
    op.create_index("ix_dead_letters_trace", "dead_letters", ["trace_id"], unique=False)
    op.create_index(
        "ix_events_policy",
        "events",
        ["org_id", "at"],
        unique=False,
        postgresql_where=sa.text("kind = 'policy.changed'"),
    )
    op.create_index(
        "ix_jobs_suspects",
        "jobs",
        ["stage", "lane", "id"],
        unique=False,
        postgresql_where=sa.text("state = 'ready' AND is_suspect"),
    )
    op.create_index(op.f("ix_work_orders_case_id"), "work_orders", ["case_id"], unique=False)


def downgrade() -> None:
    """Take back."""
    op.drop_index(op.f("ix_work_orders_case_id"), table_name="work_orders")
    op.drop_index("ix_jobs_suspects", table_name="jobs", postgresql_where=sa.text("state = 'ready' AND is_suspect"))
    op.drop_index("ix_events_policy", table_name="events", postgresql_where=sa.text("kind = 'policy.changed'"))
    op.drop_index("ix_dead_letters_trace", table_name="dead_letters")
    op.drop_index(
        "ix_dead_letters_resolved", table_name="dead_letters", postgresql_where=sa.text("resolution IS NOT NULL")
    )
    op.drop_index(op.f("ix_dead_letters_job_id_id"), table_name="dead_letters")
    op.drop_index("ix_dead_letters_group", table_name="dead_letters")
    op.drop_index(
        "ix_dead_letters_discarded", table_name="dead_letters", postgresql_where=sa.text("resolution = 'discarded'")
    )
    op.drop_column("dead_letters", "place")
    op.drop_column("dead_letters", "first_error")
    op.drop_index(op.f("ix_letter_actions_letter_id_id"), table_name="letter_actions")
    op.drop_index(op.f("ix_letter_actions_bulk_id_id"), table_name="letter_actions")
    op.drop_table("letter_actions")
    op.drop_index(
        "uq_bulk_items_going", table_name="bulk_items", postgresql_where=sa.text("state IN ('waiting', 'released')")
    )
    op.drop_index("ix_bulk_items_released", table_name="bulk_items", postgresql_where=sa.text("state = 'released'"))
    op.drop_index(op.f("ix_bulk_items_letter_id"), table_name="bulk_items")
    op.drop_index(
        "ix_bulk_items_going", table_name="bulk_items", postgresql_where=sa.text("state IN ('waiting', 'released')")
    )
    op.drop_index("ix_bulk_items_again", table_name="bulk_items", postgresql_where=sa.text("again_id IS NOT NULL"))
    op.drop_table("bulk_items")
    op.drop_index(op.f("ix_bulks_org_id_id"), table_name="bulks")
    op.drop_index("ix_bulks_going", table_name="bulks", postgresql_where=sa.text("finished_at IS NULL"))
    op.drop_table("bulks")
