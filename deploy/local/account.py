"""Which account PostgreSQL runs as: the caller, or, since it refuses root, an unprivileged account.

Root drops to `postgres`, else `nobody`. Where that account cannot pass a parent of the data folder, a user namespace
in which root is seen as nobody does. Parents are never opened to others and accounts never created.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.local.layout import DataDir, told
from pipeline.runtime.errors import UserError

_CANDIDATES = ("postgres", "nobody")
_NAMESPACE = ("unshare", "--user", "--map-user=65534", "--map-group=65534")


@dataclass(frozen=True, slots=True)
class Account:
    """An existing account: its name and numbers."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class RunAs:
    """How the server is started: `account` to drop to (None: stay), `prefix` of its command, owner of its files."""

    uid: int
    gid: int
    account: Account | None = None
    prefix: tuple[str, ...] = ()


def unprivileged() -> Account | None:
    """Return the account root drops to: `postgres`, else `nobody`; None when neither exists."""
    for name in _CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid:
            return Account(name, entry.pw_uid, entry.pw_gid)
    return None


def choose(data: DataDir, others: Sequence[Path] = ()) -> RunAs:
    """Decide how PostgreSQL runs over `data`; `others` are further folders it must be able to enter.

    As root the mode of the data folder itself (never a parent's) may grow to 0711. Raises UserError when no way works.
    """
    if os.geteuid() != 0:
        return RunAs(os.geteuid(), os.getegid())
    account = _owner(data) or unprivileged()
    if account is not None and _opened(account, data) and all(may_enter(account, folder) for folder in others):
        return RunAs(account.uid, account.gid, account)
    if namespace_works():
        return RunAs(0, 0, prefix=_NAMESPACE)
    raise UserError(_no_way(account, data))


def may_enter(account: Account, folder: Path) -> bool:
    """Tell whether `account` can enter `folder` (and so pass all its parents); the kernel is asked, not mode bits."""
    return _try_as(account, ["/bin/sh", "-c", 'test -x "$1"', "sh", os.fspath(folder)])


def may_run(account: Account, program: Path) -> bool:
    """Tell whether `account` can start `program` with --version."""
    return _try_as(account, [os.fspath(program), "--version"])


def own(run_as: RunAs, folder: Path) -> None:
    """Make `folder` if needed, private, and give it and what lies in it to the server's account."""
    with told(folder):
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode):
            raise UserError(f"{folder} is not a folder; move it away")
        if os.geteuid() == 0 and found.st_uid != run_as.uid:
            _give(run_as, folder)
        if stat.S_IMODE(found.st_mode) != 0o700:
            folder.chmod(0o700)


def _give(run_as: RunAs, folder: Path) -> None:
    """Change the owner of a whole tree without following links; the top last, so that a cut is noticed and repeated."""
    for _, folders, files, handle in os.fwalk(folder):
        for name in (*folders, *files):
            os.chown(name, run_as.uid, run_as.gid, dir_fd=handle, follow_symlinks=False)
    os.chown(folder, run_as.uid, run_as.gid, follow_symlinks=False)


def _owner(data: DataDir) -> Account | None:
    """Return the account that already owns the database, so that root keeps serving it as that account."""
    try:
        uid = data.pgdata.stat().st_uid
        entry = pwd.getpwuid(uid)
    except (OSError, KeyError):
        return None
    return Account(entry.pw_name, uid, entry.pw_gid) if uid else None


def _opened(account: Account, data: DataDir) -> bool:
    """Tell whether `account` can enter the data folder, letting it pass if the folder itself is what stops it."""
    if may_enter(account, data.path):
        return True
    if not may_enter(account, data.path.parent) or not data.is_ours():
        return False
    with told(data.path):
        data.path.chmod(stat.S_IMODE(data.path.stat().st_mode) | 0o011)
    return may_enter(account, data.path)


def _try_as(account: Account, argv: Sequence[str]) -> bool:
    """Run a short command as `account` and tell whether it ended well."""
    try:
        done = subprocess.run(
            argv, user=account.uid, group=account.gid, extra_groups=[], cwd="/", env={"LC_ALL": "C"},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False, timeout=30,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


def namespace_works() -> bool:
    """Tell whether this machine lets root show itself as nobody in a user namespace."""
    if shutil.which(_NAMESPACE[0]) is None:
        return False
    done = subprocess.run(
        [*_NAMESPACE, "true"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False, timeout=30
    )
    return done.returncode == 0


def _no_way(account: Account | None, data: DataDir) -> str:
    """Say why root cannot start PostgreSQL here and what to do."""
    reason = (
        "there is no account named postgres or nobody"
        if account is None
        else f"the account {account.name}, which must serve it instead, cannot enter {data.path}"
    )
    return (
        f"PostgreSQL does not run as root, and {reason}; choose a folder such as /var/lib/fieldpost with --data, "
        "start Fieldpost as an ordinary user, or give FIELDPOST_DATABASE_URL"
    )
