"""Assets, signals about them, the cases they make, what verified them, what was true, and the policies that judge."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Numeric,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from models.base import created, key, metadata, word
from models.enums import (
    AssessedBecause,
    AssetOrigin,
    CaseEnd,
    CaseState,
    ExtractedBy,
    GridStress,
    PolicyState,
    RecommendedAction,
    RootCause,
    SignalSource,
    SignalStatus,
    TaskResult,
    TaskStatus,
    TriageMode,
    TruthSource,
)

assets = Table(
    "assets",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("tag", Text, nullable=False),
    Column("name", Text, nullable=False, server_default=text("''")),
    Column("aliases", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("kind", Text, nullable=False, server_default=text("''")),
    Column("zone", Text),
    Column("lat", Float),
    Column("lon", Float),
    Column("site_id", Uuid, ForeignKey("sites.id")),
    word("origin", AssetOrigin, AssetOrigin.REGISTRY),
    #: `scoring.asset_key` of the tag, kept by `pipeline.runtime.asset_rows`; NULL until somebody asks by it.
    Column("slug", Text),
    created(),
    UniqueConstraint("org_id", "tag"),
    CheckConstraint("tag <> ''", name="tag_not_blank"),
    Index(None, "org_id", "slug"),
    Index(None, "site_id", postgresql_where=text("site_id IS NOT NULL")),
    #: Finds names that are nearly written so.
    Index(
        "ix_assets_name_trigrams",
        text("lower(name)"),
        postgresql_using="gin",
        postgresql_ops={"lower(name)": "gin_trgm_ops"},
        postgresql_where=text("name <> ''"),
    ),
)

#: How an organization writes its tags: RE2 patterns, and what tag their groups make.
asset_patterns = Table(
    "asset_patterns",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("pattern", Text, nullable=False),
    #: With \\1 for the first group.
    Column("tag", Text, nullable=False),
    Column("position", Integer, nullable=False, server_default=text("100")),
    Column("is_enabled", Boolean, nullable=False, server_default=text("true")),
    Column("created_by", Text, nullable=False),
    created(),
    UniqueConstraint("org_id", "pattern"),
    CheckConstraint("pattern <> '' AND tag <> ''", name="not_blank"),
)

cases = Table(
    "cases",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("asset_id", Uuid, ForeignKey("assets.id"), nullable=False),
    word("mode", TriageMode),
    #: The contract's id: of the asset, and from its second case on with a number. An asset's cases of both modes are
    #: opened and closed together, and share it.
    Column("code", Text, nullable=False, server_default=text("'case_' || gen_random_uuid()")),
    Column("number", Integer, nullable=False, server_default=text("1")),
    word("state", CaseState, CaseState.OPEN),
    Column("closed_at", DateTime(timezone=True)),
    word("closed_because", CaseEnd, nullable=True),
    Column("priority_score", Integer, nullable=False),
    Column("sla_hours", Integer, nullable=False),
    word("root_cause_tag", RootCause),
    Column("confidence", Numeric(3, 2), nullable=False),
    word("recommended_action", RecommendedAction),
    word("grid_stress_level", GridStress),
    Column("explanation", Text, nullable=False),
    Column("uncertainty_reasons", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("verification_required", Boolean, nullable=False),
    #: What a person found when they were asked last; it counts until something reports the contrary.
    word("verified_result", TaskResult, nullable=True),
    Column("verified_at", DateTime(timezone=True)),
    #: Of the triage policy that assessed it; 0 is the built-in one.
    Column("policy_version", Integer, nullable=False, server_default=text("0")),
    #: The formula's confidence in hundredths, before calibration.
    Column("formula_hundredths", SmallInteger, nullable=False, server_default=text("0")),
    Column("signal_count", Integer, nullable=False, server_default=text("0")),
    #: When something first said so, by its own clock, and when anything was said last.
    Column("first_signal_at", DateTime(timezone=True)),
    Column("last_signal_at", DateTime(timezone=True)),
    #: When it was decided that somebody goes, or that nobody has to.
    Column("decided_at", DateTime(timezone=True)),
    #: Whether something was wrong, by the most reliable of `case_truths`; NULL while nobody knows.
    Column("is_real", Boolean),
    Column("version", BigInteger, nullable=False, server_default=text("0")),
    Column("assessed_at", DateTime(timezone=True), nullable=False),
    created(),
    CheckConstraint("(state = 'closed') = (closed_at IS NOT NULL)", name="closed_when"),
    CheckConstraint("(state = 'closed') = (closed_because IS NOT NULL)", name="closed_why"),
    CheckConstraint("(verified_result IS NULL) = (verified_at IS NULL)", name="verified_when"),
    CheckConstraint("priority_score BETWEEN 0 AND 100", name="priority_range"),
    CheckConstraint("confidence BETWEEN 0 AND 1", name="confidence_range"),
    CheckConstraint("verification_required = (recommended_action = 'needs_verification')", name="verification_action"),
    Index("uq_cases_open", "org_id", "asset_id", "mode", unique=True, postgresql_where=text("state = 'open'")),
    UniqueConstraint("org_id", "mode", "code"),
    Index(None, "asset_id", "mode", "number"),
    Index(None, "org_id", "mode", "state", text("priority_score DESC"), "code"),
    Index("ix_cases_heard", "last_signal_at", postgresql_where=text("state = 'open'")),
)

#: Every assessment that changed something: what triage said when. Append-only.
case_assessments = Table(
    "case_assessments",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("case_id", Uuid, ForeignKey("cases.id"), nullable=False),
    Column("version", BigInteger, nullable=False),
    word("because", AssessedBecause),
    Column("policy_version", Integer, nullable=False),
    Column("priority_score", SmallInteger, nullable=False),
    Column("confidence", Numeric(3, 2), nullable=False),
    Column("formula_hundredths", SmallInteger, nullable=False),
    word("recommended_action", RecommendedAction),
    Column("signal_count", Integer, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    UniqueConstraint("case_id", "version"),
)

signals = Table(
    "signals",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("asset_id", Uuid, ForeignKey("assets.id"), nullable=False),
    Column("case_id", Uuid, ForeignKey("cases.id")),
    word("source", SignalSource),
    #: The sender for mail: several people are several sources of evidence.
    Column("reporter", Text, nullable=False, server_default=text("''")),
    Column("message_id", BigInteger, ForeignKey("messages.id")),
    Column("at", DateTime(timezone=True), nullable=False),
    word("status", SignalStatus),
    Column("text", Text, nullable=False),
    #: Characters of the text that carried the extraction, for people who ask why.
    Column("span", ARRAY(Integer)),
    Column("rules_version", Integer, nullable=False),
    created(),
    #: As who reported it calls it; another report of the same id replaces it.
    Column("external_id", Text),
    Column("lat", Float),
    Column("lon", Float),
    word("extracted_by", ExtractedBy, ExtractedBy.NAME),
    #: subject or text, which the span counts in.
    Column("part", Text, nullable=False, server_default=text("'text'")),
    Column("symptoms", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    UniqueConstraint("message_id", "asset_id"),
    CheckConstraint("part IN ('subject', 'text')", name="part_legal"),
    Index(None, "case_id"),
    Index(
        "uq_signals_external", "org_id", "external_id", unique=True, postgresql_where=text("external_id IS NOT NULL")
    ),
    Index(None, "asset_id", "at"),
    #: What is said of trouble and stands in no case yet, among a healthy asset's many good reports.
    Index(
        "ix_signals_loose",
        "asset_id",
        "at",
        postgresql_where=text("case_id IS NULL AND status <> 'online'"),
    ),
)

verification_tasks = Table(
    "verification_tasks",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("case_id", Uuid, ForeignKey("cases.id"), nullable=False),
    Column("question", Text, nullable=False),
    Column("owner", Text, nullable=False),
    word("status", TaskStatus, TaskStatus.OPEN),
    word("result", TaskResult, nullable=True),
    #: The contract's id: of the case, and from its second question on with a number.
    Column("code", Text, nullable=False, server_default=text("'ver_' || gen_random_uuid()")),
    Column("number", Integer, nullable=False, server_default=text("1")),
    Column("ended_at", DateTime(timezone=True)),
    created(),
    CheckConstraint("(status = 'done') = (result IS NOT NULL)", name="result_when_done"),
    CheckConstraint("(status = 'open') = (ended_at IS NULL)", name="ended_when"),
    Index("uq_verification_tasks_open", "case_id", unique=True, postgresql_where=text("status = 'open'")),
    UniqueConstraint("case_id", "number"),
    Index("ix_verification_tasks_waiting", "org_id", "id", postgresql_where=text("status = 'open'")),
)

#: Every answer to a question. Append-only.
verification_outcomes = Table(
    "verification_outcomes",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("case_id", Uuid, ForeignKey("cases.id"), nullable=False),
    Column("task_id", Uuid, ForeignKey("verification_tasks.id"), nullable=False),
    word("result", TaskResult),
    Column("notes", Text, nullable=False, server_default=text("''")),
    Column("actor_id", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Index(None, "case_id"),
    Index(None, "task_id"),
)

#: What people found to be true of a case, each finding once. Append-only; the most reliable, then the newest, counts.
case_truths = Table(
    "case_truths",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("case_id", Uuid, ForeignKey("cases.id"), nullable=False),
    word("source", TruthSource),
    #: What found it: `task:...`, `order:...:attempt`; told again it is the same.
    Column("reference", Text, nullable=False),
    Column("is_real", Boolean, nullable=False),
    Column("order_id", Uuid, ForeignKey("work_orders.id")),
    Column("actor_id", Text, nullable=False),
    Column("note", Text, nullable=False, server_default=text("''")),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    UniqueConstraint("case_id", "reference"),
    Index(None, "org_id", "at"),
    Index(None, "order_id", postgresql_where=text("order_id IS NOT NULL")),
)

triage_policies = Table(
    "triage_policies",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("version", Integer, nullable=False),
    word("state", PolicyState, PolicyState.DRAFT),
    #: Validated by `pipeline.core.triage_policy`.
    Column("policy", JSONB, nullable=False),
    #: SHA-256 as hex over the canonical form.
    Column("checksum", Text, nullable=False),
    Column("diff", JSONB, nullable=False, server_default=text("'{}'")),
    Column("reason", Text, nullable=False, server_default=text("''")),
    #: Of a rollback: which version it copies.
    Column("source_version", Integer),
    Column("created_by", Text, nullable=False),
    Column("shadowed_at", DateTime(timezone=True)),
    Column("activated_at", DateTime(timezone=True)),
    Column("activated_by", Text),
    Column("retired_at", DateTime(timezone=True)),
    created(),
    UniqueConstraint("org_id", "version"),
    CheckConstraint("version > 0", name="version_positive"),
    CheckConstraint("state <> 'active' OR activated_at IS NOT NULL", name="active_since"),
    Index("uq_triage_policies_active", "org_id", unique=True, postgresql_where=text("state = 'active'")),
    Index("uq_triage_policies_shadow", "org_id", unique=True, postgresql_where=text("state = 'shadow'")),
)

#: What the policy in the shadow says of a case, as it was assessed last.
case_shadows = Table(
    "case_shadows",
    metadata,
    Column("case_id", Uuid, ForeignKey("cases.id"), nullable=False),
    Column("policy_id", Uuid, ForeignKey("triage_policies.id"), nullable=False),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("priority_score", SmallInteger, nullable=False),
    Column("sla_hours", Integer, nullable=False),
    Column("confidence", Numeric(3, 2), nullable=False),
    word("recommended_action", RecommendedAction),
    #: Whether the active policy says otherwise.
    Column("is_other", Boolean, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("policy_id", "case_id"),
    Index(None, "case_id"),
)
