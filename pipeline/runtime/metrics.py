"""Every metric there is, in one place; written by the runner and its neighbours, never by a stage."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram


class Metrics:
    """The metrics of one process, in a registry of their own."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self.runs = Counter(
            "fieldpost_runs", "Jobs run, by stage and outcome.", ["stage", "outcome"], registry=self.registry
        )
        self.seconds = Histogram(
            "fieldpost_run_seconds", "Seconds from claim to settled, per batch.", ["stage"], registry=self.registry
        )
        self.cpu = Counter(
            "fieldpost_cpu_seconds", "CPU seconds of the working thread, by stage.", ["stage"], registry=self.registry
        )
        self.batch = Histogram(
            "fieldpost_batch_jobs",
            "Jobs per claimed batch.",
            ["stage"],
            buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500),
            registry=self.registry,
        )
        self.wait = Histogram(
            "fieldpost_wait_seconds", "Seconds from enqueued to claimed.", ["stage", "lane"], registry=self.registry
        )
        self.dead = Counter(
            "fieldpost_dead_letters", "Jobs buried, by stage and cause.", ["stage", "cause"], registry=self.registry
        )
        self.provider_calls = Counter(
            "fieldpost_provider_calls",
            "Calls to providers, by method and status.",
            ["method", "status"],
            registry=self.registry,
        )
        self.provider_units = Counter(
            "fieldpost_provider_units", "Quota units spent at providers.", ["method"], registry=self.registry
        )
        self.announcements = Counter(
            "fieldpost_announcements",
            "Announcements of providers heard by listening, by what they named (mailbox, unknown, nothing).",
            ["named"],
            registry=self.registry,
        )
        self.reclaimed = Counter(
            "fieldpost_reclaimed_jobs",
            "Jobs taken back from dead or silent workers.",
            ["stage"],
            registry=self.registry,
        )
        self.doorbells = Counter(
            "fieldpost_doorbells", "Doorbells, by result (rung, lost, junk).", ["result"], registry=self.registry
        )
        self.sla_notices = Counter(
            "fieldpost_sla_notices",
            "Warnings and breaches of service levels told by sweeps, by notice (warning, breach).",
            ["notice"],
            registry=self.registry,
        )
        self.sla_lag = Histogram(
            "fieldpost_sla_lag_seconds",
            "Seconds by which the most belated notice of a sweep came late, by notice.",
            ["notice"],
            buckets=(0.5, 1, 2, 5, 10, 30, 60, 300, 3600),
            registry=self.registry,
        )
        self.dispatch_notices = Counter(
            "fieldpost_dispatch_notices",
            "Field work told by sweeps to be due soon or overdue, by notice (dispatch.due_soon, dispatch.overdue).",
            ["notice"],
            registry=self.registry,
        )
        self.dispatch_lag = Histogram(
            "fieldpost_dispatch_lag_seconds",
            "Seconds by which the most belated notice of a sweep came late, by notice.",
            ["notice"],
            buckets=(0.5, 1, 2, 5, 10, 30, 60, 300, 3600),
            registry=self.registry,
        )
        self.work_notices = Counter(
            "fieldpost_work_notices",
            "Work orders told by sweeps to be due soon or overdue, by notice (due_soon, overdue).",
            ["notice"],
            registry=self.registry,
        )
        self.work_lag = Histogram(
            "fieldpost_work_lag_seconds",
            "Seconds by which the most belated notice of a sweep came late, by notice.",
            ["notice"],
            buckets=(0.5, 1, 2, 5, 10, 30, 60, 300, 3600),
            registry=self.registry,
        )
        self.pushes = Counter(
            "fieldpost_pushes",
            "Pushes to devices, by outcome (accepted, gone, later, refused, doubtful).",
            ["outcome"],
            registry=self.registry,
        )
        self.slots = Counter(
            "fieldpost_slots",
            "Slots of schedules, by schedule and outcome (ran, caught_up, skipped).",
            ["schedule", "outcome"],
            registry=self.registry,
        )
