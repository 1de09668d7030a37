"""The jobs, their fair places in line, and the workers that hold them."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Sequence,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from models.base import created, metadata, word
from models.enums import JobState, Lane

work_order_numbers = Sequence("work_order_numbers", metadata=metadata)
worker_numbers = Sequence("worker_numbers", metadata=metadata, maxvalue=2_147_483_647, cycle=True)

jobs = Table(
    "jobs",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("stage", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("org_id", Uuid, nullable=False),
    Column("mailbox_id", Uuid),
    word("lane", Lane),
    word("state", JobState, JobState.READY),
    #: Start tag of start-time fair queueing: the job's place in its lane, kept along the chain.
    Column("place", BigInteger, nullable=False, server_default=text("0")),
    Column("run_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    #: The fence: only ever grows, also across replays.
    Column("attempt", Integer, nullable=False, server_default=text("0")),
    Column("failures", SmallInteger, nullable=False, server_default=text("0")),
    Column("crashes", SmallInteger, nullable=False, server_default=text("0")),
    #: How many rows were claimed with it; a crash is charged only when it was alone.
    Column("company", SmallInteger, nullable=False, server_default=text("0")),
    Column("is_suspect", Boolean, nullable=False, server_default=text("false")),
    #: Asked for again while it ran: it goes on instead of leaving.
    Column("is_wanted", Boolean, nullable=False, server_default=text("false")),
    Column("lease_until", DateTime(timezone=True)),
    Column("worker", Integer),
    Column("args", JSONB),
    Column("last_error", JSONB),
    Column("trace_id", Text, nullable=False),
    created(),
    UniqueConstraint("stage", "key"),
    CheckConstraint(
        "(state = 'running') = (lease_until IS NOT NULL AND worker IS NOT NULL)", name="lease_when_running"
    ),
    CheckConstraint("length(key) <= 200", name="key_length"),
    Index("ix_jobs_ready", "stage", "lane", "place", "id", postgresql_where=text("state = 'ready'")),
    Index("ix_jobs_suspects", "stage", "lane", "id", postgresql_where=text("state = 'ready' AND is_suspect")),
    Index("ix_jobs_waiting", "run_at", postgresql_where=text("state = 'waiting'")),
    Index("ix_jobs_leased", "lease_until", postgresql_where=text("state = 'running'")),
    Index("ix_jobs_held", "mailbox_id", "lane", "place", "id", postgresql_where=text("state = 'held'")),
    #: What a budget has let go and is not through yet: fetches outside the live lane only.
    Index(
        "ix_jobs_let_go",
        "mailbox_id",
        postgresql_where=text("stage = 'fetch' AND lane <> 'live' AND state IN ('ready', 'running', 'waiting')"),
    ),
    Index("ix_jobs_stopped", "mailbox_id", postgresql_where=text("state IN ('blocked', 'dead')")),
    postgresql_with={
        "fillfactor": "70",
        "autovacuum_vacuum_scale_factor": "0.02",
        "autovacuum_vacuum_threshold": "1000",
    },
)

#: Per mailbox and lane, where its last job stands in line.
flows = Table(
    "flows",
    metadata,
    Column("mailbox_id", Uuid, ForeignKey("mailboxes.id"), nullable=False),
    word("lane", Lane),
    Column("finish", BigInteger, nullable=False),
    PrimaryKeyConstraint("mailbox_id", "lane"),
)

workers = Table(
    "workers",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("version", Text, nullable=False),
    Column("started_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("seen_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)
