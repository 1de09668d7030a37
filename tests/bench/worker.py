"""A worker as `python -m actors` is one, that tells the CPU seconds of each stage whenever it is asked."""

from __future__ import annotations

import json
import signal
import sys

from actors.worker import WorkerProcess
from pipeline.runtime.collecting import calm_the_collector
from pipeline.runtime.logs import set_up_logs
from pipeline.runtime.settings import read_settings
from tests.bench.children import MARK, NEXT

_STOP = {signal.SIGTERM, signal.SIGINT}


def main() -> int:
    """Work until SIGTERM; each SIGUSR1 is answered with one line of JSON."""
    # Blocked before any thread starts, so that all signals wait for this one.
    signal.pthread_sigmask(signal.SIG_BLOCK, {*_STOP, NEXT})
    set_up_logs("json", "error", "bench")
    worker = WorkerProcess(read_settings())
    calm_the_collector()
    worker.start()
    _say(worker)
    while signal.sigwait({*_STOP, NEXT}) == NEXT:
        _say(worker)
    worker.stop()
    return 0


def _say(worker: WorkerProcess) -> None:
    samples = [sample for metric in worker.metrics.cpu.collect() for sample in metric.samples]
    cpu = {sample.labels["stage"]: sample.value for sample in samples if sample.name.endswith("_total")}
    print(MARK + json.dumps(cpu), flush=True)


if __name__ == "__main__":
    sys.exit(main())
