"""`fieldpost migrate`: brings the tables up to this version."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from models import schema
from ops_api.cli.options import AsJson, Data
from ops_api.cli.output import print_json
from ops_api.cli.session import begin, open_runtime

_WAIT = 300.0

app = typer.Typer(add_completion=False)


@app.command()
def migrate(
    data: Data = None,
    wait: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="How long to wait for a database that is away.")
    ] = _WAIT,
    as_json: AsJson = False,
) -> None:
    """Bring the database's tables up to this version; harmless when they are, and when several run at once.

    A database that is away, or starts, is waited for, so that a machine may boot in any order.

    Example: FIELDPOST_DATABASE_URL=postgresql://app@db/fieldpost fieldpost migrate

    Exit codes: 0 the tables are those of this version, 2 bad input or configuration.
    """
    settings, where = begin("migrate", data)
    patience = timedelta(seconds=wait)
    with open_runtime(settings, where, create=True, patience=patience) as runtime, runtime.db.begin() as connection:
        revision = schema.current(connection)
    if as_json:
        print_json({"revision": revision})
    else:
        print(f"the tables are at migration {revision}")
