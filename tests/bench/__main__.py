"""`python -m tests.bench`: the chain and the limit in turn, on servers of their own."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from deploy.local.supervisor import Supervisor
from pipeline.runtime.logs import set_up_logs
from tests.bench.corpus import Corpus, prepare
from tests.bench.figures import Figures, figures, show
from tests.bench.runs import run_chain, run_limit
from tests.bench.stand import Stand

_ROUNDS, _QUICK_MESSAGES = 3, 500
_SAMPLES = 20
_INTERRUPTED = 130


def main() -> int:
    """Measure and print; 0 when every run brought all messages through, 130 after Ctrl-C."""
    options = _options()
    set_up_logs("console", "error", "bench")
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    folder = Path(tempfile.mkdtemp(prefix="fieldpost-bench-")).resolve()
    work = Path(tempfile.mkdtemp(prefix="fieldpost-bench-")).resolve()
    try:
        corpus = prepare(work, options.messages, options.processes, options.corpus)
        with Supervisor(folder) as supervisor:
            found = _measure(console, Stand(supervisor, work), corpus, options.rounds)
    except KeyboardInterrupt:
        console.print("stopped; nothing is left running")
        return _INTERRUPTED
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(work, ignore_errors=True)
    show(console, found)
    if options.json is not None:
        options.json.write_text(json.dumps(found.as_json(), indent=2) + "\n", encoding="utf-8")
    return 0


def _measure(console: Console, stand: Stand, corpus: Corpus, rounds: int) -> Figures:
    """Take the sides in turn, so that a machine that grows slower or faster does so for both."""
    chain, limit, idle = [], [], []
    for number in range(1, rounds + 1):
        run, seconds = run_chain(stand, corpus, _SAMPLES)
        chain.append(run)
        idle += seconds
        limit.append(run_limit(stand, corpus))
        rates = (round(each.messages / each.seconds) for each in (chain[-1], limit[-1]))
        console.print("[dim]round {}: chain {} messages/s, limit {} messages/s[/]".format(number, *rates))
    console.print()
    return figures(corpus, chain, limit, idle)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="What the chain costs per message.")
    parser.add_argument("--messages", type=int, default=3000, help="at most this many (%(default)s)")
    parser.add_argument("--corpus", type=Path, help="mbox or mbox.gz; a public corpus or the demo's mail unless given")
    parser.add_argument("--rounds", type=int, default=_ROUNDS, help="rounds of each side (%(default)s)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="one per core (%(default)s)")
    parser.add_argument("--quick", action="store_true", help=f"one round of {_QUICK_MESSAGES} messages")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.messages = 1, min(options.messages, _QUICK_MESSAGES)
    if options.corpus is not None and not options.corpus.exists():
        parser.error(f"{options.corpus} does not exist")
    if min(options.rounds, options.messages, options.processes) < 1:
        parser.error("rounds, messages and processes must be at least 1")
    return options


if __name__ == "__main__":
    sys.exit(main())
