"""Field work of tickets: what is to be done, when, by whom, what proves it, and who agreed to its price."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TSTZRANGE, ExcludeConstraint

from models.base import created, key, metadata, word
from models.enums import (
    ApprovalKind,
    ApprovalState,
    AssignmentMode,
    DispatchPriority,
    DispatchState,
    EvidenceCheck,
    HoldReason,
    HoldState,
    PlanState,
    QaResult,
    VisitState,
)

#: What work of one kind asks for: proof, skills, time. Those without an organization are built in (contract 000,
#: seed-behaviours 1.7); an organization's own take their place. A change is a new version; the old one stays, because
#: tickets keep the version that they were triaged with.
incident_templates = Table(
    "incident_templates",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id")),
    Column("incident_type", Text, nullable=False),
    Column("version", Integer, nullable=False, server_default=text("1")),
    Column("is_current", Boolean, nullable=False, server_default=text("true")),
    Column("name", Text, nullable=False),
    #: Each must be there, or promised with its hash, at completion.
    Column("evidence_keys", ARRAY(Text), nullable=False),
    #: Each must be boolean true.
    Column("checklist_keys", ARRAY(Text), nullable=False),
    Column("skills", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("certificates", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("visit_minutes", Integer, nullable=False, server_default=text("60")),
    #: A machine's candidate for closing is looked at by a person first.
    Column("is_high_risk", Boolean, nullable=False, server_default=text("false")),
    Column("created_by", Text, nullable=False, server_default=text("'system'")),
    created(),
    UniqueConstraint("org_id", "incident_type", "version", postgresql_nulls_not_distinct=True),
    CheckConstraint("incident_type = upper(incident_type) AND incident_type <> ''", name="incident_type_upper"),
    CheckConstraint("visit_minutes BETWEEN 5 AND 1440", name="visit_minutes_range"),
    CheckConstraint("cardinality(evidence_keys) > 0 AND cardinality(checklist_keys) > 0", name="asks_for_something"),
    Index(
        "uq_incident_templates_current",
        "org_id",
        "incident_type",
        unique=True,
        postgresql_nulls_not_distinct=True,
        postgresql_where=text("is_current"),
    ),
)

#: The field work of a ticket, one row where there is any: a ticket that is answered by mail alone has none. Its state
#: is `tickets.dispatch_state`, its version `tickets.version`.
dispatches = Table(
    "dispatches",
    metadata,
    Column("ticket_id", Uuid, ForeignKey("tickets.id"), primary_key=True),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("asset_id", Uuid, ForeignKey("assets.id")),
    Column("incident_type", Text),
    #: The version that its proof is measured by; set when it is triaged.
    Column("template_id", Uuid, ForeignKey("incident_templates.id")),
    Column("description", Text),
    word("priority", DispatchPriority, DispatchPriority.ROUTINE),
    #: Not to exceed, in the currency's smallest unit; 0 is no limit.
    Column("nte_cents", BigInteger, nullable=False, server_default=text("0")),
    Column("currency", Text, nullable=False, server_default=text("'USD'")),
    #: When somebody must be there: 60, 240 or 1440 minutes after it was made, by priority; a schedule does not move it.
    Column("due_at", DateTime(timezone=True), nullable=False),
    Column("due_soon_at", DateTime(timezone=True), nullable=False),
    #: When it was told, once.
    Column("due_soon_told_at", DateTime(timezone=True)),
    Column("overdue_told_at", DateTime(timezone=True)),
    Column("arrived_at", DateTime(timezone=True)),
    #: NULL where no field work is open: what the dispatcher's queue is sorted by.
    Column("queue_due_at", DateTime(timezone=True)),
    Column("scheduled_start", DateTime(timezone=True)),
    Column("scheduled_end", DateTime(timezone=True)),
    Column("assigned_provider_id", Uuid),
    Column("assigned_tech_id", Uuid, ForeignKey("people.id")),
    #: The visit that is booked, or was last.
    Column("visit_number", SmallInteger, nullable=False, server_default=text("0")),
    Column("customer_name", Text),
    Column("customer_phone", Text),
    Column("customer_email", Text),
    #: SHA-256 as hex over what an intake says (contract 000).
    Column("identity_signature", Text),
    Column("identity_confidence", SmallInteger),
    Column("classification_confidence", SmallInteger),
    Column("is_sop_handoff_required", Boolean, nullable=False, server_default=text("false")),
    Column("is_sop_handoff_acknowledged", Boolean, nullable=False, server_default=text("false")),
    Column("sop_handoff_prompt", Text),
    #: Why it must be done again, from the last check that failed; NULL when nothing must.
    Column("rework_reason", Text),
    #: Of the mail or request that began it: every command continues it.
    Column("trace_id", Text),
    created(),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    CheckConstraint("nte_cents >= 0", name="nte_positive"),
    CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency_plain"),
    CheckConstraint("scheduled_end > scheduled_start", name="window_in_order"),
    CheckConstraint("(scheduled_start IS NULL) = (scheduled_end IS NULL)", name="window_whole"),
    CheckConstraint("identity_confidence BETWEEN 0 AND 100", name="identity_confidence_range"),
    CheckConstraint("classification_confidence BETWEEN 0 AND 100", name="classification_confidence_range"),
    Index(
        "ix_dispatches_queue", "org_id", "queue_due_at", "ticket_id", postgresql_where=text("queue_due_at IS NOT NULL")
    ),
    Index("ix_dispatches_tech", "assigned_tech_id", "ticket_id", postgresql_where=text("assigned_tech_id IS NOT NULL")),
    Index("ix_dispatches_asset", "asset_id", postgresql_where=text("asset_id IS NOT NULL")),
    Index(
        "ix_dispatches_due_soon",
        "due_soon_at",
        postgresql_where=text("queue_due_at IS NOT NULL AND arrived_at IS NULL AND due_soon_told_at IS NULL"),
    ),
    Index(
        "ix_dispatches_overdue",
        "due_at",
        postgresql_where=text("queue_due_at IS NOT NULL AND arrived_at IS NULL AND overdue_told_at IS NULL"),
    ),
)

#: What an intake told, for as long as the same again is the same matter: a second one is refused by the database.
intakes = Table(
    "intakes",
    metadata,
    Column("ticket_id", Uuid, ForeignKey("tickets.id"), primary_key=True),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("signature", Text, nullable=False),
    Column("during", TSTZRANGE, nullable=False),
    #: False once its ticket is over: the same again is a new matter.
    Column("is_open", Boolean, nullable=False, server_default=text("true")),
    ExcludeConstraint(
        ("org_id", "="),
        ("signature", "="),
        ("during", "&&"),
        name="ex_intakes_duplicate",
        using="gist",
        where=text("is_open"),
    ),
)

#: The windows that were offered last; a confirmed one is one of these.
proposed_windows = Table(
    "proposed_windows",
    metadata,
    Column("ticket_id", Uuid, ForeignKey("tickets.id"), nullable=False),
    Column("position", SmallInteger, nullable=False),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("starts_at", DateTime(timezone=True), nullable=False),
    Column("ends_at", DateTime(timezone=True), nullable=False),
    #: Whose free time it is; NULL while anybody may come.
    Column("technician_id", Uuid, ForeignKey("people.id")),
    created(),
    PrimaryKeyConstraint("ticket_id", "position"),
    CheckConstraint("starts_at < ends_at", name="in_order"),
)

#: One coming of a technician. Two booked visits of one technician do not overlap, whoever booked them at once.
visits = Table(
    "visits",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("ticket_id", Uuid, ForeignKey("tickets.id"), nullable=False),
    Column("number", SmallInteger, nullable=False),
    Column("technician_id", Uuid, ForeignKey("people.id")),
    Column("starts_at", DateTime(timezone=True), nullable=False),
    Column("ends_at", DateTime(timezone=True), nullable=False),
    word("state", VisitState, VisitState.BOOKED),
    #: An emergency was sent on top of other work.
    Column("is_overlap_allowed", Boolean, nullable=False, server_default=text("false")),
    #: How often its invitation changed (RFC 5545, 3.8.7.4).
    Column("sequence", Integer, nullable=False, server_default=text("0")),
    created(),
    Column("ended_at", DateTime(timezone=True)),
    UniqueConstraint("ticket_id", "number"),
    CheckConstraint("starts_at < ends_at", name="in_order"),
    CheckConstraint("(state IN ('done', 'cancelled')) = (ended_at IS NOT NULL)", name="ended_when_over"),
    ExcludeConstraint(
        ("technician_id", "="),
        (text("tstzrange(starts_at, ends_at)"), "&&"),
        name="ex_visits_overlap",
        using="gist",
        where=text("state IN ('booked', 'under_way') AND NOT is_overlap_allowed AND technician_id IS NOT NULL"),
    ),
    Index("ix_visits_calendar", "org_id", "technician_id", "starts_at", postgresql_where=text("state <> 'cancelled'")),
)

schedule_holds = Table(
    "schedule_holds",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("ticket_id", Uuid, ForeignKey("tickets.id"), nullable=False),
    word("reason", HoldReason),
    word("state", HoldState, HoldState.OPEN),
    #: By when the customer must have confirmed.
    Column("starts_at", DateTime(timezone=True), nullable=False),
    Column("ends_at", DateTime(timezone=True), nullable=False),
    #: What a release brings back.
    word("from_state", DispatchState),
    Column("scheduled_start", DateTime(timezone=True)),
    Column("scheduled_end", DateTime(timezone=True)),
    Column("ended_because", Text),
    created(),
    Column("ended_at", DateTime(timezone=True)),
    CheckConstraint("starts_at < ends_at", name="in_order"),
    CheckConstraint("(state = 'open') = (ended_at IS NULL)", name="ended_when_over"),
    Index("uq_schedule_holds_open", "ticket_id", unique=True, postgresql_where=text("state = 'open'")),
    Index("ix_schedule_holds_lapsing", "ends_at", postgresql_where=text("state = 'open'")),
    Index(None, "ticket_id"),
)

#: Links that let a customer see, confirm and move one ticket's visit, without a login.
visit_links = Table(
    "visit_links",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("ticket_id", Uuid, ForeignKey("tickets.id"), nullable=False),
    #: SHA-256 of 256 random bits.
    Column("token_hash", LargeBinary, nullable=False, unique=True),
    Column("created_by", Text, nullable=False),
    created(),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("used_at", DateTime(timezone=True)),
    Column("revoked_at", DateTime(timezone=True)),
    Index(None, "ticket_id"),
)

#: What matching needs to know of a person who works in the field; skills and capacity stand in the membership.
technicians = Table(
    "technicians",
    metadata,
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("person_id", Uuid, ForeignKey("people.id"), nullable=False),
    #: Zones served; empty is everywhere.
    Column("zones", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    #: Where the day begins and ends.
    Column("home_lat", Double),
    Column("home_lon", Double),
    #: Visits a day at most; NULL for as many as fit.
    Column("most_visits", SmallInteger),
    Column("is_available", Boolean, nullable=False, server_default=text("true")),
    created(),
    PrimaryKeyConstraint("org_id", "person_id"),
    CheckConstraint("home_lat BETWEEN -90 AND 90 AND home_lon BETWEEN -180 AND 180", name="home_on_earth"),
    CheckConstraint("(home_lat IS NULL) = (home_lon IS NULL)", name="home_whole"),
    CheckConstraint("most_visits > 0", name="most_visits_positive"),
)

certificates = Table(
    "certificates",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("person_id", Uuid, ForeignKey("people.id"), nullable=False),
    Column("name", Text, nullable=False),
    #: The last day it is good on; NULL for ever.
    Column("valid_until", Date),
    created(),
    UniqueConstraint("org_id", "person_id", "name"),
    CheckConstraint("name <> ''", name="name_not_blank"),
)

#: Who could be sent, as it stood when somebody asked: every technician with filters, points and reasons.
recommendations = Table(
    "recommendations",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("ticket_id", Uuid, ForeignKey("tickets.id"), nullable=False),
    Column("asked", JSONB, nullable=False),
    Column("candidates", JSONB, nullable=False),
    Column("created_by", Text, nullable=False),
    created(),
    Index(None, "ticket_id", "id"),
)

#: Who was sent, one row after another; the last one without an end is who has it.
assignments = Table(
    "assignments",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("ticket_id", Uuid, ForeignKey("tickets.id"), nullable=False),
    Column("technician_id", Uuid, ForeignKey("people.id"), nullable=False),
    Column("provider_id", Uuid),
    word("mode", AssignmentMode, AssignmentMode.STANDARD),
    #: The whole table of candidates with reasons, as it stood.
    Column("candidates", JSONB, nullable=False, server_default=text("'[]'")),
    Column("recommendation_id", Uuid, ForeignKey("recommendations.id")),
    #: Why a filter that spoke against the technician was overruled; NULL when none was.
    Column("overruled_because", Text),
    Column("assigned_by", Text, nullable=False),
    Column("assigned_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("ended_at", DateTime(timezone=True)),
    Column("ended_because", Text),
    CheckConstraint("(ended_at IS NULL) = (ended_because IS NULL)", name="ended_because_of_something"),
    Index(None, "ticket_id", "id"),
    Index("uq_assignments_going", "ticket_id", unique=True, postgresql_where=text("ended_at IS NULL")),
    Index("ix_assignments_technician", "technician_id", postgresql_where=text("ended_at IS NULL")),
)

#: A day's visits for many technicians, as a solver laid them; applied as a whole or not at all.
day_plans = Table(
    "day_plans",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("day", Date, nullable=False),
    word("state", PlanState, PlanState.DRAFT),
    #: What was planned with: tickets with their versions, technicians, weights, the time limit.
    Column("asked", JSONB, nullable=False),
    #: Routes, jobs left out with reasons, costs of this and of the greedy plan.
    Column("result", JSONB, nullable=False),
    Column("created_by", Text, nullable=False),
    created(),
    Column("applied_at", DateTime(timezone=True)),
    Column("applied_by", Text),
    CheckConstraint("(state = 'applied') = (applied_at IS NOT NULL)", name="applied_at_when_applied"),
    Index(None, "org_id", "day", "id"),
)

approvals = Table(
    "approvals",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("ticket_id", Uuid, ForeignKey("tickets.id"), nullable=False),
    word("state", ApprovalState, ApprovalState.PENDING),
    word("kind", ApprovalKind),
    #: The command that asked for it.
    Column("source", Text, nullable=False),
    word("return_state", DispatchState),
    #: By how much the limit rises when it is approved; NULL when it is not about money.
    Column("amount_delta_cents", BigInteger),
    Column("reason", Text, nullable=False),
    Column("evidence_refs", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    #: The audit trail's name of who asked, and the person where there is one: nobody decides their own.
    Column("requested_by", Text, nullable=False),
    Column("requested_by_id", Uuid, ForeignKey("people.id")),
    Column("requested_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("decided_by", Text),
    Column("decided_at", DateTime(timezone=True)),
    Column("notes", Text),
    CheckConstraint("amount_delta_cents >= 0", name="amount_positive"),
    CheckConstraint("(state = 'PENDING') = (decided_at IS NULL)", name="decided_when_over"),
    CheckConstraint("(decided_at IS NULL) = (decided_by IS NULL)", name="decided_by_somebody"),
    Index(None, "ticket_id", "id"),
    Index("uq_approvals_pending", "ticket_id", unique=True, postgresql_where=text("state = 'PENDING'")),
)

#: Proof of the work. Nothing is ever taken out: a wrong piece is withdrawn or superseded, and all freeze at the check.
evidence_items = Table(
    "evidence_items",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("ticket_id", Uuid, ForeignKey("tickets.id"), nullable=False),
    Column("kind", Text, nullable=False),
    #: In an object store; NULL for a note, whose words stand in `note`.
    Column("uri", Text),
    Column("note", Text),
    Column("evidence_key", Text),
    Column("checksum", Text),
    Column("metadata", JSONB, nullable=False, server_default=text("'{}'")),
    #: Where the bytes are ours.
    Column("sha256", LargeBinary),
    Column("thumbnail_sha256", LargeBinary),
    Column("size", BigInteger),
    Column("content_type", Text),
    word("check_state", EvidenceCheck, EvidenceCheck.UNCHECKED),
    Column("created_by", Text, nullable=False),
    Column("created_by_id", Uuid, ForeignKey("people.id")),
    created(),
    Column("superseded_by_id", Uuid, ForeignKey("evidence_items.id")),
    Column("withdrawn_at", DateTime(timezone=True)),
    Column("withdrawn_by", Text),
    Column("withdrawn_because", Text),
    CheckConstraint("num_nonnulls(uri, note) = 1", name="uri_or_note"),
    CheckConstraint("(withdrawn_at IS NULL) = (withdrawn_because IS NULL)", name="withdrawn_because_of_something"),
    CheckConstraint("(withdrawn_at IS NULL) = (withdrawn_by IS NULL)", name="withdrawn_by_somebody"),
    CheckConstraint("superseded_by_id <> id", name="not_by_itself"),
    CheckConstraint("(check_state = 'checked') = (sha256 IS NOT NULL OR note IS NOT NULL)", name="checked_when_ours"),
    Index(None, "ticket_id", "id"),
    Index("ix_evidence_items_sha256", "sha256", postgresql_where=text("sha256 IS NOT NULL")),
    Index("ix_evidence_items_thumbnail", "thumbnail_sha256", postgresql_where=text("thumbnail_sha256 IS NOT NULL")),
)

#: What a technician's device says it took, by hash: the work may be done while its photos are still on the way.
expected_evidence = Table(
    "expected_evidence",
    metadata,
    Column("ticket_id", Uuid, ForeignKey("tickets.id"), nullable=False),
    Column("sha256", LargeBinary, nullable=False),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("evidence_key", Text, nullable=False),
    Column("captured_at", DateTime(timezone=True)),
    created(),
    #: The piece that brought it; NULL while it is outstanding.
    Column("evidence_id", Uuid, ForeignKey("evidence_items.id")),
    #: Given up, with the reason.
    Column("waived_because", Text),
    Column("waived_by", Text),
    CheckConstraint("(waived_because IS NULL) = (waived_by IS NULL)", name="waived_by_somebody"),
    PrimaryKeyConstraint("ticket_id", "sha256"),
    Index(
        "ix_expected_evidence_outstanding",
        "ticket_id",
        postgresql_where=text("evidence_id IS NULL AND waived_because IS NULL"),
    ),
)

completions = Table(
    "completions",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("ticket_id", Uuid, ForeignKey("tickets.id"), nullable=False),
    #: tech.complete or closeout.candidate.
    Column("command", Text, nullable=False),
    Column("template_id", Uuid, ForeignKey("incident_templates.id"), nullable=False),
    Column("checklist_status", JSONB, nullable=False),
    Column("no_signature_reason", Text),
    Column("evidence_refs", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("completed_by", Text, nullable=False),
    Column("completed_by_id", Uuid, ForeignKey("people.id")),
    Column("completed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Index(None, "ticket_id", "id"),
)

qa_checks = Table(
    "qa_checks",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("ticket_id", Uuid, ForeignKey("tickets.id"), nullable=False),
    Column("completion_id", Uuid, ForeignKey("completions.id"), nullable=False),
    #: Whose work it was; NULL when nobody of ours was sent.
    Column("technician_id", Uuid, ForeignKey("people.id")),
    word("result", QaResult),
    Column("notes", Text),
    #: When it was looked at, as the checker says.
    Column("checked_at", DateTime(timezone=True), nullable=False),
    Column("checked_by", Text, nullable=False),
    created(),
    UniqueConstraint("completion_id"),
    Index(None, "ticket_id", "id"),
    Index("ix_qa_checks_technician", "technician_id", "id", postgresql_where=text("technician_id IS NOT NULL")),
)
