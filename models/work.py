"""Teams and the work orders they get."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from models.base import created, key, metadata, word
from models.enums import WorkOrderState

teams = Table(
    "teams",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("skills", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("zones", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("capacity", Integer),
    Column("is_active", Boolean, nullable=False, server_default=text("true")),
    created(),
    UniqueConstraint("org_id", "name"),
    CheckConstraint("capacity > 0", name="capacity_positive"),
)

work_orders = Table(
    "work_orders",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    #: Counts up for people to read aloud; the code is `wo_` and this number.
    Column("number", BigInteger, nullable=False, server_default=text("nextval('work_order_numbers')")),
    Column("case_id", Uuid, ForeignKey("cases.id"), nullable=False),
    Column("ticket_id", Uuid, ForeignKey("tickets.id")),
    Column("team_id", Uuid, ForeignKey("teams.id")),
    word("state", WorkOrderState, WorkOrderState.CREATED),
    Column("due_at", DateTime(timezone=True), nullable=False),
    #: Every candidate with its filter and score, as it stood when the team was chosen.
    Column("choice", JSONB, nullable=False, server_default=text("'{}'")),
    Column("version", BigInteger, nullable=False, server_default=text("0")),
    Column("trace_id", Text),
    created(),
    UniqueConstraint("number"),
    Index(
        "uq_work_orders_open",
        "case_id",
        unique=True,
        postgresql_where=text("state IN ('created', 'in_progress')"),
    ),
    Index(None, "ticket_id"),
    Index(None, "case_id"),
    Index("ix_work_orders_team_open", "team_id", postgresql_where=text("state IN ('created', 'in_progress')")),
)
