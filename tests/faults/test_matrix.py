"""The matrix of faults: every row has a test, and the operators' guide shows the table as it is."""

from __future__ import annotations

from pathlib import Path

from tests.faults import matrix

_GUIDE = Path(__file__).resolve().parents[2] / "docs" / "operations.md"


def test_all_faults_that_apply_are_made_to_happen() -> None:
    tests = matrix.marked()
    assert [fault.fault_id for fault in matrix.FAULTS] == [f"F-{number:02d}" for number in range(1, 63)]
    assert [fault.fault_id for fault in matrix.FAULTS if not fault.absent and fault.fault_id not in tests] == []


def test_no_test_names_a_fault_that_is_not_in_the_table() -> None:
    known = {fault.fault_id for fault in matrix.FAULTS}
    assert set(matrix.marked()) <= known


def test_a_fault_said_to_be_absent_has_no_test() -> None:
    tests = matrix.marked()
    assert [fault.fault_id for fault in matrix.FAULTS if fault.absent and fault.fault_id in tests] == []


def test_the_operators_guide_shows_the_table() -> None:
    guide = _GUIDE.read_text(encoding="utf-8")
    shown = guide.partition(matrix.BEGIN)[2].partition(matrix.END)[0].strip()
    assert shown == matrix.as_text(), "print it with `python -m tests.faults.matrix`"
