"""Assets out of a table in a CSV file: every row checked, and what is wrong told by its line."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from pipeline.core.scoring import asset_key
from pipeline.core.text import is_writable

#: So many rows make one import.
MOST_ROWS = 100_000
MOST_ALIASES, LONGEST_NAME, LONGEST_WORD = 20, 200, 100
#: What a column may be called. `aliases` are parted by semicolons, `site` is a site's name or id.
COLUMNS = ("tag", "name", "aliases", "kind", "zone", "lat", "lon", "site")
#: A row more than this tells nothing new.
MOST_PROBLEMS = 1_000


@dataclass(frozen=True, slots=True)
class AssetRow:
    """One asset as a file tells it; what its columns do not tell is as good as blank."""

    line: int
    tag: str
    name: str = ""
    aliases: tuple[str, ...] = ()
    kind: str = ""
    zone: str | None = None
    lat: float | None = None
    lon: float | None = None
    site: str | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong in a line of the file, the heading being line 1."""

    line: int
    said: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.said}"


@dataclass(frozen=True, slots=True)
class AssetFile:
    """What a file holds: all of its rows, or what is wrong with it."""

    columns: frozenset[str] = frozenset()
    rows: Sequence[AssetRow] = ()
    problems: Sequence[Problem] = field(default=())


def read_assets(lines: Iterable[str]) -> AssetFile:
    """Return the assets of a CSV file whose first line names its columns (`COLUMNS`); `tag` must be one of them."""
    table = csv.reader(lines, strict=True)
    try:
        heading = [name.strip().lower().lstrip("\ufeff") for name in next(table, [])]
        problems = list(_heading_problems(heading))
        if problems:
            return AssetFile(problems=problems)
        rows, problems = _rows(table, heading)
    except csv.Error as error:
        return AssetFile(problems=[Problem(table.line_num, f"is no CSV: {error}")])
    return AssetFile(frozenset(heading), () if problems else rows, problems)


def _heading_problems(heading: Sequence[str]) -> Iterator[Problem]:
    unknown = [name for name in heading if name not in COLUMNS]
    if "tag" not in heading:
        yield Problem(1, f"names no column tag; the columns are {', '.join(COLUMNS)}")
    elif unknown:
        yield Problem(1, f"names a column {unknown[0][:40]!r}; the columns are {', '.join(COLUMNS)}")
    elif len(set(heading)) < len(heading):
        yield Problem(1, "names a column twice")


def _rows(table: Iterator[list[str]], heading: Sequence[str]) -> tuple[list[AssetRow], list[Problem]]:
    rows: list[AssetRow] = []
    problems: list[Problem] = []
    seen: dict[str, int] = {}
    for number, cells in enumerate(table):
        line = int(getattr(table, "line_num", number + 2))
        if not any(cell.strip() for cell in cells):
            continue
        if len(rows) + len(problems) >= MOST_ROWS:
            problems.append(Problem(line, f"is one too many: a file has at most {MOST_ROWS} assets; split it"))
            break
        found = _row(line, dict(zip(heading, (cell.strip() for cell in cells), strict=False)), len(cells), len(heading))
        if isinstance(found, AssetRow) and (before := seen.setdefault(asset_key(found.tag), line)) != line:
            found = Problem(line, f"tells of {found.tag} again, which line {before} does")
        if isinstance(found, AssetRow):
            rows.append(found)
        else:
            problems.append(found)
            if len(problems) >= MOST_PROBLEMS:
                break
    return rows, problems


def _row(line: int, cells: Mapping[str, str], found: int, expected: int) -> AssetRow | Problem:
    if found != expected:
        return Problem(line, f"has {found} cells where the heading has {expected}")
    aliases = tuple(dict.fromkeys(filter(None, (one.strip() for one in cells.get("aliases", "").split(";")))))
    said = next(_wrong(cells, aliases), None)
    if said is not None:
        return Problem(line, said)
    lat, lon = (float(cells[name]) if cells.get(name) else None for name in ("lat", "lon"))
    return AssetRow(
        line, cells["tag"], cells.get("name", ""), aliases, cells.get("kind", ""), cells.get("zone") or None, lat, lon,
        cells.get("site") or None,
    )  # fmt: skip


def _wrong(cells: Mapping[str, str], aliases: Sequence[str]) -> Iterator[str]:
    """Yield what is wrong with the cells of one row."""
    if not cells["tag"]:
        yield "has no tag"
    for name, value in cells.items():
        if not is_writable(value):
            yield f"{name} holds a control character"
        longest = LONGEST_WORD if name in ("kind", "zone") else LONGEST_NAME
        if name != "aliases" and len(value) > longest:
            yield f"{name} has more than {longest} characters"
    if len(aliases) > MOST_ALIASES or any(len(alias) > LONGEST_NAME for alias in aliases):
        yield f"has more than {MOST_ALIASES} aliases, or one of more than {LONGEST_NAME} characters"
    for name, most in (("lat", 90), ("lon", 180)):
        if cells.get(name) and not _within(cells[name], most):
            yield f"{name} is a number from -{most} to {most}, not {cells[name][:20]!r}"


def _within(said: str, most: int) -> bool:
    try:
        return -most <= float(said) <= most
    except ValueError:
        return False


def first_of(problems: Sequence[Problem], most: int = 20) -> list[str]:
    """Return the first problems in words, and how many more there are."""
    told = [str(problem) for problem in islice(problems, most)]
    return told if len(problems) <= most else [*told, f"and {len(problems) - most} more"]
