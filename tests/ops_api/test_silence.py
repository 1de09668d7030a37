"""Each silence on its own: made in the database, it is a row, a metric and a sentence; a clean system says nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Connection, text

from deploy.local.lock import Endpoints
from models.base import metadata
from models.queries import silence as queries
from models.queries import strands
from models.queries.silence import Why
from models.queries.strands import Kind
from ops_api import scans, silence
from ops_api.probes import LedgerCollector
from ops_api.scans import ArchiveScan
from ops_api.silence import ALLOWANCES, Expected, Silences
from ops_api.silence_gauges import overdue_gauge, strand_gauge, unread_gauge
from ops_api.silence_words import sentences
from pipeline.core.slots import CatchUp
from pipeline.runtime.db import Database
from pipeline.runtime.settings import Settings
from pipeline.runtime.slots import Routine
from pipeline.stages import stitch
from tests import factories
from tests.engine import Engine
from tests.factories import mail
from tests.flow.imports import Import
from tests.ops_api.serving import FakeClock, change, house, serving, settings_for
from tests.reused import reused_database
from tests.stages.world import World
from tests.worker_process import until, worker_processes

EXPECTED = Expected(routines=(Routine("tick", "Ticks.", "* * * * *", CatchUp.ONCE, lambda _: 0),))


@pytest.fixture(scope="module")
def base(servers: Endpoints) -> Iterator[World]:
    """Return a world with one message whose way is done, and a case that became a work order; nobody changes it."""
    with reused_database(servers) as url:
        db = Database(url, "test")
        world = World(db)
        with db.begin() as connection:
            factories.asset(connection, world.org_id, "AUS_0123")
            factories.team(connection, world.org_id, "north")
            assert not silence.read(connection, EXPECTED)
        world.routed(mail("Broken", "AUS_0123 is broken."))
        yield world
        db.close()


@dataclass(frozen=True)
class Scene:
    """A transaction that is undone at its end, in which silences are made."""

    world: World
    connection: Connection

    def run(self, statement: str, **values: Any) -> None:
        ours = {"org": self.world.org_id, "mailbox": self.world.mailbox_id}
        used = {name: value for name, value in ours.items() if f":{name}" in statement}
        self.connection.execute(text(statement), used | values)

    def job(self, stage: str = "parse", state: str = "ready", late: str = "2 min", **more: Any) -> None:
        values: dict[str, Any] = {
            "lane": "live",
            "key": "7",
            "lease": None,
            "worker": None,
            "held_by": ":mailbox",
        } | more
        self.run(
            f"""
            INSERT INTO jobs (stage, key, org_id, mailbox_id, lane, state, run_at, trace_id, lease_until, worker)
            VALUES (:stage, :key, :org, {values.pop("held_by")}, :lane, :state,
                    now() - CAST(CAST(:late AS text) AS interval), 'trace',
                    now() + CAST(CAST(:lease AS text) AS interval), :worker)
            """,
            stage=stage, state=state, late=late, **values,
        )  # fmt: skip

    def read(self) -> Silences:
        found = silence.read(self.connection, EXPECTED)
        return replace(found, strands=[*found.strands, *scans.newest(self.connection)])

    def samples(self) -> dict[tuple[str, ...], float]:
        """Return the gauges that are not zero."""
        found = self.read()
        return {
            (sample.name.removeprefix("fieldpost_"), *sample.labels.values()): sample.value
            for family in (
                overdue_gauge(found.overdue),
                strand_gauge(found.strands, Kind),
                unread_gauge(found.readings),
            )
            for sample in family.samples
            if sample.value
        }

    def said(self, workers: int = 1) -> str:
        """Return the one thing that is said."""
        (said,) = sentences(replace(self.read(), workers=workers))
        return said.line


@pytest.fixture
def scene(base: World) -> Iterator[Scene]:
    with base.db.engine.connect() as connection:
        scene = Scene(base, connection)
        assert not scene.read()
        yield scene
        connection.rollback()


def test_a_due_job_that_nobody_takes_is_late_after_its_lane_s_promise(scene: Scene) -> None:
    for lane, late in (("live", "50 s"), ("repair", "9 min"), ("backfill", "5 h")):
        scene.job(key=f"young {lane}", lane=lane, late=late)
    assert not scene.read()
    for number, (lane, late) in enumerate(
        (("live", "4 min"), ("live", "2 min"), ("repair", "11 min"), ("backfill", "7 h"))
    ):
        scene.job(key=f"{number}", lane=lane, late=late)
    assert scene.samples() == {
        ("overdue_jobs", "parse", "live", "ready"): 2,
        ("overdue_jobs", "parse", "repair", "ready"): 1,
        ("overdue_jobs", "parse", "backfill", "ready"): 1,
    }
    found = {one.lane.value: one for one in scene.read().overdue}
    assert 240 <= found["live"].seconds < 300
    assert found["live"].example == "0"


def test_without_a_worker_the_sentence_says_so_and_how_to_start_one(scene: Scene) -> None:
    for key in "abc":
        scene.job(key=key, late="4 min")
    said = scene.said(workers=0)
    assert said.startswith("3 parse jobs (lane live, such as a) are due since 4 min and nobody takes them")
    assert "no worker is alive: run `fieldpost worker`" in said
    assert "start another one" in scene.said(workers=2)


def test_a_job_of_a_stage_that_this_version_does_not_know_is_told(scene: Scene) -> None:
    scene.job("teleport", late="61 s")
    assert scene.samples() == {("overdue_jobs", "teleport", "live", "ready"): 1}
    assert "the version that made them" in scene.said()


def test_a_job_that_runs_for_too_long_is_told_though_its_lease_is_renewed(scene: Scene) -> None:
    scene.job(state="running", late="10 min", lease="20 s", worker=1, key="asking others takes a while")
    assert not scene.read()
    scene.job(state="running", late="12 min", lease="20 s", worker=1)
    scene.job("stitch", state="running", late="4 min", lease="20 s", worker=1)
    assert scene.samples() == {
        ("overdue_jobs", "parse", "live", "running"): 1,
        ("overdue_jobs", "stitch", "live", "running"): 1,
    }


def test_a_job_whose_lease_is_over_and_that_nobody_brought_back_is_told(scene: Scene) -> None:
    scene.job(state="running", late="40 s", lease="20 s", worker=1, key="held")
    scene.job(state="running", late="40 s", lease="-11 s", worker=1)
    (found,) = queries.overdue(scene.connection, ALLOWANCES, lost=timedelta(0))
    assert (found.why, found.jobs, found.example) == (Why.LEASE, 1, "7")
    assert found.seconds >= 11
    said = replace(scene.read(), overdue=[found], workers=1)
    assert "not brought back: restart the workers: each carries a sweeper" in sentences(said)[0].line


def test_a_wait_that_is_over_and_that_nobody_ends_is_told(scene: Scene) -> None:
    scene.job(state="waiting", late="-5 min", key="to come")
    scene.job(state="waiting", late="50 s", key="just over")
    assert not scene.read()
    scene.job(state="waiting", late="61 s", lane="backfill")
    assert scene.samples() == {("overdue_jobs", "parse", "backfill", "waiting"): 1}
    assert "sweeper" in scene.said()
    assert "no worker is alive" in scene.said(workers=0)


@pytest.mark.parametrize("state", ["paused", "auth_required", "blocked", "suspended", "probing"])
def test_a_parked_job_is_told_only_where_its_mailbox_needs_nobody(scene: Scene, state: str) -> None:
    scene.run("UPDATE mailboxes SET state = :state WHERE id = :mailbox", state=state)
    scene.job("fetch", state="blocked")
    assert not scene.samples()
    scene.run("UPDATE mailboxes SET state = 'active' WHERE id = :mailbox")
    assert scene.samples() == {("overdue_jobs", "fetch", "live", "blocked"): 1}
    assert "fieldpost mailbox resume" in scene.said(workers=0)


def test_a_parked_job_without_a_mailbox_is_told_for_nobody_can_free_it(scene: Scene) -> None:
    scene.job("fetch", state="blocked", held_by="NULL")
    assert scene.samples() == {("overdue_jobs", "fetch", "live", "blocked"): 1}


def test_a_held_fetch_that_could_be_paid_for_and_is_not_let_go_is_told(scene: Scene) -> None:
    scene.job("fetch", state="held", lane="backfill", key="first", late="3 min")
    scene.job("fetch", state="held", lane="repair", key="second", late="3 min")
    assert scene.samples() == {("overdue_jobs", "fetch", "backfill", "held"): 2}
    assert "a budget that could pay" in scene.said()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE mailboxes SET state = 'paused' WHERE id = :mailbox",
        "UPDATE jobs SET state = 'ready', run_at = now() WHERE key = 'second'",
        "UPDATE jobs SET state = 'waiting', run_at = now() WHERE key = 'second'",
        "UPDATE jobs SET run_at = now()",
        "INSERT INTO budgets (scope, level, rest_until) VALUES ('mailbox:' || :mailbox, 1, now() + interval '1 h')",
        "INSERT INTO budgets (scope, level, bytes_rest_until) VALUES ('project:gcp', 1, now() + interval '1 h')",
        "INSERT INTO budgets (scope, level, rest_until) VALUES ('project:gcp', 1, now() - interval '30 s')",
        "INSERT INTO budgets (scope, level) VALUES ('mailbox:' || :mailbox, -100)",
        """INSERT INTO budgets (scope, level, day, day_units)
           VALUES ('project:gcp', 1000000, (now() AT TIME ZONE 'America/Los_Angeles')::date, 9000000000)""",
    ],
)
def test_a_held_fetch_that_waits_for_its_budget_or_its_mailbox_is_no_silence(scene: Scene, change: str) -> None:
    scene.run("INSERT INTO projects (name) VALUES ('gcp')")
    scene.run("UPDATE mailboxes SET project = 'gcp' WHERE id = :mailbox")
    scene.job("fetch", state="held", lane="backfill", key="first", late="3 min")
    scene.job("fetch", state="held", lane="backfill", key="second", late="3 min")
    assert scene.samples() == {("overdue_jobs", "fetch", "backfill", "held"): 2}
    scene.run(change)
    assert not scene.read()


def test_a_dead_job_without_an_open_letter_is_told(scene: Scene) -> None:
    scene.job("fetch", state="dead")
    assert scene.samples() == {("overdue_jobs", "fetch", "live", "dead"): 1}
    assert "nobody can replay it" in scene.said()
    scene.run("""
        INSERT INTO dead_letters (job_id, org_id, stage, key, lane, cause, error_class, error_text, error_group,
                                  attempts, failures, crashes, trace_id, queued_at)
        SELECT id, org_id, stage, key, lane, 'permanent', 'E', 'e', 'g', 1, 1, 0, 't', now() FROM jobs
    """)
    assert not scene.read()


_IDENTITY = """
    INSERT INTO send_identities (org_id, mailbox_id, from_email, status)
    VALUES (:org, :mailbox, 'a@b.example', 'verified')
"""
_OUTBOUND = """
    INSERT INTO outbound (org_id, mailbox_id, identity_id, message_id, kind, state, recipient, created_by, created_at)
    SELECT :org, :mailbox, (SELECT max(id::text)::uuid FROM send_identities), (SELECT max(id) FROM messages), 'reply',
           :state, 'c@d.example', 'ann', now() - interval '2 min'
"""
_BULK = """
    INSERT INTO bulks (action, state, selection, selection_digest, total, actor, reason, topped_up_at)
    VALUES ('replay', 'running', '{}', 'd', 3, 'ann', 'r', now() - interval '2 min')
"""
_REPROCESSING = """
    INSERT INTO reprocessings (org_id, kind, version, started_by, created_at)
    VALUES (:org, 'parse', 1, 'ann', now() - interval '2 min')
"""
_BACKFILL = "INSERT INTO backfills (mailbox_id, started_at) VALUES (:mailbox, now() - interval '2 min')"
_RECONCILE = """
    INSERT INTO reconciles (mailbox_id, scope, asked_by, started_at)
    VALUES (:mailbox, 'full', 'ann', now() - interval '2 min')
"""
_PAUSE = """
    UPDATE mailboxes SET state = 'paused', paused_by = 'ann', paused_until = now() - interval '2 min'
     WHERE id = :mailbox
"""
_SLOT = "INSERT INTO slots (schedule, slot_at, outcome, taken_by) VALUES ('tick', now() - interval '5 min', 'ran', 'x')"
_CASE = """
    WITH thing AS (INSERT INTO assets (org_id, tag) VALUES (:org, 'AUS_0777') RETURNING id)
    INSERT INTO cases (org_id, asset_id, mode, priority_score, sla_hours, root_cause_tag, confidence,
                       recommended_action, grid_stress_level, explanation, verification_required, assessed_at)
    SELECT :org, id, 'certainty', 95, 2, 'unknown', 0.95, 'dispatch_field_tech', 'high', 'why', false,
           now() - interval '2 min' FROM thing
"""
_UNTICKETED = """
    WITH old AS (UPDATE messages SET created_at = now() - interval '2 min')
    DELETE FROM ticket_messages
"""
_UNROUTED = "UPDATE tickets SET routed_at = NULL, created_at = now() - interval '2 min'"
_STRANDED = """
    INSERT INTO occurrences (org_id, mailbox_id, provider_id, state) VALUES (:org, :mailbox, 'lost', 'seen')
"""

#: The kind, what makes it, what makes it right again, and words of its advice.
STRANDS: Mapping[Kind, tuple[tuple[str, ...], str, str]] = {
    Kind.OUTBOUND: (
        (_IDENTITY, _OUTBOUND.replace(":state", "'sending'")),
        "UPDATE outbound SET state = 'unknown'",
        "retry",
    ),
    Kind.BULK: ((_BULK,), "UPDATE bulks SET topped_up_at = now() - interval '50 s'", "sweeper"),
    Kind.REPROCESSING: ((_REPROCESSING,), "UPDATE reprocessings SET state = 'compared'", "reprocess cancel"),
    Kind.BACKFILL: ((_BACKFILL,), "UPDATE backfills SET state = 'done', finished_at = now()", "fieldpost backfill"),
    Kind.COMPARISON: (
        (_RECONCILE,),
        "UPDATE reconciles SET state = 'done', finished_at = now()",
        "fieldpost reconcile",
    ),
    Kind.PAUSE: ((_PAUSE,), "UPDATE mailboxes SET paused_until = now() + interval '1 min'", "sweeper"),
    Kind.SCHEDULE: ((_SLOT,), "UPDATE slots SET slot_at = now() - interval '20 s'", "schedule --list"),
    Kind.CASE: ((_CASE,), "UPDATE cases SET recommended_action = 'remote_reset'", "technician"),
    Kind.MESSAGE: ((_UNTICKETED,), "UPDATE occurrences SET state = 'quarantined'", "fieldpost raw"),
    Kind.TICKET: ((_UNROUTED,), "UPDATE tickets SET routed_at = now()", "answer it by hand"),
    Kind.OCCURRENCE: (
        (_STRANDED,),
        "UPDATE occurrences SET state = 'gone' WHERE provider_id = 'lost'",
        "fieldpost audit",
    ),
}


def test_every_kind_of_strand_is_tested() -> None:
    assert set(STRANDS) == set(Kind)


@pytest.mark.parametrize("kind", STRANDS)
def test_a_strand_is_counted_and_said_until_it_is_mended(scene: Scene, kind: Kind) -> None:
    made, mended, advice = STRANDS[kind]
    for statement in made:
        scene.run(statement)
    assert scene.samples() == {("strands", kind.value): 1}
    assert advice in scene.said()
    (said,) = sentences(replace(scene.read(), workers=1))
    assert said.is_lasting
    scene.run(mended)
    assert not scene.read()


@pytest.mark.parametrize(
    ("kind", "stage", "key"),
    [
        (Kind.OUTBOUND, "send", "(SELECT CAST(id AS text) FROM outbound)"),
        (Kind.REPROCESSING, "reprocess", "(SELECT CAST(id AS text) FROM reprocessings)"),
        (Kind.BACKFILL, "backfill", "CAST(:mailbox AS text)"),
        (Kind.COMPARISON, "reconcile", "CAST(:mailbox AS text)"),
        (Kind.CASE, "dispatch", "(SELECT CAST(id AS text) FROM cases WHERE priority_score = 95)"),
        (Kind.OCCURRENCE, "fetch", "(SELECT CAST(id AS text) FROM occurrences WHERE provider_id = 'lost')"),
    ],
)
def test_what_has_its_job_is_no_strand(scene: Scene, kind: Kind, stage: str, key: str) -> None:
    for statement in STRANDS[kind][0]:
        scene.run(statement)
    assert scene.read().strands
    scene.run(
        f"""
        INSERT INTO jobs (stage, key, org_id, mailbox_id, lane, trace_id)
        VALUES (:stage, {key}, :org, :mailbox, 'live', 'trace')
        """,
        stage=stage,
    )
    assert not scene.read()


@pytest.mark.parametrize(
    "decided",
    [
        """INSERT INTO triage_policies (org_id, version, state, policy, checksum, created_by, activated_at)
           VALUES (:org, 1, 'active', '{"dispatch": {"automatic": false}}', '', 'ann', now())""",
        "UPDATE cases SET priority_score = 0 WHERE priority_score = 95",
        "UPDATE cases SET state = 'closed', closed_at = now(), closed_because = 'quiet'",
        "INSERT INTO work_orders (org_id, case_id, state, due_at) SELECT org_id, id, 'cancelled', now() FROM cases",
        "INSERT INTO events (org_id, kind) VALUES (:org, 'policy.changed')",
    ],
)
def test_a_case_that_a_person_or_the_policy_decided_about_is_no_strand(scene: Scene, decided: str) -> None:
    scene.run(_CASE)
    assert scene.read().strands
    scene.run(decided)
    assert not scene.read()


def test_stranded_cases_are_asked_for_without_reading_all_events_and_letters(scene: Scene) -> None:
    small = {"ix_events_policy", "ix_dead_letters_discarded"}
    for index in (index for table in metadata.sorted_tables for index in table.indexes if index.name in small):
        index.create(scene.connection, checkfirst=True)
    scene.run("SET LOCAL enable_seqscan = off")
    asked = {
        "orgs": [scene.world.org_id],
        "modes": ["certainty"],
        "confidences": [0.5],
        "priorities": [1],
        "patience": timedelta(minutes=1),
    }
    plan = "\n".join(scene.connection.execute(text(f"EXPLAIN {strands._CASES.text}"), asked).scalars())
    assert {name for name in {*small, "_cases_"} if name in plan} == {*small, "_cases_"}
    assert "Seq Scan" not in plan


_AGE = "UPDATE mailboxes SET sync_cursor = :cursor, created_at = now() - interval '1 day', "


def test_a_mailbox_that_was_never_read_is_told_five_minutes_after_it_was_added(scene: Scene) -> None:
    mailbox = ("mailbox_unsynced_seconds", str(scene.world.mailbox_id))
    scene.run("UPDATE mailboxes SET sync_cursor = NULL, created_at = now() - interval '4 min'")
    assert not scene.read()
    scene.run("UPDATE mailboxes SET created_at = now() - interval '6 min'")
    assert scene.samples() == {mailbox: 360}
    assert scene.said() == (
        "help@acme.example has never been read since it was added 6 min ago: run `fieldpost backfill help@acme.example`"
    )
    scene.run("INSERT INTO backfills (mailbox_id) VALUES (:mailbox)")
    scene.job("backfill", key=str(scene.world.mailbox_id), lane="backfill")
    assert not scene.read()


def test_a_mailbox_is_unread_after_three_of_its_own_intervals(scene: Scene) -> None:
    mailbox = ("mailbox_unsynced_seconds", str(scene.world.mailbox_id))
    idle = "poll_interval = interval '5 min', last_incremental_sync_at = now() - "
    scene.run(f"{_AGE} {idle} interval '14 min'", cursor="7")
    assert not scene.read()
    scene.run(f"{_AGE} {idle} interval '16 min'", cursor="7")
    assert scene.samples() == {mailbox: 960}
    assert "fieldpost status help@acme.example" in scene.said()
    assert "no worker is alive" in scene.said(workers=0)
    slow = silence.read(scene.connection, Expected(pace=timedelta(minutes=1)))
    assert not slow
    for state in ("paused", "suspended", "blocked", "auth_required"):
        scene.run("UPDATE mailboxes SET state = :state", state=state)
        assert not scene.read()


def test_what_a_sweep_mends_between_two_looks_is_not_said(base: World) -> None:
    clock, looks = FakeClock(), []
    found = {0: {"parse", "fetch"}, 1: {"parse"}}

    def look(_: Connection) -> Silences:
        late = [queries.Overdue(Why.READY, stage, ALLOWANCES[0].lane, 1, 90, "7") for stage in found[len(looks)]]
        looks.append(late)
        return Silences(late, [], [], workers=1)

    began = clock.monotonic()
    assert [one.stage for one in silence.look_twice(base.db, clock, look).overdue] == ["parse"]
    assert clock.monotonic() > began
    calm = Silences([], [], [], workers=1)
    assert silence.look_twice(base.db, clock, lambda _: calm) is calm


def test_a_walk_tells_of_strands_in_the_pass_under_way_and_forgets_them_after_the_next(scene: Scene) -> None:
    scene.run("""
        INSERT INTO messages (org_id, fingerprint, signature, subject, subject_norm, received_at, snippet, raw_sha256,
                              parser_version, created_at)
        SELECT :org, sha256(CAST(CAST(n AS text) AS bytea)), 's', '', '', now(), '', 'r', 1, now() - interval '1 h'
          FROM generate_series(1, 9) AS n
    """)
    scene.run("""
        WITH seen AS (
            INSERT INTO occurrences (org_id, mailbox_id, provider_id, state, raw_sha256, message_id)
            SELECT :org, :mailbox, 'w' || id, 'routed', 'r', id FROM messages WHERE signature = 's'
            RETURNING id, message_id
        )
        INSERT INTO occurrence_recipients (occurrence_id, message_id, source, confidence, evidence)
        SELECT id, message_id, 'unknown', 'low', '[]' FROM seen
    """)
    scan = ArchiveScan(page=4, tail=0)
    counts = []
    for _ in range(3):
        scan.read_on(scene.connection)
        counts.append([one.count for one in scan.strands()])
    assert counts == [[3], [7], [9]]
    scene.run("UPDATE occurrences SET state = 'quarantined' WHERE provider_id LIKE 'w%'")
    for _ in range(2):
        scan.read_on(scene.connection)
        assert [one.count for one in scan.strands()] == [9]
    scan.read_on(scene.connection)
    assert scan.strands() == []


def test_the_newest_rows_are_looked_at_in_every_reading(scene: Scene) -> None:
    scene.run("""
        INSERT INTO occurrences (org_id, mailbox_id, provider_id, state)
        SELECT :org, :mailbox, 'g' || n, 'gone' FROM generate_series(1, 50) AS n
    """)
    scan = ArchiveScan(page=4, tail=3)
    scan.read_on(scene.connection)
    assert scan.strands() == []
    scene.run(_STRANDED)
    scan.read_on(scene.connection)
    assert [(one.kind, one.count) for one in scan.strands()] == [(Kind.OCCURRENCE, 1)]


def test_no_reading_looks_at_the_whole_archive(scene: Scene) -> None:
    scene.run("""
        INSERT INTO occurrences (org_id, mailbox_id, provider_id, state)
        SELECT :org, :mailbox, 'g' || n, 'gone' FROM generate_series(1, 20000) AS n
    """)
    scene.run("ANALYZE occurrences")
    seen: list[str] = []

    def explain(statement: Any, values: Any = None) -> Any:
        plan = Connection.execute(scene.connection, text(f"EXPLAIN {statement}"), values or {})
        seen.extend(str(row[0]) for row in plan)
        return Connection.execute(scene.connection, statement, values or {})

    watched = _Watched(scene.connection, explain)
    silence.read(watched, EXPECTED)  # type: ignore[arg-type]
    scans.newest(watched, 500)  # type: ignore[arg-type]
    assert any("Index" in line and "occurrences" in line for line in seen)
    assert [line for line in seen if "Seq Scan on occurrences" in line] == []


class _Watched:
    """A connection whose statements are explained before they are run."""

    def __init__(self, connection: Connection, execute: Any) -> None:
        self._connection, self.execute = connection, execute

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def test_a_normal_import_makes_no_noise(db: Database, settings: Settings, tmp_path: Path) -> None:
    imported = Import(db, settings, tmp_path, 40)
    expected, scan, looks = Expected.of(settings), ArchiveScan(), 0
    with Engine(db, settings) as engine:
        imported.deliver(imported.mails)
        while engine.run(most=1):
            with db.begin() as connection:
                found = silence.read(connection, expected)
                scan.read_on(connection)
            assert sentences(found) == []
            assert scan.strands() == []
            looks += 1
    assert looks >= 5
    assert imported.routed() > 20


@pytest.mark.soak
def test_an_import_by_real_workers_makes_no_noise(db: Database, settings: Settings, tmp_path: Path) -> None:
    imported = Import(db, settings, tmp_path, 300)
    collector = LedgerCollector(db, FakeClock(), Expected.of(settings))
    noise: list[tuple[str, Any]] = []

    def quiet_and_done() -> bool:
        noise.extend(
            (sample.name, sample.labels)
            for family in collector._read()
            for sample in family.samples
            if sample.name.startswith(("fieldpost_overdue", "fieldpost_strands", "fieldpost_mailbox_unsynced"))
            and sample.value
        )
        return not imported.pending()

    with worker_processes(settings, tmp_path) as workers:
        workers.keep(2)
        imported.deliver(imported.mails)
        until(quiet_and_done, "the end of all jobs")
    assert noise == []


def test_the_runbook_s_statement_sends_stranded_mail_on_its_way(db: Database) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    statement = guide.partition("### mail-unaccounted")[2].partition("```sql")[2].partition("```")[0]
    world = World(db)
    parsed, stitched = world.parsed(mail("One")), world.stitched(mail("Two"))[0]
    lost = world.routed(mail("Three"))[0]
    world.rows(
        "DELETE FROM ticket_messages WHERE message_id = (SELECT message_id FROM occurrences WHERE id = :id)", id=lost
    )
    world.rows("UPDATE occurrences SET state = 'parsed' WHERE id = :id", id=lost)
    with db.begin() as connection:
        assert [(one.kind, one.count) for one in scans.newest(connection)] == [(Kind.OCCURRENCE, 3)]
    for _ in range(2):
        world.rows(statement)
        with db.begin() as connection:
            assert scans.newest(connection) == []
            assert sentences(silence.read(connection, EXPECTED)) == []
    jobs = {(row.stage, row.key) for row in world.rows("SELECT stage, key FROM jobs")}
    assert jobs == {("stitch", str(parsed)), ("stitch", str(lost)), ("routing", str(stitched))}
    world.run(stitch.STAGE, lost)
    assert world.ticket_of(lost).subject == "Three"


def test_metrics_over_http_carry_every_kind_and_every_mailbox(database_url: str) -> None:
    with serving(settings_for(database_url)) as api:
        ours = house(api.db, "ours")
        change(api.db, "UPDATE mailboxes SET created_at = now() - interval '1 h'")
        change(api.db, _STRANDED.replace(":org", f"'{ours.org_id}'").replace(":mailbox", f"'{ours.mailbox_id}'"))
        change(
            api.db,
            "INSERT INTO jobs (stage, key, org_id, lane, trace_id, run_at) "
            "VALUES ('triage', '1', :org, 'live', 't', now() - interval '5 min')",
            org=ours.org_id,
        )
        said = api.client().get("/metrics").text
        status = api.person(ours.org_id).get(f"/mailboxes/{ours.mailbox_id}/sync/status").json()
    found = {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(said)
        for sample in family.samples
    }
    assert {labels[1] for labels in found if labels[0] == "fieldpost_strands"} == {kind.value for kind in Kind}
    assert found["fieldpost_strands", "occurrence"] == 1
    assert found["fieldpost_overdue_jobs", "live", "triage", "ready"] == 1
    assert found["fieldpost_mailbox_unsynced_seconds", str(ours.mailbox_id)] >= 3_600
    assert status["unsynced_seconds"] >= 3_600
    assert any("has never been read since it was added 1 h" in why for why in status["why_slow"])
