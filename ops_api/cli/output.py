"""How commands speak: results to stdout as JSON or tables, everything else to stderr."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Sequence

import orjson
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ops_api.wording import ago, line_of, span

__all__ = (
    "ago", "line_of", "print_fields", "print_json", "print_table", "remark", "span", "to_stderr", "to_stdout",
)  # fmt: skip

_PIPE_WIDTH = 240


def to_stdout() -> Console:
    """Return the console for results; a pipe or file is as wide as a long line."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)


def to_stderr() -> Console:
    """Return the console for progress and remarks."""
    return Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())


def remark(said: str) -> None:
    """Tell something beside the result, as a line on stderr."""
    to_stderr().print(escape(said))


def print_json(value: object) -> None:
    """Write one JSON value as one line to stdout, whatever the terminal's encoding is."""
    sys.stdout.flush()
    sys.stdout.buffer.write(orjson.dumps(value) + b"\n")
    sys.stdout.buffer.flush()


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str, wrapped: Collection[str] = ()
) -> None:
    """Write a table to stdout, or the sentence `empty` when there is no row; None is shown as a dash.

    The columns named in `wrapped` give way when the terminal is narrow; the others stay on one line.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, overflow="fold", no_wrap=name not in wrapped)
    for row in rows:
        table.add_row(*(escape("-" if cell is None else str(cell)) for cell in row))
    to_stdout().print(table if table.row_count else empty)


def print_fields(fields: Iterable[tuple[str, object]]) -> None:
    """Write names and values below each other; a value of None is left out."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    for name, value in fields:
        if value is not None:
            grid.add_row(name, escape(str(value)))
    to_stdout().print(grid)
