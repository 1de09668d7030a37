"""What keeps mailboxes complete and within their limits: comparisons, gaps, budgets, watches, slots of schedules."""

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
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from models.base import key, metadata, word
from models.enums import (
    BackfillState,
    GapCause,
    GapState,
    QuotaProfile,
    ReconcileScope,
    SlotOutcome,
    WatchState,
)

#: Comparisons of a mailbox with its provider, running and done.
reconciles = Table(
    "reconciles",
    metadata,
    key(),
    Column("mailbox_id", Uuid, ForeignKey("mailboxes.id"), nullable=False),
    word("scope", ReconcileScope),
    word("state", BackfillState, BackfillState.RUNNING),
    Column("since", DateTime(timezone=True)),
    Column("asked_by", Text, nullable=False),
    #: The labels still to be listed, and the one under way; an empty text is the listing of everything.
    Column("labels_left", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("label", Text, nullable=False, server_default=text("''")),
    #: How often its page tokens were refused, and until when it keeps a distance because of that.
    Column("restarts", Integer, nullable=False, server_default=text("0")),
    Column("waits_until", DateTime(timezone=True)),
    #: A cursor was forgotten while it listed: it is to be done once more.
    Column("is_wanted_again", Boolean, nullable=False, server_default=text("false")),
    #: Ids that it did not list were still there: it was not believed.
    Column("is_doubted", Boolean, nullable=False, server_default=text("false")),
    #: The labels that were listed to their end.
    Column("labels_read", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("cursor", Text),
    Column("pages", Integer, nullable=False, server_default=text("0")),
    Column("listed", BigInteger, nullable=False, server_default=text("0")),
    Column("missing", BigInteger, nullable=False, server_default=text("0")),
    Column("vanished", BigInteger, nullable=False, server_default=text("0")),
    Column("relabelled", BigInteger, nullable=False, server_default=text("0")),
    Column("started_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    #: When the last page was read: only a reading of history after it tells new mail from missing mail.
    Column("listed_at", DateTime(timezone=True)),
    Column("finished_at", DateTime(timezone=True)),
    CheckConstraint("(state = 'done') = (finished_at IS NOT NULL)", name="finished_when_done"),
    Index("uq_reconciles_running", "mailbox_id", unique=True, postgresql_where=text("state = 'running'")),
    Index(None, "mailbox_id", "started_at"),
)

#: The ids a running comparison was told, with the labels it was told them under.
reconcile_ids = Table(
    "reconcile_ids",
    metadata,
    Column("reconcile_id", Uuid, ForeignKey("reconciles.id"), nullable=False),
    Column("provider_id", Text, nullable=False),
    Column("thread_id", Text),
    Column("locator", Text),
    #: NULL: history has told of its labels since, and knows better.
    Column("labels", ARRAY(Text), server_default=text("'{}'")),
    PrimaryKeyConstraint("reconcile_id", "provider_id"),
)

#: Stretches of time in which ids of a mailbox were, or may have been, missing.
gaps = Table(
    "gaps",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("mailbox_id", Uuid, ForeignKey("mailboxes.id"), nullable=False),
    word("cause", GapCause),
    word("state", GapState, GapState.OPEN),
    #: NULL: since ever.
    Column("from_at", DateTime(timezone=True)),
    Column("to_at", DateTime(timezone=True), nullable=False),
    #: Ids known to be missing when it was found; NULL: not counted yet.
    Column("missing", BigInteger),
    Column("sample_ids", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("found_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    #: How often the provider forgot the cursor while it was open.
    Column("expiries", Integer, nullable=False, server_default=text("1")),
    Column("filled_at", DateTime(timezone=True)),
    Column("filled_by", Text),
    CheckConstraint("(state = 'filled') = (filled_at IS NOT NULL)", name="filled_when_filled"),
    Index(None, "mailbox_id", "found_at"),
    Index("ix_gaps_unfilled", "mailbox_id", postgresql_where=text("state <> 'filled'")),
)

#: Projects of a provider: which table of costs and limits holds; NULL: the profile's own limit.
projects = Table(
    "projects",
    metadata,
    Column("name", Text, primary_key=True),
    word("profile", QuotaProfile, QuotaProfile.SINCE_2026_05),
    Column("units_per_user_minute", Integer),
    Column("units_per_minute", Integer),
    Column("units_per_day", BigInteger),
    Column("bytes_per_user_day", BigInteger),
    Column("concurrency", SmallInteger),
    Column("changed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("changed_by", Text),
)

#: What is left to spend, by scope: `mailbox:ID` or `project:NAME`. Losing a write loses a few units, never mail.
budgets = Table(
    "budgets",
    metadata,
    Column("scope", Text, primary_key=True),
    Column("level", Double, nullable=False),
    Column("level_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    #: The provider's day, and what was spent in it.
    Column("day", Date, nullable=False, server_default=text("CURRENT_DATE")),
    Column("day_units", BigInteger, nullable=False, server_default=text("0")),
    Column("day_bytes", BigInteger, nullable=False, server_default=text("0")),
    #: No call before it; a shorter refusal never shortens it.
    Column("rest_until", DateTime(timezone=True)),
    #: No bytes before it; listing and history go on.
    Column("bytes_rest_until", DateTime(timezone=True)),
    Column("rest_reason", Text),
    #: One call is under way that decides whether the rest is over; others wait until then.
    Column("probe_until", DateTime(timezone=True)),
    #: Refusals in a row, and since when calls pass again: the pace grows from there.
    Column("refusals", SmallInteger, nullable=False, server_default=text("0")),
    Column("ramp_at", DateTime(timezone=True)),
    #: Calls at once: grows by one, halves (AIMD).
    Column("concurrency", Double),
    postgresql_with={"fillfactor": "50"},
)

watches = Table(
    "watches",
    metadata,
    Column("mailbox_id", Uuid, ForeignKey("mailboxes.id"), primary_key=True),
    word("state", WatchState, WatchState.ACTIVE),
    Column("topic", Text, nullable=False),
    Column("expires_at", DateTime(timezone=True)),
    Column("renewed_at", DateTime(timezone=True)),
    Column("renew_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("pushed_at", DateTime(timezone=True)),
    #: Since when changes were found that no announcement had named.
    Column("unannounced_since", DateTime(timezone=True)),
    Column("error", Text),
)

#: The slot ledger: whoever writes the row has taken the slot.
slots = Table(
    "slots",
    metadata,
    Column("schedule", Text, nullable=False),
    Column("slot_at", DateTime(timezone=True), nullable=False),
    word("outcome", SlotOutcome),
    Column("taken_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("taken_by", Text, nullable=False),
    #: How many jobs it asked for.
    Column("jobs", Integer, nullable=False, server_default=text("0")),
    PrimaryKeyConstraint("schedule", "slot_at"),
)
