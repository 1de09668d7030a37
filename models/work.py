"""Teams, the work orders they and their people get, and every step of these."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
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
from models.enums import ParentState, TicketPriority, WorkOrderState, WorkPolicy
from models.work_lifecycle import AWAITED, OPEN, legal_condition, words_of_policies

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

#: A round of checks that failed somewhere: while work that it asked for is open, its ride is held (contract 004).
checklists = Table(
    "checklists",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("site_id", Uuid, ForeignKey("sites.id"), nullable=False),
    #: The ride; NULL where the whole place was looked at.
    Column("asset_id", Uuid, ForeignKey("assets.id")),
    Column("name", Text, nullable=False),
    word("state", ParentState, ParentState.HELD),
    Column("created_by", Text, nullable=False),
    created(),
    Column("released_at", DateTime(timezone=True)),
    CheckConstraint("name <> ''", name="name_not_blank"),
    CheckConstraint("(state = 'released') = (released_at IS NOT NULL)", name="released_at_when_released"),
    Index("ix_checklists_held", "site_id", "name", postgresql_where=text("state = 'held'")),
)

#: One unit of work for a team or a person, whatever kind of work it is: who, where, until when, how far. What only one
#: policy knows stands beside it, in `findings` and `repairs`.
work_orders = Table(
    "work_orders",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    #: Counts up for people to read aloud; the code is `wo_` and this number.
    Column("number", BigInteger, nullable=False, server_default=text("nextval('work_order_numbers')")),
    word("policy", WorkPolicy, WorkPolicy.FIELD),
    Column("title", Text, nullable=False, server_default=text("''")),
    word("priority", TicketPriority, TicketPriority.NORMAL),
    word("state", WorkOrderState, WorkOrderState.CREATED),
    #: What it came from: a case, and the ticket that its field work follows; a checklist; a thing of the inventory.
    Column("case_id", Uuid, ForeignKey("cases.id")),
    Column("ticket_id", Uuid, ForeignKey("tickets.id")),
    Column("checklist_id", Uuid, ForeignKey("checklists.id")),
    Column("item_id", Uuid, ForeignKey("inventory_items.id")),
    #: Where it is to be done, and on what; a zone of contract 004 is a site.
    Column("site_id", Uuid, ForeignKey("sites.id")),
    Column("asset_id", Uuid, ForeignKey("assets.id")),
    Column("team_id", Uuid, ForeignKey("teams.id")),
    Column("assigned_to_id", Uuid, ForeignKey("people.id")),
    Column("assigned_by_id", Uuid, ForeignKey("people.id")),
    Column("assigned_at", DateTime(timezone=True)),
    #: Which giving to somebody this is: proof of an earlier one is no proof of this.
    Column("attempt", SmallInteger, nullable=False, server_default=text("0")),
    Column("created_by_id", Uuid, ForeignKey("people.id")),
    Column("instructions", Text),
    Column("return_reason", Text),
    Column("fix_note", Text),
    Column("outsourced_to", Text),
    #: Of this attempt, and of the whole.
    Column("started_at", DateTime(timezone=True)),
    Column("closed_at", DateTime(timezone=True)),
    Column("due_at", DateTime(timezone=True)),
    #: When it was told, once; of the field only.
    Column("due_soon_told_at", DateTime(timezone=True)),
    Column("overdue_told_at", DateTime(timezone=True)),
    #: Every candidate with its filter and score, as it stood when the team was chosen.
    Column("choice", JSONB, nullable=False, server_default=text("'{}'")),
    Column("version", BigInteger, nullable=False, server_default=text("0")),
    Column("trace_id", Text),
    created(),
    UniqueConstraint("number"),
    CheckConstraint(words_of_policies(), name="state_of_policy"),
    CheckConstraint("policy <> 'field' OR due_at IS NOT NULL", name="due_in_the_field"),
    CheckConstraint("(policy = 'workshop') = (item_id IS NOT NULL)", name="item_in_the_workshop"),
    CheckConstraint("closed_at IS NULL OR state IN ('done', 'cancelled')", name="closed_when_over"),
    CheckConstraint(
        "state NOT IN ('assigned', 'waiting_qc', 'rework') OR assigned_to_id IS NOT NULL", name="somebody_s"
    ),
    CheckConstraint("(state = 'outsourced') <= (outsourced_to IS NOT NULL)", name="outsourced_to_somebody"),
    CheckConstraint("(state = 'returned') <= (return_reason IS NOT NULL)", name="returned_because_of_something"),
    Index("uq_work_orders_open", "case_id", unique=True, postgresql_where=text(OPEN)),
    Index("uq_work_orders_item", "item_id", unique=True, postgresql_where=text(OPEN)),
    #: In one workshop a person works on one thing at a time (contract 002).
    Index(
        "uq_work_orders_in_progress",
        "org_id",
        "assigned_to_id",
        unique=True,
        postgresql_where=text("policy = 'workshop' AND state = 'in_progress'"),
    ),
    Index(None, "ticket_id"),
    Index(None, "case_id"),
    Index("ix_work_orders_team_open", "team_id", postgresql_where=text(OPEN)),
    Index("ix_work_orders_mine_open", "assigned_to_id", "due_at", postgresql_where=text(OPEN)),
    Index("ix_work_orders_checklist_open", "checklist_id", postgresql_where=text(OPEN)),
    #: Lists by deadline, of everybody, of a zone, of a person, of what went out; and what a person closed.
    Index("ix_work_orders_due", "org_id", "state", "due_at", "id", postgresql_where=text("policy = 'field'")),
    Index("ix_work_orders_due_at_site", "site_id", "state", "due_at", "id", postgresql_where=text("policy = 'field'")),
    Index(
        "ix_work_orders_due_mine", "assigned_to_id", "state", "due_at", "id", postgresql_where=text("policy = 'field'")
    ),
    Index(
        "ix_work_orders_outsourced",
        "org_id",
        "state",
        "due_at",
        "id",
        postgresql_where=text("outsourced_to IS NOT NULL"),
    ),
    Index("ix_work_orders_mine_closed", "assigned_to_id", "closed_at", postgresql_where=text("closed_at IS NOT NULL")),
    #: The workshop's list, newest first: of everything, in a state, of a technician.
    Index("ix_work_orders_repairs", "org_id", "id", postgresql_where=text("policy = 'workshop'")),
    Index("ix_work_orders_repairs_in", "org_id", "state", "id", postgresql_where=text("policy = 'workshop'")),
    Index("ix_work_orders_repairs_of", "assigned_to_id", "id", postgresql_where=text("policy = 'workshop'")),
    Index("ix_work_orders_due_soon", "due_at", postgresql_where=text(f"{AWAITED} AND due_soon_told_at IS NULL")),
    Index("ix_work_orders_overdue", "due_at", postgresql_where=text(f"{AWAITED} AND overdue_told_at IS NULL")),
)

#: What a checklist found wrong: the failed item of a work order of the field (contract 004, `aItem`).
findings = Table(
    "findings",
    metadata,
    Column("order_id", Uuid, ForeignKey("work_orders.id"), primary_key=True),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("checklist_id", Uuid, ForeignKey("checklists.id"), nullable=False),
    #: What the app that made the checklist calls the item.
    Column("item_id", Text, nullable=False),
    Column("item_text", Text, nullable=False),
    Column("item_note", Text),
    created(),
    CheckConstraint("item_text <> ''", name="item_text_not_blank"),
    Index(None, "checklist_id"),
)

#: Every step of an order: who, in which role, when; with the audit row that tells more. A trigger refuses every change.
work_order_events = Table(
    "work_order_events",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("order_id", Uuid, ForeignKey("work_orders.id"), nullable=False),
    word("policy", WorkPolicy),
    Column("command", Text, nullable=False),
    Column("attempt", SmallInteger, nullable=False),
    #: Equal where a step changed no state.
    Column("from_state", Text),
    Column("to_state", Text, nullable=False),
    Column("actor_id", Text, nullable=False),
    Column("actor_role", Text),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    #: What lists of steps show: reason, from and to whom.
    Column("data", JSONB, nullable=False, server_default=text("'{}'")),
    Column("audit_number", BigInteger, nullable=False),
    ForeignKeyConstraint(["org_id", "audit_number"], ["audit_events.org_id", "audit_events.number"]),
    #: The legal pairs of both policies, from the one table of their lifecycles.
    CheckConstraint(legal_condition(), name="legal"),
    Index(None, "order_id", "id"),
)
