"""How the main thread waits for Ctrl-C and SIGTERM without a handler running in the middle of anything."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Iterator
from datetime import timedelta

STOP_SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM})


@contextlib.contextmanager
def stop_signals_blocked() -> Iterator[None]:
    """Keep SIGINT and SIGTERM pending for a block of code of the main thread; enter it before other threads start.

    A SIGCHLD is kept too, so that `next_stop_signal` wakes when a child ends. What is still pending at the end is
    dropped: an impatient second Ctrl-C must not turn a clean stop into an unclean exit.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*STOP_SIGNALS, signal.SIGCHLD})
    try:
        yield
    finally:
        while pending := (signal.sigpending() & STOP_SIGNALS) - before:
            signal.sigwait(pending)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def next_stop_signal(patience: timedelta) -> signal.Signals | None:
    """Wait for a blocked stop signal; None after `patience` or when a child ended (Linux)."""
    if sys.platform == "darwin":  # has no sigtimedwait
        pending = signal.sigpending() & STOP_SIGNALS
        if pending:
            return signal.Signals(signal.sigwait(pending))
        time.sleep(patience.total_seconds())
        return None
    found = signal.sigtimedwait({*STOP_SIGNALS, signal.SIGCHLD}, patience.total_seconds())
    if found is None or found.si_signo not in STOP_SIGNALS:
        return None
    return signal.Signals(found.si_signo)
