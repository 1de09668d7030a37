"""The benchmark itself: it runs, and none of its figures is missing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bench.children import CHECKOUT
from tests.bench.corpus import prepare

_SERIES = {"fetch", "parse", "stitch", "routing", "triage"}


def _numbers(value: Any, path: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _numbers(inner, f"{path}.{name}")
    elif isinstance(value, int | float):
        yield path.lstrip("."), value


def test_a_quick_benchmark_gives_every_figure(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    argv = [sys.executable, "-m", "tests.bench", "--quick", "--messages", "300", "--json", str(file)]
    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(file.read_text())
    assert set(found["chain"]["stages_ms"]) >= _SERIES
    numbers = {name: value for name, value in _numbers(found) if name != "others_share"}
    assert {name: value for name, value in numbers.items() if not value > 0} == {}
    assert set(found["chain"]) == set(found["limit"])
    assert found["idle_p50_ms"] <= found["idle_p95_ms"]
    assert found["messages"] == 300
    for side in ("chain", "limit"):
        parts = sum(found[side][name] for name in ("workers_ms", "postgres_ms", "valkey_ms"))
        assert abs(parts - found[side]["cpu_ms"]) < 0.001 * parts
    for word in ("messages/s", "PostgreSQL", "Valkey", "WAL", "parse", "chain / limit", "p95"):
        assert word in done.stdout


def test_a_corpus_is_dealt_out_whole_and_every_message_can_be_read_again(tmp_path: Path) -> None:
    given = tmp_path / "given.mbox"
    entries = [
        f"From a@b Mon Jan  5 06:00:00 2026\nMessage-ID: <{number}@b>\n\n>From here on, line {number}\n\n"
        for number in range(7)
    ]
    given.write_text("".join(entries))
    corpus = prepare(tmp_path, 5, 2, given)
    assert corpus.messages == 5
    assert [part.read_bytes().count(b"Message-ID") for part in corpus.parts] == [3, 2]
    assert corpus.parts[0].read_bytes().count(b"\n>From here on") == 3


def test_the_comparison_of_parsers_reads_every_mail_with_both() -> None:
    """Whose CPU is less is for `make bench` to say; here only that both sides were measured and no mail failed."""
    argv = [sys.executable, "-m", "tests.bench.parsing", "--messages", "60", "--rounds", "1", "--json"]
    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=120)
    found = json.loads(done.stdout)
    assert (found["messages"], found["failures"]) == (60, 0), done.stderr
    assert min(found["ours_us"], found["library_us"], found["ratio"]) > 0
