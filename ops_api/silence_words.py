"""What stands still, in words: one sentence each, and what to do about it; for `doctor` and `status`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType

from models.queries.silence import Overdue, Reading, Why
from models.queries.strands import Kind, Strand
from ops_api.silence import Silences
from ops_api.wording import counted, span
from pipeline.table import STAGES

_NO_WORKER = "no worker is alive"
_START = "run `fieldpost worker`, or `fieldpost up`"
_SWEEPER = (
    "restart the workers: each carries a sweeper; `sweep.failed`, `pump.failed`, `bulks.failed` in its log say why"
)
_KEEP = "this should never be: keep the database as it is for the engineers"


@dataclass(frozen=True, slots=True)
class Said:
    """One sentence and what to do. `is_lasting`: it does not end by itself while workers are alive."""

    name: str
    text: str
    advice: str
    is_lasting: bool

    @property
    def line(self) -> str:
        """Return both as one line."""
        return f"{self.text}: {self.advice}"


def sentences(found: Silences) -> list[Said]:
    """Return a sentence for each thing that stands still; none when all is well."""
    return [
        *(_overdue(late, found.workers) for late in found.overdue),
        *(_strand(strand, found.workers) for strand in found.strands),
        *(unread(reading, found.workers) for reading in found.unread),
    ]


def unread(reading: Reading, workers: int) -> Said:
    """Say of one mailbox that nobody reads it."""
    since = span(timedelta(seconds=reading.seconds))
    if reading.is_new:
        text = f"{reading.address} has never been read since it was added {since} ago"
        advice = f"run `fieldpost backfill {reading.address}`" if workers else _START
    else:
        text = f"{reading.address} has not been read for {since}"
        advice = f"`fieldpost status {reading.address}` says why, `fieldpost history` asks now" if workers else _START
    return Said("mailboxes", text if workers else f"{text}, and {_NO_WORKER}", advice, is_lasting=False)


#: What is said of late jobs after "3 parse jobs are", with `since` for how long, and what to do.
_WHYS: Mapping[Why, tuple[str, str]] = MappingProxyType(
    {
        Why.READY: (
            "due since {since} and nobody takes {them}",
            "all workers are busy or stand still: start another one, and look at the log of those that run",
        ),
        Why.RUNNING: (
            "due since {since} and still in work",
            "its worker is slow or hangs: find it in the log by the key; to restart workers is safe at any time",
        ),
        Why.LEASE: ("held by nobody since {since} and not brought back", _SWEEPER),
        Why.WAITING: ("to go on since {since} and not made ready", _SWEEPER),
        Why.HELD: ("held back for {since} by a budget that could pay", _SWEEPER),
        Why.BLOCKED: (
            "parked for {since} though no person is needed",
            "`fieldpost status` names the mailbox; `fieldpost mailbox resume ADDRESS` frees what is parked",
        ),
        Why.DEAD: ("dead for {since} without a dead letter, so that nobody can replay {them}", _KEEP),
    }
)
#: Whatever workers are alive, these are late for another reason than that none is.
_NOT_FOR_WORKERS = frozenset({Why.BLOCKED, Why.DEAD})


def _overdue(late: Overdue, workers: int) -> Said:
    stands, advice = _WHYS[late.why]
    are, them = ("is", "it") if late.jobs == 1 else ("are", "them")
    what = f"{counted(late.jobs, f'{late.stage} job')} (lane {late.lane.value}, such as {late.example}) {are}"
    text = f"{what} {stands.format(since=span(timedelta(seconds=late.seconds)), them=them)}"
    if late.stage not in STAGES:
        advice = "no stage of this version has that name: start the workers of the version that made them"
    elif not workers and late.why not in _NOT_FOR_WORKERS:
        return Said("overdue jobs", f"{text}, and {_NO_WORKER}", _START, is_lasting=False)
    return Said("overdue jobs", text, advice, is_lasting=late.why not in (Why.READY, Why.RUNNING))


@dataclass(frozen=True, slots=True)
class _Words:
    """How a kind of strand is told: the thing, what is wrong with it, what to do, and whether workers would mend it."""

    thing: str
    stands: str
    advice: str
    mends_itself: bool = False


_KINDS: Mapping[Kind, _Words] = MappingProxyType(
    {
        Kind.OCCURRENCE: _Words(
            "message", "on the way without a job", f"{_KEEP}; `fieldpost audit ADDRESS` names them"
        ),
        Kind.MESSAGE: _Words(
            "message", "stitched and in no ticket", f"{_KEEP}; meanwhile read it with `fieldpost raw`"
        ),
        Kind.TICKET: _Words("ticket", "never routed", f"{_KEEP}; meanwhile answer it by hand"),
        Kind.CASE: _Words(
            "case", "due for dispatch without a work order or a job", f"{_KEEP}; send a technician by hand"
        ),
        Kind.OUTBOUND: _Words(
            "message of ours", "to be sent and without a job", "`fieldpost outbound list --state queued`, then `retry`"
        ),
        Kind.BULK: _Words("wish about dead letters", "not carried on", _SWEEPER, mends_itself=True),
        Kind.REPROCESSING: _Words(
            "repetition of a step", "under way without a job", "`fieldpost reprocess cancel`, then `start` it anew"
        ),
        Kind.BACKFILL: _Words("listing", "under way without a job", "`fieldpost backfill ADDRESS` goes on with it"),
        Kind.COMPARISON: _Words(
            "comparison", "under way without a job", "`fieldpost reconcile ADDRESS` goes on with it"
        ),
        Kind.PAUSE: _Words("mailbox", "paused beyond the end of the pause", _SWEEPER, mends_itself=True),
        Kind.SCHEDULE: _Words(
            "schedule",
            "overdue",
            "`fieldpost schedule --list`; each worker carries one: see its log",
            mends_itself=True,
        ),
    }
)


def _strand(strand: Strand, workers: int) -> Said:
    words = _KINDS[strand.kind]
    details = [f"such as {strand.example}"] if strand.example else []
    details += [f"for {span(timedelta(seconds=strand.seconds))}"] if strand.seconds else []
    verb = "is" if strand.count == 1 else "are"
    things = counted(strand.count, words.thing) if words.thing != "message of ours" else _ours(strand.count)
    text = f"{things} {verb} {words.stands}" + (f" ({', '.join(details)})" if details else "")
    if words.mends_itself and not workers:
        return Said("strands", f"{text}, and {_NO_WORKER}", _START, is_lasting=False)
    return Said("strands", text, words.advice, is_lasting=True)


def _ours(count: int) -> str:
    return f"{counted(count, 'message')} of ours"
