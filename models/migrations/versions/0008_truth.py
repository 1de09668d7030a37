"""Truth: cases that are verified, closed and measured by what was found, and policies of triage in versions."""

# Deploys roll: what is here is added, with defaults, so the version before works on.

from __future__ import annotations

import hashlib
import json

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"

#: What built-in roles may do besides, as this version seeds it.
_GRANTS: tuple[tuple[str, list[str]], ...] = (
    ("admin", ["assets.change", "cases.override", "triage.policy_change", "triage.policy_read"]),
    ("dispatcher", ["cases.override", "triage.policy_read"]),
)
_TASKS, _TASKS_BEFORE = "'open', 'done', 'superseded'", "'open', 'done'"
_APPEND_ONLY = ("case_assessments", "verification_outcomes", "case_truths")
#: Cases had no codes: the asset's slug, and a number from the second case of one slug on.
_CODES = sa.text("""
    WITH named AS (
        SELECT c.id, 'case_' || coalesce(nullif(trim(BOTH '_' FROM regexp_replace(lower(a.tag), '[^a-z0-9]+', '_', 'g')), ''),
                                         'unknown') AS code, c.org_id, c.mode, c.state
          FROM cases c JOIN assets a ON a.id = c.asset_id
    ), numbered AS (
        SELECT id, code, row_number() OVER (PARTITION BY org_id, mode, code ORDER BY id) AS number FROM named
    )
    UPDATE cases SET number = n.number, code = n.code || CASE WHEN n.number = 1 THEN '' ELSE '__' || n.number END
      FROM numbered n WHERE n.id = cases.id
""")
_HEARD = sa.text("""
    UPDATE cases SET first_signal_at = s.first_at, last_signal_at = s.last_at, signal_count = s.number
      FROM (SELECT case_id, min(at) AS first_at, max(at) AS last_at, count(*) AS number FROM signals
             WHERE case_id IS NOT NULL GROUP BY case_id) s
     WHERE s.case_id = cases.id
""")
_TASK_CODES = sa.text("""
    UPDATE verification_tasks t SET number = n.number,
           code = 'ver_' || substr(n.code, 6) || CASE WHEN n.number = 1 THEN '' ELSE '__' || n.number END
      FROM (SELECT v.id, c.code, row_number() OVER (PARTITION BY v.case_id ORDER BY v.id) AS number
              FROM verification_tasks v JOIN cases c ON c.id = v.case_id) n
     WHERE n.id = t.id
""")
_POLICIES = sa.text("""
    SELECT id, policy FROM organizations
     WHERE policy ?| ARRAY['triage_mode', 'auto_dispatch', 'min_confidence', 'min_priority'] ORDER BY id
""")
_KEEP = sa.text("""
    INSERT INTO triage_policies (org_id, version, state, policy, checksum, reason, created_by, activated_at, activated_by)
    VALUES (:org, 1, 'active', CAST(:policy AS jsonb), :checksum, 'what the settings of before said', 'migration', now(),
            'migration')
""")

_GRANT = sa.text("""
    INSERT INTO role_permissions (role_id, permission)
    SELECT r.id, p FROM roles r, unnest(CAST(:permissions AS text[])) AS p WHERE r.org_id IS NULL AND r.code = :code
        ON CONFLICT DO NOTHING
""")
_REVOKE = sa.text("""
    DELETE FROM role_permissions USING roles r
     WHERE r.id = role_id AND r.org_id IS NULL AND r.code = :code AND permission = ANY(CAST(:permissions AS text[]))
""")


def _move_policies() -> None:
    """Make a policy of triage of the settings that it takes the place of."""
    for org_id, said in op.get_bind().execute(_POLICIES).all():
        dispatch = {
            "automatic": said.get("auto_dispatch"),
            "least_certainty": None if said.get("min_confidence") is None else round(100 * said["min_confidence"]),
            "least_priority": said.get("min_priority"),
        }
        policy = {"dispatch": {name: value for name, value in dispatch.items() if value is not None}}
        if said.get("triage_mode") is not None:
            policy["mode"] = said["triage_mode"]
        stored = json.dumps(policy, sort_keys=True)
        checksum = hashlib.sha256(stored.encode()).hexdigest()
        op.get_bind().execute(_KEEP, {"org": org_id, "policy": stored, "checksum": checksum})


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "asset_patterns",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("pattern", sa.Text(), nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), server_default=sa.text("100"), nullable=False),
        sa.Column("is_enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("pattern <> '' AND tag <> ''", name=op.f("ck_asset_patterns_not_blank")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_asset_patterns_org_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_asset_patterns")),
        sa.UniqueConstraint("org_id", "pattern", name=op.f("uq_asset_patterns_org_id_pattern")),
    )
    op.create_table(
        "triage_policies",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), server_default="draft", nullable=False),
        sa.Column("policy", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("checksum", sa.Text(), nullable=False),
        sa.Column("diff", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("reason", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("source_version", sa.Integer(), nullable=True),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("shadowed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("activated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("activated_by", sa.Text(), nullable=True),
        sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "state <> 'active' OR activated_at IS NOT NULL", name=op.f("ck_triage_policies_active_since")
        ),
        sa.CheckConstraint(
            "state IN ('draft', 'shadow', 'active', 'retired')", name=op.f("ck_triage_policies_state_legal")
        ),
        sa.CheckConstraint("version > 0", name=op.f("ck_triage_policies_version_positive")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_triage_policies_org_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_triage_policies")),
        sa.UniqueConstraint("org_id", "version", name=op.f("uq_triage_policies_org_id_version")),
    )
    op.create_index(
        "uq_triage_policies_active",
        "triage_policies",
        ["org_id"],
        unique=True,
        postgresql_where=sa.text("state = 'active'"),
    )
    op.create_index(
        "uq_triage_policies_shadow",
        "triage_policies",
        ["org_id"],
        unique=True,
        postgresql_where=sa.text("state = 'shadow'"),
    )
    op.create_table(
        "case_assessments",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("because", sa.Text(), nullable=False),
        sa.Column("policy_version", sa.Integer(), nullable=False),
        sa.Column("priority_score", sa.SmallInteger(), nullable=False),
        sa.Column("confidence", sa.Numeric(precision=3, scale=2), nullable=False),
        sa.Column("formula_hundredths", sa.SmallInteger(), nullable=False),
        sa.Column("recommended_action", sa.Text(), nullable=False),
        sa.Column("signal_count", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "because IN ('signals', 'verification', 'policy')",
            name=op.f("ck_case_assessments_because_legal"),
        ),
        sa.CheckConstraint(
            "recommended_action IN ('dispatch_field_tech', 'remote_reset', 'needs_verification')",
            name=op.f("ck_case_assessments_recommended_action_legal"),
        ),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name=op.f("fk_case_assessments_case_id")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_case_assessments_org_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_case_assessments")),
        sa.UniqueConstraint("case_id", "version", name=op.f("uq_case_assessments_case_id_version")),
    )
    op.create_table(
        "case_shadows",
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("policy_id", sa.Uuid(), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("priority_score", sa.SmallInteger(), nullable=False),
        sa.Column("sla_hours", sa.Integer(), nullable=False),
        sa.Column("confidence", sa.Numeric(precision=3, scale=2), nullable=False),
        sa.Column("recommended_action", sa.Text(), nullable=False),
        sa.Column("is_other", sa.Boolean(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "recommended_action IN ('dispatch_field_tech', 'remote_reset', 'needs_verification')",
            name=op.f("ck_case_shadows_recommended_action_legal"),
        ),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name=op.f("fk_case_shadows_case_id")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_case_shadows_org_id")),
        sa.ForeignKeyConstraint(["policy_id"], ["triage_policies.id"], name=op.f("fk_case_shadows_policy_id")),
        sa.PrimaryKeyConstraint("policy_id", "case_id", name=op.f("pk_case_shadows")),
    )
    op.create_index(op.f("ix_case_shadows_case_id"), "case_shadows", ["case_id"], unique=False)
    op.create_table(
        "case_truths",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("is_real", sa.Boolean(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=True),
        sa.Column("actor_id", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "source IN ('verification', 'field', 'qc', 'person')", name=op.f("ck_case_truths_source_legal")
        ),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name=op.f("fk_case_truths_case_id")),
        sa.ForeignKeyConstraint(["order_id"], ["work_orders.id"], name=op.f("fk_case_truths_order_id")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_case_truths_org_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_case_truths")),
        sa.UniqueConstraint("case_id", "reference", name=op.f("uq_case_truths_case_id_reference")),
    )
    op.create_index(
        op.f("ix_case_truths_order_id"),
        "case_truths",
        ["order_id"],
        unique=False,
        postgresql_where=sa.text("order_id IS NOT NULL"),
    )
    op.create_index(op.f("ix_case_truths_org_id_at"), "case_truths", ["org_id", "at"], unique=False)
    op.create_table(
        "verification_outcomes",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("task_id", sa.Uuid(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("notes", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("actor_id", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "result IN ('confirmed_issue', 'false_alarm', 'needs_more_data')",
            name=op.f("ck_verification_outcomes_result_legal"),
        ),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name=op.f("fk_verification_outcomes_case_id")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_verification_outcomes_org_id")),
        sa.ForeignKeyConstraint(["task_id"], ["verification_tasks.id"], name=op.f("fk_verification_outcomes_task_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_verification_outcomes")),
    )
    op.create_index(op.f("ix_verification_outcomes_case_id"), "verification_outcomes", ["case_id"], unique=False)
    op.create_index(op.f("ix_verification_outcomes_task_id"), "verification_outcomes", ["task_id"], unique=False)
    op.add_column("assets", sa.Column("site_id", sa.Uuid(), nullable=True))
    op.add_column("assets", sa.Column("origin", sa.Text(), server_default="registry", nullable=False))
    op.add_column("assets", sa.Column("slug", sa.Text(), nullable=True))
    op.create_index(op.f("ix_assets_org_id_slug"), "assets", ["org_id", "slug"], unique=False)
    op.create_index(
        "ix_assets_name_trigrams",
        "assets",
        [sa.text("lower(name) gin_trgm_ops")],
        postgresql_using="gin",
        postgresql_where=sa.text("name <> ''"),
    )
    op.create_index(
        "ix_signals_loose",
        "signals",
        ["asset_id", "at"],
        postgresql_where=sa.text("case_id IS NULL AND status <> 'online'"),
    )
    op.create_index(
        "ix_tickets_requester_site",
        "tickets",
        ["org_id", "requester_email", sa.text("last_activity_at DESC")],
        postgresql_where=sa.text("site_id IS NOT NULL"),
    )
    op.create_index(
        op.f("ix_assets_site_id"), "assets", ["site_id"], unique=False, postgresql_where=sa.text("site_id IS NOT NULL")
    )
    op.create_foreign_key(op.f("fk_assets_site_id"), "assets", "sites", ["site_id"], ["id"])
    op.add_column(
        "cases", sa.Column("code", sa.Text(), server_default=sa.text("'case_' || gen_random_uuid()"), nullable=False)
    )
    op.add_column("cases", sa.Column("number", sa.Integer(), server_default=sa.text("1"), nullable=False))
    op.add_column("cases", sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("cases", sa.Column("closed_because", sa.Text(), nullable=True))
    op.add_column("cases", sa.Column("verified_result", sa.Text(), nullable=True))
    op.add_column("cases", sa.Column("verified_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("cases", sa.Column("policy_version", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column(
        "cases", sa.Column("formula_hundredths", sa.SmallInteger(), server_default=sa.text("0"), nullable=False)
    )
    op.add_column("cases", sa.Column("signal_count", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column("cases", sa.Column("first_signal_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("cases", sa.Column("last_signal_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("cases", sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("cases", sa.Column("is_real", sa.Boolean(), nullable=True))
    op.create_index(op.f("ix_cases_asset_id_mode_number"), "cases", ["asset_id", "mode", "number"], unique=False)
    op.create_index(
        "ix_cases_heard", "cases", ["last_signal_at"], unique=False, postgresql_where=sa.text("state = 'open'")
    )
    op.create_index(
        op.f("ix_cases_org_id_mode_state_code"),
        "cases",
        ["org_id", "mode", "state", sa.literal_column("priority_score DESC"), "code"],
        unique=False,
    )
    op.create_unique_constraint(op.f("uq_cases_org_id_mode_code"), "cases", ["org_id", "mode", "code"])
    op.add_column("signals", sa.Column("external_id", sa.Text(), nullable=True))
    op.add_column("signals", sa.Column("lat", sa.Float(), nullable=True))
    op.add_column("signals", sa.Column("lon", sa.Float(), nullable=True))
    op.add_column("signals", sa.Column("extracted_by", sa.Text(), server_default="name", nullable=False))
    op.add_column("signals", sa.Column("part", sa.Text(), server_default=sa.text("'text'"), nullable=False))
    op.add_column(
        "signals", sa.Column("symptoms", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False)
    )
    op.create_index(op.f("ix_signals_asset_id_at"), "signals", ["asset_id", "at"], unique=False)
    op.create_index(
        "uq_signals_external",
        "signals",
        ["org_id", "external_id"],
        unique=True,
        postgresql_where=sa.text("external_id IS NOT NULL"),
    )
    op.add_column(
        "verification_tasks",
        sa.Column("code", sa.Text(), server_default=sa.text("'ver_' || gen_random_uuid()"), nullable=False),
    )
    op.add_column("verification_tasks", sa.Column("number", sa.Integer(), server_default=sa.text("1"), nullable=False))
    op.add_column("verification_tasks", sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "ix_verification_tasks_waiting",
        "verification_tasks",
        ["org_id", "id"],
        unique=False,
        postgresql_where=sa.text("status = 'open'"),
    )

    op.execute("UPDATE verification_tasks SET ended_at = created_at WHERE status <> 'open'")
    op.execute("UPDATE cases SET closed_at = assessed_at, closed_because = 'quiet' WHERE state = 'closed'")
    for statement in (_CODES, _HEARD, _TASK_CODES):
        op.execute(statement)
    op.create_unique_constraint(
        op.f("uq_verification_tasks_case_id_number"), "verification_tasks", ["case_id", "number"]
    )
    _move_policies()
    op.drop_constraint(op.f("ck_verification_tasks_status_legal"), "verification_tasks")
    op.create_check_constraint(
        op.f("ck_verification_tasks_status_legal"), "verification_tasks", f"status IN ({_TASKS})"
    )
    op.create_check_constraint(op.f("ck_assets_origin_legal"), "assets", "origin IN ('registry', 'signal')")
    op.create_check_constraint(
        op.f("ck_cases_closed_because_legal"), "cases", "closed_because IN ('resolved', 'false_alarm', 'quiet')"
    )
    op.create_check_constraint(op.f("ck_cases_closed_when"), "cases", "(state = 'closed') = (closed_at IS NOT NULL)")
    op.create_check_constraint(
        op.f("ck_cases_closed_why"), "cases", "(state = 'closed') = (closed_because IS NOT NULL)"
    )
    op.create_check_constraint(
        op.f("ck_cases_verified_result_legal"),
        "cases",
        "verified_result IN ('confirmed_issue', 'false_alarm', 'needs_more_data')",
    )
    op.create_check_constraint(
        op.f("ck_cases_verified_when"), "cases", "(verified_result IS NULL) = (verified_at IS NULL)"
    )
    op.create_check_constraint(
        op.f("ck_signals_extracted_by_legal"), "signals", "extracted_by IN ('api', 'name', 'pattern', 'fuzzy', 'site')"
    )
    op.create_check_constraint(op.f("ck_signals_part_legal"), "signals", "part IN ('subject', 'text')")
    op.create_check_constraint(
        op.f("ck_verification_tasks_ended_when"), "verification_tasks", "(status = 'open') = (ended_at IS NULL)"
    )
    for table in _APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION refuse_change();"
            f"CREATE TRIGGER no_truncate BEFORE TRUNCATE ON {table} EXECUTE FUNCTION refuse_change()"
        )
    for code, permissions in _GRANTS:
        op.get_bind().execute(_GRANT, {"code": code, "permissions": permissions})


def downgrade() -> None:
    """Take back; questions that were not needed any more go with it."""
    for code, permissions in _GRANTS:
        op.get_bind().execute(_REVOKE, {"code": code, "permissions": permissions})
    op.drop_index("ix_tickets_requester_site", "tickets")
    op.drop_index("ix_signals_loose", "signals")
    op.drop_index("ix_assets_name_trigrams", "assets")
    op.drop_constraint(op.f("ck_assets_origin_legal"), "assets")
    op.drop_constraint(op.f("ck_cases_closed_because_legal"), "cases")
    op.drop_constraint(op.f("ck_cases_closed_when"), "cases")
    op.drop_constraint(op.f("ck_cases_closed_why"), "cases")
    op.drop_constraint(op.f("ck_cases_verified_result_legal"), "cases")
    op.drop_constraint(op.f("ck_cases_verified_when"), "cases")
    op.drop_constraint(op.f("ck_signals_extracted_by_legal"), "signals")
    op.drop_constraint(op.f("ck_signals_part_legal"), "signals")
    op.drop_constraint(op.f("ck_verification_tasks_ended_when"), "verification_tasks")
    op.drop_constraint(op.f("ck_verification_tasks_status_legal"), "verification_tasks")
    op.drop_constraint(op.f("uq_verification_tasks_case_id_number"), "verification_tasks", type_="unique")
    op.drop_index(
        "ix_verification_tasks_waiting", table_name="verification_tasks", postgresql_where=sa.text("status = 'open'")
    )
    op.drop_column("verification_tasks", "ended_at")
    op.drop_column("verification_tasks", "number")
    op.drop_column("verification_tasks", "code")
    op.drop_index("uq_signals_external", table_name="signals", postgresql_where=sa.text("external_id IS NOT NULL"))
    op.drop_index(op.f("ix_signals_asset_id_at"), table_name="signals")
    op.drop_column("signals", "symptoms")
    op.drop_column("signals", "part")
    op.drop_column("signals", "extracted_by")
    op.drop_column("signals", "lon")
    op.drop_column("signals", "lat")
    op.drop_column("signals", "external_id")
    op.drop_constraint(op.f("uq_cases_org_id_mode_code"), "cases", type_="unique")
    op.drop_index(op.f("ix_cases_org_id_mode_state_code"), table_name="cases")
    op.drop_index("ix_cases_heard", table_name="cases", postgresql_where=sa.text("state = 'open'"))
    op.drop_index(op.f("ix_cases_asset_id_mode_number"), table_name="cases")
    op.drop_column("cases", "is_real")
    op.drop_column("cases", "decided_at")
    op.drop_column("cases", "last_signal_at")
    op.drop_column("cases", "first_signal_at")
    op.drop_column("cases", "signal_count")
    op.drop_column("cases", "formula_hundredths")
    op.drop_column("cases", "policy_version")
    op.drop_column("cases", "verified_at")
    op.drop_column("cases", "verified_result")
    op.drop_column("cases", "closed_because")
    op.drop_column("cases", "closed_at")
    op.drop_column("cases", "number")
    op.drop_column("cases", "code")
    op.drop_constraint(op.f("fk_assets_site_id"), "assets", type_="foreignkey")
    op.drop_index(op.f("ix_assets_site_id"), table_name="assets", postgresql_where=sa.text("site_id IS NOT NULL"))
    op.drop_index(op.f("ix_assets_org_id_slug"), table_name="assets")
    op.drop_column("assets", "slug")
    op.drop_column("assets", "origin")
    op.drop_column("assets", "site_id")
    op.drop_index(op.f("ix_verification_outcomes_task_id"), table_name="verification_outcomes")
    op.drop_index(op.f("ix_verification_outcomes_case_id"), table_name="verification_outcomes")
    op.drop_table("verification_outcomes")
    op.drop_index(op.f("ix_case_truths_org_id_at"), table_name="case_truths")
    op.drop_index(
        op.f("ix_case_truths_order_id"), table_name="case_truths", postgresql_where=sa.text("order_id IS NOT NULL")
    )
    op.drop_table("case_truths")
    op.drop_index(op.f("ix_case_shadows_case_id"), table_name="case_shadows")
    op.drop_table("case_shadows")
    op.drop_table("case_assessments")
    op.drop_index(
        "uq_triage_policies_shadow", table_name="triage_policies", postgresql_where=sa.text("state = 'shadow'")
    )
    op.drop_index(
        "uq_triage_policies_active", table_name="triage_policies", postgresql_where=sa.text("state = 'active'")
    )
    op.drop_table("triage_policies")
    op.drop_table("asset_patterns")
    op.execute("DELETE FROM verification_tasks WHERE status = 'superseded'")
    op.create_check_constraint(
        op.f("ck_verification_tasks_status_legal"), "verification_tasks", f"status IN ({_TASKS_BEFORE})"
    )
