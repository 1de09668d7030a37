"""The classes of advisory locks: each purpose has its own."""

from __future__ import annotations

from pipeline.runtime import ledger, locks


def test_no_two_purposes_share_a_class():
    classes = [value for name, value in vars(locks).items() if name.isupper()]
    assert len(classes) >= 3
    assert len(set(classes)) == len(classes)
    assert ledger.WORKER_LOCK == locks.WORKER
