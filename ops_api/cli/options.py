"""The options that many commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

#: The largest id that the database can hold; a larger number is told before it is asked.
LARGEST_ID = 2**63 - 1

Data: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="Folder of the embedded database, the raw mail and the logs; FIELDPOST_DATA_DIR, else a folder of the "
        "user's own.",
        show_default=False,
    ),
]
AsJson: TypeAlias = Annotated[
    bool, typer.Option("--json", help="End with one JSON value on stdout; everything else goes to stderr.")
]
Mailbox: TypeAlias = Annotated[str, typer.Argument(metavar="MAILBOX", help="Its address or id.", show_default=False)]
Ticket: TypeAlias = Annotated[
    str, typer.Argument(metavar="TICKET", help="Its code (tkt-...) or id.", show_default=False)
]
Yes: TypeAlias = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Organization: TypeAlias = Annotated[
    str | None,
    typer.Option("--org", metavar="NAME", help="The organization, when there are several.", show_default=False),
]
