"""Assets, the signals about them, the cases the signals make, and the tasks that verify a case."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    Numeric,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from models.base import created, key, metadata, word
from models.enums import (
    CaseState,
    GridStress,
    RecommendedAction,
    RootCause,
    SignalSource,
    SignalStatus,
    TaskResult,
    TaskStatus,
    TriageMode,
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
    created(),
    UniqueConstraint("org_id", "tag"),
    CheckConstraint("tag <> ''", name="tag_not_blank"),
)

cases = Table(
    "cases",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("asset_id", Uuid, ForeignKey("assets.id"), nullable=False),
    word("mode", TriageMode),
    word("state", CaseState, CaseState.OPEN),
    Column("priority_score", Integer, nullable=False),
    Column("sla_hours", Integer, nullable=False),
    word("root_cause_tag", RootCause),
    Column("confidence", Numeric(3, 2), nullable=False),
    word("recommended_action", RecommendedAction),
    word("grid_stress_level", GridStress),
    Column("explanation", Text, nullable=False),
    Column("uncertainty_reasons", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("verification_required", Boolean, nullable=False),
    Column("version", BigInteger, nullable=False, server_default=text("0")),
    Column("assessed_at", DateTime(timezone=True), nullable=False),
    created(),
    CheckConstraint("priority_score BETWEEN 0 AND 100", name="priority_range"),
    CheckConstraint("confidence BETWEEN 0 AND 1", name="confidence_range"),
    CheckConstraint("verification_required = (recommended_action = 'needs_verification')", name="verification_action"),
    Index("uq_cases_open", "org_id", "asset_id", "mode", unique=True, postgresql_where=text("state = 'open'")),
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
    UniqueConstraint("message_id", "asset_id"),
    Index(None, "case_id"),
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
    created(),
    CheckConstraint("(status = 'done') = (result IS NOT NULL)", name="result_when_done"),
    Index("uq_verification_tasks_open", "case_id", unique=True, postgresql_where=text("status = 'open'")),
)
