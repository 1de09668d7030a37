"""`fieldpost api`: the HTTP API alone."""

from __future__ import annotations

from typing import Annotated

import typer

from ops_api.app import make_app, make_server
from ops_api.cli.address import HOST, PORT, reserve
from ops_api.cli.options import Data
from ops_api.cli.worker import for_role
from pipeline.runtime.collecting import calm_the_collector
from pipeline.runtime.settings import read_settings

app = typer.Typer(add_completion=False)


@app.command()
def api(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = HOST,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port to listen on; 0 takes a free one.")] = PORT,
    data: Data = None,
) -> None:
    """Run the HTTP API alone, until SIGTERM or Ctrl-C.

    It needs FIELDPOST_DATABASE_URL, FIELDPOST_REDIS_URL and FIELDPOST_SECRET_KEY, or a `fieldpost up` running in the
    data folder.

    Example: fieldpost api --host 0.0.0.0 --port 8025

    Exit codes: 2 bad input or configuration, 130 or 143 stopped by a signal.
    """
    settings = for_role("api", read_settings(), data)
    server = make_server(make_app(settings), host, reserve(host, port))
    calm_the_collector()
    server.run()
