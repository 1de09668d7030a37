"""Reprocess: does a step again with what is stored, a chunk at a time; changes nothing before a person says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from sqlalchemy import Connection

from pipeline.ports import Ports
from pipeline.runtime import reprocessing
from pipeline.runtime.errors import Permanent
from pipeline.runtime.jobs import Emit, Job
from pipeline.runtime.repeatable import KINDS
from pipeline.runtime.reprocessing import CHANGED, CHUNK, Again, Recorded, Run, Subject
from pipeline.stage import Again as Wait
from pipeline.stage import Stage, Work, caught

#: How long a worker of an older version leaves a run to those of the version that began it.
_PATIENCE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Chunk:
    """The next subjects of a run, and what was recorded of them when it compared."""

    run: Run
    subjects: Sequence[Subject]
    recorded: Mapping[str, Recorded]
    #: This chunk failed, or ended its process, before.
    is_suspect: bool

    @property
    def is_foreign(self) -> bool:
        """True when this process has other rules than the run was begun with."""
        return self.run.version != KINDS[self.run.kind].version

    @property
    def wanted(self) -> Sequence[Subject]:
        """Those the step is done again for: applying asks only for those that would change."""
        if not self.run.is_applying:
            return self.subjects
        return [one for one in self.subjects if one.key in self.recorded and self.recorded[one.key].is_open]


Outcomes = Mapping[str, Again | Exception]


def load(connection: Connection, jobs: Sequence[Job]) -> Mapping[int, Chunk]:
    """Return the next chunk of each run; a run that waits for a person, or is over, has nothing to do."""
    chunks: dict[int, Chunk] = {}
    for job in jobs:  # one: a chunk is a batch
        run = reprocessing.running(connection, int(job.key))
        if run is None:
            continue
        chunks[job.job_id] = _chunk(connection, run, job)
    return chunks


def _chunk(connection: Connection, run: Run, job: Job) -> Chunk:
    chunk = Chunk(run, (), {}, is_suspect=job.is_suspect or job.failures + job.crashes > 0)
    if chunk.is_foreign:
        return chunk
    subjects = KINDS[run.kind].load(connection, run, CHUNK)
    keys = [subject.key for subject in subjects]
    known = reprocessing.recorded(connection, run, keys) if run.is_applying and keys else {}
    return replace(chunk, subjects=subjects, recorded=known)


def work(items: Sequence[Chunk], ports: Ports) -> Sequence[Outcomes | Wait | Exception]:
    """Do the step again for each subject; one that fails is that subject's outcome.

    A worker that was not upgraded yet would compare by its own rules: it leaves the run to the others.
    """
    do = caught(_again)
    return [_refusal(item.run) if item.is_foreign else do(item, ports) for item in items]


def _refusal(run: Run) -> Wait | Exception:
    mine = KINDS[run.kind].version
    if mine < run.version:
        return Wait(_PATIENCE, f"it was begun with version {run.version}, and this worker has {mine}: upgrade it")
    return Permanent(
        f"repetition {run.run_id} was begun with version {run.version}, now it is {mine}: "
        f"cancel it (`fieldpost reprocess cancel {run.run_id}`), and start anew"
    )


def _again(chunk: Chunk, ports: Ports) -> Outcomes:
    wanted, kind = chunk.wanted, KINDS[chunk.run.kind]
    stores = chunk.run.is_applying
    outcomes = kind.work(wanted, ports, stores=stores, isolated=chunk.is_suspect) if wanted else ()
    return {subject.key: outcome for subject, outcome in zip(wanted, outcomes, strict=True)}


def save(connection: Connection, works: Sequence[Work[Chunk, Outcomes]]) -> Sequence[Emit]:
    """Move each run on, record or apply its chunk, and go on until the end."""
    return [emit for done in works for emit in _save(connection, done)]


def _save(connection: Connection, done: Work[Chunk, Outcomes]) -> Sequence[Emit]:
    run, subjects = done.item.run, done.item.subjects
    if not reprocessing.move(connection, run, subjects[-1].key if subjects else run.position):
        return ()
    if not subjects:
        reprocessing.end(connection, run)
        return ()
    emits = _apply(connection, done) if run.is_applying else ()
    if not run.is_applying:
        reprocessing.note(connection, run, done.result)
    return [*emits, done.job.then("reprocess", done.job.key)]


def _apply(connection: Connection, done: Work[Chunk, Outcomes]) -> Sequence[Emit]:
    """Make exactly the changes that were recorded: what would be something else by now is refused."""
    chunk = done.item
    kind = KINDS[chunk.run.kind]
    verdicts: dict[str, str | None] = {}
    changed: list[tuple[Subject, Again]] = []
    for subject in chunk.wanted:
        again = done.result[subject.key]
        if isinstance(again, Exception):
            verdicts[subject.key] = f"{type(again).__name__}: {again}"[:500]
        elif reprocessing.as_json(again.changes) != chunk.recorded[subject.key].changes:
            verdicts[subject.key] = CHANGED
        else:
            changed.append((subject, again))
    effects = kind.apply(connection, chunk.run, changed, done.job)
    verdicts |= {subject.key: effects.refused.get(subject.key) for subject, _ in changed}
    reprocessing.close(connection, chunk.run, verdicts)
    kind.agree(connection, chunk.run, [one.key for one in chunk.subjects if one.key not in chunk.recorded])
    return effects.emits


STAGE = Stage(
    name="reprocess",
    about="Does a step again with what is stored, in shadow, then for good.",
    load=load,
    work=work,
    save=save,
    emits=("index", "triage", "reprocess"),
    io=True,
    batch=1,
)
