"""Worker processes for the tests that run the whole chain."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.runtime.settings import Settings
from tests.faults.forked import forked
from tests.other_gmail import why_not
from tests.worker_process import WorkerProcesses

#: `tests/test_other_gmail.py` says why, once.
collect_ignore = ["test_other_gmail.py"] if why_not() else []


@pytest.fixture
def workers(settings: Settings, tmp_path: Path) -> Iterator[WorkerProcesses]:
    """Return no workers yet; those that the test starts end with it."""
    with forked(settings, tmp_path) as found:
        yield found
