"""The benchmark of the quota: it runs, refuses nothing, and none of its figures is missing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.bench.children import CHECKOUT


def test_a_short_run_gives_every_figure_and_is_never_refused(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    argv = [sys.executable, "-m", "tests.bench.quota", "--messages", "200", "--samples", "3", "--json", str(file)]
    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found = json.loads(file.read_text())
    assert found["messages"] == 200
    assert found["share_throttled"] == found["dead_letters"] == 0
    assert 0 < found["share_of_ceiling"] <= 1.05
    assert 0 < found["live_idle_p50"] <= found["live_idle_p95"]
    for word in ("of the ceiling", "of calls throttled", "live mail's p95", "dead letters"):
        assert word in done.stdout
