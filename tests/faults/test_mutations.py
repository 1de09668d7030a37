"""Proof that the suite sees what it guards: a product broken in one way turns the named tests red, and only so."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeline.runtime.settings import environment
from tests.faults import mutations
from tests.faults.mutations import MUTATIONS

_CHECKOUT = Path(__file__).resolve().parents[2]
_QUICK = [name for name, mutation in MUTATIONS.items() if mutation.is_quick]
_SLOW = [name for name in MUTATIONS if name not in _QUICK]


def test_the_quick_ones_are_those_that_the_suite_must_never_miss() -> None:
    assert sorted(_QUICK) == ["cursor-before-list", "no-fence", "no-key-occurrences", "no-sweeper"]


@pytest.mark.parametrize("name", [*_QUICK, *(pytest.param(name, marks=pytest.mark.soak) for name in _SLOW)])
def test_a_product_broken_on_purpose_turns_its_tests_red(name: str) -> None:
    """Exit code 1 alone could be an error of a fixture: tests must have failed, and none may have erred."""
    for killer in MUTATIONS[name].killers:
        code, said = _run("--mutation", name, killer)
        assert code == 1, f"{name} survived {killer}:\n{said}"
        assert re.search(r"\d+ failed", said), said
        assert not re.search(r"\d+ error", said), said


@pytest.mark.soak
def test_the_same_tests_are_green_when_nothing_is_broken() -> None:
    """Here in one process, as the broken ones ran; every run of the suite has the same tests among its own."""
    _all_green(_QUICK)


@pytest.mark.soak
def test_the_other_tests_are_green_when_nothing_is_broken() -> None:
    _all_green(_SLOW)


def test_a_worker_of_a_broken_run_is_broken_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    assert mutations.as_broken("actors", ["a"]) == ("actors", "a")
    monkeypatch.setattr(mutations, "_applied", ["no-fence"])
    assert mutations.as_broken("actors", ["a"]) == ("tests.faults.mutations", "no-fence", "actors", "a")


def _all_green(names: Sequence[str]) -> None:
    code, said = _run(*dict.fromkeys(killer for name in names for killer in MUTATIONS[name].killers))
    assert code == 0, said


def _run(*arguments: str) -> tuple[int, str]:
    """Run tests in a process of their own until one fails; return its exit code and what it said last."""
    argv = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "-p", "no:cacheprovider", *arguments]
    theirs = {name: said for name, said in environment().items() if not name.startswith("PYTEST_")}
    ran = subprocess.run(argv, cwd=_CHECKOUT, env=theirs, capture_output=True, text=True, timeout=280, check=False)
    return ran.returncode, ran.stdout[-4_000:] + ran.stderr[-2_000:]
