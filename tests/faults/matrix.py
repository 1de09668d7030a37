"""The faults that are made to happen on purpose, what is promised under each, and the tests that do it: one table.

A test says which faults it makes happen by `@pytest.mark.fault("F-13")`. `python -m tests.faults.matrix` prints the
table of docs/operations.md; `python -m tests.faults.matrix F-13` names the tests of a fault.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_TESTS = Path(__file__).resolve().parents[1]
#: The table in the operators' guide stands between these lines.
BEGIN, END = "<!-- fault matrix: begin -->", "<!-- fault matrix: end -->"


@dataclass(frozen=True, slots=True)
class Fault:
    """One row (reliability, section 7): what is done, what is promised beside "nothing lost, nothing doubled".

    `recovery` is a measured figure, `absent` says why a row has no test yet.
    """

    fault_id: str
    injected: str
    promise: str
    recovery: str = ""
    absent: str = ""


FAULTS = (
    Fault("F-01", "worker killed before it claims", "the jobs are taken by another"),
    Fault(
        "F-02",
        "worker killed after the claim, before the work",
        "held again within 5 s",
        "p50 0.44 s, p99 0.65 s until another holds its jobs (1,249 jobs of 40 workers)",
    ),
    Fault("F-03", "worker killed within a call to Gmail", "the call is made again"),
    Fault("F-04", "worker killed after raw bytes are stored, before the commit", "bytes equal what was served"),
    Fault("F-05", "worker killed while it writes raw bytes", "the rest of a file is removed"),
    Fault("F-06", "worker killed after the effects, before the commit", "the effects happen once"),
    Fault("F-07", "worker killed after the commit, before the doorbell", "the next step runs within a sweep"),
    Fault("F-08", "worker killed after the doorbell, before it is acknowledged", "a second doorbell changes nothing"),
    Fault("F-09", "the process that parses killed, or out of memory", "the mail is set aside after three deaths"),
    Fault("F-10", "sweeper killed within a sweep; no sweeper at all", "only latency"),
    Fault("F-11", "two and five sweepers at once", "each job comes back once"),
    Fault("F-12", "all workers killed over and over", "work goes on in between"),
    Fault("F-13", "worker frozen past its lease, then woken", "the fence refuses what it brings"),
    Fault(
        "F-14",
        "SIGTERM in every stage, twice, and past its time",
        "out within 30 s, nothing charged",
        "1.3 s (longest of 5); 28.1 s with the jobs locked; 0 charged",
    ),
    Fault(
        "F-15",
        "a new version and its migration during a backfill",
        "no request fails",
        "0 of 812 requests failed, longest 1.06 s on a busy machine",
    ),
    Fault("F-16", "Valkey killed without persistence", "work goes on by polling"),
    Fault(
        "F-17",
        "Valkey emptied with thousands of jobs due",
        "noticed, and everything is rung again",
        "longest pause 0.11 s",
    ),
    Fault("F-18", "Valkey away", "at least half the rate", "109-162 % of the rate"),
    Fault("F-19", "Valkey stalls", "work goes on when it answers again"),
    Fault("F-20", "an answer of Valkey lost: to a fetch, a ring, an acknowledgement", "no doorbell is needed"),
    Fault("F-21", "Valkey out of memory", "work goes on by polling"),
    Fault(
        "F-22",
        "junk in the queue: undecodable, unknown, foreign",
        "no queue stands still for 10 s",
        "14 kinds, 6 of each: through in 0.55 s (before: 3 s for one)",
    ),
    Fault(
        "F-23",
        "PostgreSQL stopped at once at each stage",
        "work goes on when it is back",
        "longest of 5: 1.0 s after it answers",
    ),
    Fault("F-24", "PostgreSQL away", "the API answers 503, no process ends"),
    Fault("F-25", "database connections cut every second", "each transaction happens once or not at all"),
    Fault("F-26", "the answer to COMMIT lost", "the repetition finds its job settled"),
    Fault("F-27", "deadlocks and serialization failures", "tried again, nothing dies"),
    Fault("F-28", "more threads than connections; no connection left", "waits are bounded, no deadlock"),
    Fault("F-29", "a ticket or the jobs locked for long", "others go on"),
    Fault(
        "F-30",
        "disk full under the raw store, under the database",
        "goes on by itself when there is space",
        "seven answers 200, then 503; by itself after",
    ),
    Fault("F-31", "hostile mail of every kind", "set aside with its raw bytes; workers live"),
    Fault("F-32", "a flood of poisonous mail in one mailbox", "other mailboxes are not slower"),
    Fault("F-33", "one dead letter replayed twice, and 50 times at once", "it runs once"),
    Fault("F-34", "a dead letter replayed while the old attempt still runs", "the old attempt is refused"),
    Fault("F-35", "dead letters replayed after a correction of the program", "no second work order"),
    Fault(
        "F-36",
        "very many dead letters replayed beside live mail",
        "live p95 at most doubles",
        "1.47 times, with 10,000",
    ),
    Fault("F-37", "Gmail throttles: 429 and 403, with and without Retry-After", "nothing dies, the quota is kept"),
    Fault("F-38", "Gmail fails: 500, 502, 503, 504", "nothing dies"),
    Fault("F-39", "Gmail slow to answer, slow to send", "other mailboxes go on"),
    Fault("F-40", "connection cut within a body, cut JSON, wrong base64", "bytes equal what was served"),
    Fault("F-41", "history forgotten within paging", "what is missing is listed"),
    Fault("F-42", "history pages doubled, overlapping, empty, out of order", "each mail once"),
    Fault("F-43", "mail removed between listing and fetching", "counted as gone"),
    Fault("F-44", "mail arriving during a large backfill", "live mail does not wait"),
    Fault("F-45", "a batch of which some parts fail", "only those are asked for again"),
    Fault("F-46", "page token forgotten", "the window is listed anew"),
    Fault("F-47", "authorization withdrawn, given again, given by somebody else", "no attempt is charged"),
    Fault("F-48", "mailbox suspended, then restored", "goes on by itself"),
    Fault("F-49", "announcements silent, doubled, forged", "polling finds the mail"),
    Fault("F-50", "thread id changes; one mail in three mailboxes; one id, two mails", "one ticket per message"),
    Fault("F-51", "clocks of workers a day ahead and behind, and jumping", "the database's time alone counts"),
    Fault("F-52", "two schedulers; none for three periods", "each slot once, missed ones by policy"),
    Fault(
        "F-53",
        "work-order system: time out after creating, doubled answers",
        "one order",
        absent="work orders live in our own database; no outside system takes them yet",
    ),
    Fault(
        "F-54",
        "work-order system away",
        "delivered afterwards",
        absent="as F-53; the mail provider as such a system is F-37 to F-40 and the sending tests",
    ),
    Fault("F-55", "network to one worker cut without a sign", "as F-13"),
    Fault(
        "F-56", "half-open connections to the database and Valkey", "noticed within 15 s", "database 11 s, Valkey 2 s"
    ),
    Fault("F-57", "API killed between effect and answer; the caller repeats", "one effect"),
    Fault("F-58", "100 equal requests at once", "one effect"),
    Fault("F-59", "secret key rotated under load", "no mail fails"),
    Fault("F-60", "backup under load, restored to an empty machine", "reading again brings what came since"),
    Fault("F-61", "no file descriptors, no threads, raw store read-only", "says so, goes on when mended"),
    Fault("F-62", "ten times the load", "the backlog drains, memory stays flat"),
)


def marked() -> dict[str, list[str]]:
    """Return the tests of each fault id, as `path::name` from the checkout's root, in order."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(_TESTS.rglob("test_*.py")):
        for name, ids in _marks(ast.parse(path.read_text(encoding="utf-8"))):
            for fault_id in ids:
                found[fault_id].append(f"{path.relative_to(_TESTS.parent)}::{name}")
    return dict(found)


def as_text() -> str:
    """Return the table of the operators' guide, in Markdown."""
    tests = marked()
    rows = ["| | what was done | what is promised | measured | tests |", "|---|---|---|---|---|"]
    for fault in FAULTS:
        count = fault.absent or str(len(tests.get(fault.fault_id, ())))
        rows.append(f"| {fault.fault_id} | {fault.injected} | {fault.promise} | {fault.recovery} | {count} |")
    return "\n".join(rows)


def _marks(module: ast.Module) -> Iterator[tuple[str, list[str]]]:
    everywhere = [
        fault_id
        for node in module.body
        if isinstance(node, ast.Assign) and any(getattr(one, "id", "") == "pytestmark" for one in node.targets)
        for fault_id in _ids(node.value)
    ]
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield node.name, [*everywhere, *(one for mark in node.decorator_list for one in _ids(mark))]


def _ids(node: ast.expr) -> Iterator[str]:
    """Yield the ids within every `pytest.mark.fault(...)` of an expression."""
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "fault":
            yield from (one.value for one in call.args if isinstance(one, ast.Constant) and isinstance(one.value, str))


def main(arguments: Sequence[str]) -> None:
    """Print the table, or the tests of the given faults."""
    tests = marked()
    print("\n".join(test for one in arguments for test in tests.get(one, ())) if arguments else as_text())


if __name__ == "__main__":
    main(sys.argv[1:])
