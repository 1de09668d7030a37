"""Child processes: started so that they die with the launcher, stopped by a ladder of signals, found when orphaned."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

import psutil
import structlog

from deploy.local.account import Account
from deploy.local.layout import told
from pipeline.runtime.errors import UserError

_SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of linux/prctl.h
_LOG_LIMIT = 20_000_000
_PRCTL = ctypes.CDLL(None).prctl if sys.platform == "linux" else None

log = structlog.get_logger()

Ladder = Sequence[tuple[signal.Signals, timedelta]]


@dataclass(frozen=True, slots=True)
class Launch:
    """A command to start: its whole environment, the file its output goes to, and the signal sent when we die."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    log: Path
    death_signal: signal.Signals = signal.SIGTERM
    account: Account | None = None
    cwd: Path | None = None


class Spawner:
    """Starts children whose life is bound to ours.

    Linux sends the death signal when the parent THREAD ends, so children are started by the main thread, or, when
    another thread asks, by one thread that lives until `close`. Call `close` only after the children have ended.
    """

    def __init__(self) -> None:
        """Prepare; the extra thread is made when it is first needed."""
        self._thread: ThreadPoolExecutor | None = None

    def spawn(self, launch: Launch) -> subprocess.Popen[bytes]:
        """Start a command in its own session with an empty signal mask; raises UserError when it cannot be started."""
        if threading.current_thread() is threading.main_thread():
            return _spawn(launch)
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="spawner")
        return self._thread.submit(_spawn, launch).result()

    def close(self) -> None:
        """End the extra thread; every child it started is told to stop by that."""
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None


def _spawn(launch: Launch) -> subprocess.Popen[bytes]:
    """Start `launch` from the calling thread."""
    account = launch.account
    with told(launch.log):
        _rotate(launch.log)
        output = launch.log.open("ab")
    with output:
        try:
            return subprocess.Popen(
                launch.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(launch.env),
                cwd=launch.cwd,
                start_new_session=True,
                umask=0o077,
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=() if account else None,
                preexec_fn=_bind_to(launch.death_signal),  # noqa: PLW1509  # two system calls, no locks
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise UserError(f"{launch.argv[0]} cannot be started: {error}") from error


def _bind_to(death_signal: signal.Signals) -> Callable[[], None]:
    """Return what the child does between fork (after the change of account, which clears the setting) and exec."""
    return partial(_in_child, int(death_signal), os.getpid())


def _in_child(death_signal: int, parent: int) -> None:
    """Empty the signal mask; on Linux, ask for a signal when the parent dies, and end if it already has."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if _PRCTL is not None:
        _PRCTL(_SET_DEATH_SIGNAL, death_signal, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)


def _rotate(path: Path) -> None:
    """Put a log that has grown large aside, keeping one older file."""
    if path.exists() and path.stat().st_size > _LOG_LIMIT:
        path.replace(path.with_name(path.name + ".1"))


def end(process: subprocess.Popen[bytes], ladder: Ladder) -> int:
    """Send each signal of the ladder until the process ends, then SIGKILL to its session; returns its exit code."""
    for step, patience in ladder:
        if process.poll() is None:
            process.send_signal(step)
        try:
            return process.wait(patience.total_seconds())
        except subprocess.TimeoutExpired:
            log.warning("slow_to_stop", pid=process.pid, signal=step.name)
    kill_session(process)
    return process.wait()


def kill_session(process: subprocess.Popen[bytes]) -> None:
    """Send SIGKILL to a child of `Spawner` and to what it started in its session, even when the child itself ended."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        process.poll()


def tail(path: Path, offset: int = 0, lines: int = 12) -> str:
    """Return the last lines a log gained after `offset` bytes; empty when there is none."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(offset if offset <= size else 0, size - 16_384))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def size(path: Path) -> int:
    """Return a file's size in bytes, 0 when it does not exist."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def advice(output: str, folder: Path, otherwise: str) -> str:
    """Say what to do about a server that did not start, judged by what it said."""
    if "No space left on device" in output or "File too large" in output or "Disk quota exceeded" in output:
        return f"the disk is full: free some space for {folder}, then start again; nothing stored is lost"
    if "Cannot allocate memory" in output or "could not map anonymous shared memory" in output:
        return "the machine has too little memory: stop something else, then start again"
    if "Permission denied" in output:
        return f"something below {folder} belongs to another user: give it back to the account that runs the server"
    return otherwise


def running_in(folder: Path, name: str) -> list[psutil.Process]:
    """Return the live processes called `name` whose working folder is `folder`; a reused pid or a zombie is none."""
    found = []
    for process in psutil.process_iter(["name", "status"]):
        try:
            if (
                (process.info["name"] or "").startswith(name)
                and process.info["status"] != psutil.STATUS_ZOMBIE
                and Path(process.cwd()) == folder
            ):
                found.append(process)
        except psutil.Error:  # it ended meanwhile, or is another user's
            continue
    return found


def clear_out(folder: Path, name: str, ladder: Ladder) -> None:
    """Wait for servers left over by a dead supervisor to end, asking them by the ladder's signals.

    Call it only while holding the data folder's lock. Raises UserError when one survives the ladder.
    """
    left = running_in(folder, name)
    if left:
        log.warning("left_over_servers", program=name, pids=[process.pid for process in left])
    for step, patience in ladder:
        pids = {process.pid for process in left}
        for process in left:
            _signal_leader(process, pids, step)
        psutil.wait_procs(left, timeout=patience.total_seconds())
        left = running_in(folder, name)
        if not left:
            return
    if left:
        pids_text = ", ".join(str(process.pid) for process in left)
        raise UserError(
            f"{name} still runs in {folder} (process {pids_text}) and does not stop; end it, then start again"
        )


def _signal_leader(process: psutil.Process, pids: set[int], step: signal.Signals) -> None:
    """Signal a process unless its parent is among those signalled, since a server ends its own children."""
    try:
        if process.ppid() not in pids:
            process.send_signal(step)
    except psutil.Error:  # it ended meanwhile
        return
