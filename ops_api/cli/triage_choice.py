"""Which policy a command of `fieldpost triage` means, and over which seeds; refused in one line."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from ops_api.cli.triage_rules import read_file
from pipeline.core import tuned
from pipeline.core.triage_policy import BUILT_IN, TriagePolicy
from pipeline.runtime.errors import UserError

_RANGE = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?")
_MOST_SEEDS = 200

Assets: TypeAlias = Annotated[int, typer.Option(min=6, max=5_000, metavar="N", help="Assets of each fleet.")]
Days: TypeAlias = Annotated[int, typer.Option(min=2, max=365, metavar="N", help="Days that each fleet is watched.")]
Processes: TypeAlias = Annotated[int, typer.Option(min=1, max=64, metavar="N", help="Processes that replay.")]
Picture: TypeAlias = Annotated[
    Path | None,
    typer.Option("--picture", metavar="FILE.svg", help="Draw calibration and cost into it.", show_default=False),
]


def seeds_of(said: str) -> range:
    """Return the seeds of `1-20` or `7`. Raises UserError in words."""
    match = _RANGE.fullmatch(said.strip())
    if match is None:
        raise UserError(f"write seeds like 1-20, not {said[:40]!r}")
    first, last = int(match[1]), int(match[2] or match[1])
    if not first <= last < first + _MOST_SEEDS:
        raise UserError(f"seeds go from low to high, at most {_MOST_SEEDS} of them: {said}")
    return range(first, last + 1)


def day_of(said: str) -> datetime:
    """Return when a day like `2027-06-30` begins (UTC). Raises UserError in words."""
    try:
        return datetime.combine(date.fromisoformat(said), time(), tzinfo=UTC)
    except ValueError:
        raise UserError(f"write a day like 2027-06-30, not {said[:40]!r}") from None


def policy_of(said: str) -> TriagePolicy:
    """Return a policy that comes with Fieldpost, by name, or that of a file, which has the rest of the built-in one.

    Raises UserError in words.
    """
    found = tuned.named(said)
    if found is not None:
        return found
    try:
        return TriagePolicy.change(BUILT_IN, read_file(said))
    except ValueError as error:
        raise UserError(f"{said[:200]}: {error}") from None


def write(path: Path, content: bytes) -> None:
    """Write a file that a command was asked for. Raises UserError in words."""
    try:
        path.write_bytes(content)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from None
