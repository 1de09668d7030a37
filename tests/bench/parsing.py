"""`python -m tests.bench.parsing [MBOX]`: CPU per message of our parser beside the mail-parser library alone.

Both read the same mails in the same process, in turns; the library's usual properties are read as its users read them.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import mailparser

from pipeline.core import machines, mime
from tests.bench.corpus import read_raws

_MESSAGES = 3_000
_ROUNDS = 5
_PROPERTIES = (
    "subject", "from_", "to", "cc", "reply_to", "date", "message_id", "body", "text_plain", "text_html", "attachments",
    "headers", "received", "defects",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Found:
    """CPU per message in microseconds, each the median of the rounds, and our share of the library's."""

    messages: int
    ours_us: float
    library_us: float
    ratio: float
    failures: int


def ours(raw: bytes) -> None:
    """Understand one mail as the parse stage does."""
    mail = mime.parse(raw)
    machines.classify(mail.headers, mail.from_[0].address if mail.from_ else None, mail.subject, ())


def library(raw: bytes) -> None:
    """Read one mail with the library, and the properties that everybody reads."""
    mail = mailparser.parse_from_bytes(raw)
    for name in _PROPERTIES:
        getattr(mail, name)


def measure(raws: Sequence[bytes], rounds: int) -> Found:
    """Measure both in turns, so that what else the machine does meets both."""
    ours_us: list[float] = []
    library_us: list[float] = []
    failures = 0
    for number in range(rounds):
        for read, spent in (
            ((ours, ours_us), (library, library_us)) if number % 2 else ((library, library_us), (ours, ours_us))
        ):
            cost, failed = _cost(read, raws)
            spent.append(cost)
            failures += failed if read is ours else 0
    mine, theirs = statistics.median(ours_us), statistics.median(library_us)
    return Found(len(raws), round(mine, 1), round(theirs, 1), round(mine / theirs, 3), failures)


def _cost(read: Callable[[bytes], None], raws: Sequence[bytes]) -> tuple[float, int]:
    failures = 0
    begun = time.process_time()
    for raw in raws:
        try:
            read(raw)
        except mime.Unreadable:
            pass
        except Exception:  # noqa: BLE001 - the library fails on damaged mail; what counts is that we do not
            failures += 1
    return 1e6 * (time.process_time() - begun) / len(raws), failures


def main() -> int:
    """Print the figures; fail when ours costs more than the library alone, or any mail failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.parsing", description=__doc__)
    parser.add_argument("mbox", type=Path, nargs="?", help="mail to read (.mbox or .mbox.gz); else a corpus at hand")
    parser.add_argument("--messages", type=int, default=_MESSAGES)
    parser.add_argument("--rounds", type=int, default=_ROUNDS)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    given = parser.parse_args()
    logging.getLogger("mailparser").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        raws = read_raws(Path(folder), given.messages, given.mbox)
    found = measure(raws, given.rounds)
    if given.json:
        print(json.dumps(asdict(found)))
    else:
        print(f"{found.messages} messages: {found.ours_us} us each, mail-parser alone {found.library_us} us,", end=" ")
        print(f"ratio {found.ratio} (at most 1.0), {found.failures} failures")
    return 0 if found.ratio <= 1.0 and not found.failures else 1


if __name__ == "__main__":
    sys.exit(main())
