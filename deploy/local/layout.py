"""The data folder: what lies where, which versions wrote it, and a socket folder whose path is short enough."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.runtime.errors import UserError

LAYOUT = 1
SOCKET_PATH_BYTES = 103 if sys.platform == "darwin" else 107
POSTGRES_SOCKET = ".s.PGSQL.5432"
VALKEY_SOCKET = "valkey.sock"
_OWN_NAMES = frozenset({"pg", "valkey", "run", "blobs", "logs", "server", "VERSION", "fieldpost.lock", "RESTORING"})
_SEPARATES_HOSTS = ',"'  # libpq and the server read a socket folder as a list


@dataclass(frozen=True, slots=True)
class Version:
    """Who wrote a data folder: the layout's number and PostgreSQL's major (None before the first initdb)."""

    layout: int
    postgres: int | None


@dataclass(frozen=True, slots=True)
class DataDir:
    """The data folder and the names inside it; `path` is absolute and free of symbolic links."""

    path: Path

    @classmethod
    def at(cls, path: Path) -> DataDir:
        """Return the data folder at `path` (`~` and symbolic links resolved); creates nothing."""
        return cls(path.expanduser().resolve())

    @property
    def pg(self) -> Path:
        """Return the folder above PostgreSQL's data; belongs to the account the server runs as."""
        return self.path / "pg"

    @property
    def pgdata(self) -> Path:
        """Return PostgreSQL's data folder."""
        return self.pg / "pgdata"

    @property
    def valkey(self) -> Path:
        """Return the folder of Valkey's append-only file."""
        return self.path / "valkey"

    @property
    def run(self) -> Path:
        """Return the folder of the sockets, unless its path is too long (see `socket_folder`)."""
        return self.path / "run"

    @property
    def blobs(self) -> Path:
        """Return the folder of the raw messages."""
        return self.path / "blobs"

    @property
    def logs(self) -> Path:
        """Return the folder of the servers' and roles' logs."""
        return self.path / "logs"

    @property
    def server(self) -> Path:
        """Return the folder of copied server programs; only root with an unreachable installation needs it."""
        return self.path / "server"

    @property
    def version_file(self) -> Path:
        """Return the file that tells who wrote this folder."""
        return self.path / "VERSION"

    @property
    def restoring_file(self) -> Path:
        """Return the mark of a restore that has not ended: nobody may work on what lies here."""
        return self.path / "RESTORING"

    @property
    def lock_file(self) -> Path:
        """Return the file the running supervisor holds locked."""
        return self.path / "fieldpost.lock"

    def create(self) -> None:
        """Make the folder, private to the caller unless it exists; raises UserError when that is impossible."""
        with told(self.path):
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def create_parts(self) -> None:
        """Make the folders that belong to the caller; raises UserError when that is impossible."""
        with told(self.path):
            for folder in (self.valkey, self.blobs, self.logs):
                folder.mkdir(mode=0o700, exist_ok=True)

    def is_ours(self) -> bool:
        """Tell whether nothing but Fieldpost's own files lies here, so that its mode may be widened."""
        return self.version_file.exists() or {entry.name for entry in self.path.iterdir()} <= _OWN_NAMES


@contextlib.contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn an OSError about `path` into a UserError that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            advice = "the disk is full: free some space, or choose another folder with --data"
        elif isinstance(error, PermissionError):
            advice = "it belongs to another user: run as that user, or choose another folder with --data"
        else:
            advice = "choose another folder with --data"
        raise UserError(f"the data folder {path} cannot be used ({error}); {advice}") from error


def default_data_dir(is_root: bool, environment: Mapping[str, str]) -> Path:
    """Return where data lies when nothing is said: /var/lib for root, else the XDG state folder.

    A relative XDG_STATE_HOME is ignored (XDG Base Directory Specification).
    """
    if is_root:
        return Path("/var/lib/fieldpost")
    state_home = environment.get("XDG_STATE_HOME", "")
    if Path(state_home).is_absolute():
        return Path(state_home) / "fieldpost"
    home = environment.get("HOME") or Path.home()
    return Path(home) / ".local" / "state" / "fieldpost"


def read_version(data: DataDir) -> Version | None:
    """Return who wrote the data folder, None for a new one; raises UserError for an unreadable VERSION."""
    pg_version = data.pgdata / "PG_VERSION"
    with told(data.path):
        postgres = int(pg_version.read_text().strip()) if pg_version.exists() else None
        text = data.version_file.read_text() if data.version_file.exists() else None
    if text is None:
        return Version(LAYOUT, postgres) if postgres else None
    try:
        written = json.loads(text)
        layout, noted = int(written["layout"]), written.get("postgres")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{data.version_file} is damaged ({error}); restore it from a backup, "
            f'or write {{"layout": {LAYOUT}, "postgres": {postgres or "null"}}} into it'
        ) from error
    return Version(layout, postgres or noted)


def check_version(data: DataDir, major: int | None) -> None:
    """Refuse, with a UserError, data of a newer layout, or of another PostgreSQL major than `major` (None: any)."""
    version = read_version(data)
    if version is None:
        return
    if version.layout > LAYOUT:
        raise UserError(
            f"{data.path} was written by a newer Fieldpost (layout {version.layout}, this one knows {LAYOUT}); "
            "start it with that newer version, or choose another folder with --data"
        )
    if major is not None and version.postgres is not None and version.postgres != major:
        relation = "newer" if version.postgres > major else "older"
        raise UserError(
            f"{data.pgdata} was written by PostgreSQL {version.postgres}, {relation} than the PostgreSQL {major} found "
            f"here, which cannot read it. Dump it with PostgreSQL {version.postgres} (pg_dump), move the folder away, "
            f"start again and restore the dump; or let Fieldpost use PostgreSQL {version.postgres}'s programs"
        )


def check_whole(data: DataDir) -> None:
    """Refuse, with a UserError, a folder that a restore was writing into when it was cut short."""
    if data.restoring_file.exists():
        raise UserError(
            f"a restore into {data.path} was cut short, and what lies there may send mail twice: remove that folder "
            "and restore again"
        )


def write_version(data: DataDir, major: int) -> None:
    """Note the layout and PostgreSQL's major beside the data; the old note stays whole if this is cut short."""
    fresh = data.version_file.with_suffix(".new")
    with told(data.path):
        fresh.write_text(json.dumps({"layout": LAYOUT, "postgres": major}) + "\n")
        fresh.replace(data.version_file)


def socket_folder(data: DataDir, temporary: Path | None = None) -> Path:
    """Return the folder for the sockets: `run` in the data folder, else a short private one in the temporary folder.

    The kernel limits a socket's path to 107 bytes (103 on macOS). The fall-back's parent belongs to the caller alone
    and is checked, since others may write to the temporary folder too. Only that parent is created here.
    """
    if _fits(data.run):
        return data.run
    parent = (temporary or Path(tempfile.gettempdir()).resolve()) / f"fieldpost-{os.geteuid()}"
    folder = parent / hashlib.sha256(os.fsencode(data.path)).hexdigest()[:12]
    if not _fits(folder):
        raise UserError(
            f"{data.path} is too long a path for sockets (limit {SOCKET_PATH_BYTES} bytes), and so is {folder}; "
            "choose a shorter folder with --data"
        )
    _private(parent)
    return folder


def _fits(folder: Path) -> bool:
    """Tell whether PostgreSQL's socket fits into `folder` and no client would read its name as a list."""
    name = os.fspath(folder)
    return len(os.fsencode(folder / POSTGRES_SOCKET)) <= SOCKET_PATH_BYTES and not set(name) & set(_SEPARATES_HOSTS)


def _private(folder: Path) -> None:
    """Make `folder` or verify it: no link, owned by the caller, closed to others (root's may be passed through)."""
    allowed = 0o711 if os.geteuid() == 0 else 0o700
    with told(folder):
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=allowed)
            folder.chmod(allowed)  # whatever the umask took away
        found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & ~allowed:
        raise UserError(
            f"{folder} is needed for sockets but is not a private folder of this user (owner {found.st_uid}, mode "
            f"{stat.S_IMODE(found.st_mode):04o}); remove it, or choose a shorter folder with --data"
        )
