"""`fieldpost worker`: one worker alone, for machines that run nothing else."""

from __future__ import annotations

from typing import Annotated

import typer

from actors.worker import run
from models.enums import Lane
from ops_api.cli.options import Data
from ops_api.cli.session import data_dir, fill, find_endpoints
from pipeline.runtime.errors import UserError
from pipeline.runtime.logs import set_up_logs
from pipeline.runtime.settings import Settings, read_settings

app = typer.Typer(add_completion=False)


@app.command()
def worker(
    queues: Annotated[
        str, typer.Option("--queues", metavar="LANES", help="Lanes to serve, by commas.")
    ] = "live,repair,backfill",
    data: Data = None,
) -> None:
    """Run one worker alone until SIGTERM or Ctrl-C; what it holds is given back uncharged.

    It needs FIELDPOST_DATABASE_URL and FIELDPOST_REDIS_URL, or a `fieldpost up` running in the data folder.

    Example: fieldpost worker --queues live,repair

    Exit codes: 0 stopped in order, 2 bad input or configuration.
    """
    served = lanes(queues)
    run(for_role("worker", read_settings(), data), served)


def lanes(queues: str) -> list[Lane]:
    """Return the lanes of a comma-separated list. Raises `UserError` for an unknown one, or none."""
    names = [name.strip() for name in queues.split(",") if name.strip()]
    unknown = [name for name in names if name not in set(Lane)]
    if unknown or not names:
        known = ", ".join(Lane)
        raise UserError(f"unknown queue {', '.join(unknown) or queues!r}; known are {known}")
    return [Lane(name) for name in dict.fromkeys(names)]


def for_role(role: str, settings: Settings, data: Data) -> Settings:
    """Return complete settings for a long-running role, with its logs set up. Raises `UserError` without servers."""
    set_up_logs(settings.log_format, settings.log_level, role)
    where = data_dir(settings, data)
    endpoints = find_endpoints(settings, where)
    if endpoints is None:
        raise UserError(
            f"`fieldpost {role}` needs FIELDPOST_DATABASE_URL and FIELDPOST_REDIS_URL, or a `fieldpost up` running in "
            f"{where.path}"
        )
    return fill(settings, where, endpoints)
