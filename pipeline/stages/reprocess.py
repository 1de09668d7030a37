"""Reprocess: does a step again with what is stored, a chunk at a time; changes nothing before a person says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from pipeline.ports import Ports
from pipeline.runtime import reprocessing
from pipeline.runtime.jobs import Emit, Job
from pipeline.runtime.repeatable import KINDS
from pipeline.runtime.reprocessing import CHANGED, CHUNK, Again, Recorded, Run, Subject
from pipeline.stage import Stage, Work, caught


@dataclass(frozen=True, slots=True)
class Chunk:
    """The next subjects of a run, and what was recorded of them when it compared."""

    run: Run
    subjects: Sequence[Subject]
    recorded: Mapping[str, Recorded]

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
        subjects = KINDS[run.kind].load(connection, run, CHUNK)
        keys = [subject.key for subject in subjects]
        known = reprocessing.recorded(connection, run, keys) if run.is_applying and keys else {}
        chunks[job.job_id] = Chunk(run, subjects, known)
    return chunks


def work(items: Sequence[Chunk], ports: Ports) -> Sequence[Outcomes | Exception]:
    """Do the step again for each subject; one that fails is that subject's outcome."""
    do = caught(_again)
    return [do(item, ports) for item in items]


def _again(chunk: Chunk, ports: Ports) -> Outcomes:
    wanted = chunk.wanted
    outcomes = KINDS[chunk.run.kind].work(wanted, ports, stores=chunk.run.is_applying) if wanted else ()
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
