"""`fieldpost raw`: the bytes of a message as its mailbox holds them."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Connection

from models.enums import BlobKind
from models.queries import raw as queries
from ops_api.cli.options import Data
from ops_api.cli.output import remark
from ops_api.cli.session import begin, open_runtime
from pipeline.adapters.blobs import open_blob_store
from pipeline.runtime.errors import UserError

app = typer.Typer(add_completion=False)

_LARGEST_ID = 2**63 - 1
_HASH = re.compile(r"sha256:([0-9a-f]{64})")
_MANY = 10


@app.command()
def raw(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="An occurrence's id, a Message-ID, or sha256:<hash> as `fieldpost export` names it.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="A new file; stdout without it.", show_default=False),
    ] = None,
    message: Annotated[bool, typer.Option("--message", help="The number is a message's id.")] = False,
    data: Data = None,
) -> None:
    """Write out the raw bytes of a message, unchanged: also of one that could not be read, or was set aside.

    Example: fieldpost raw 4711 -o complaint.eml

    Nothing is printed on a terminal, since a mail may hold what terminals obey.

    Exit codes: 0 written, 1 the bytes are not in the blob store, 2 bad input or configuration.
    """
    if output is None and sys.stdout.isatty():
        raise UserError("a mail may hold what a terminal obeys; name a file with -o, or redirect the output")
    settings, where = begin("raw", data)
    with open_runtime(settings, where) as runtime:
        with runtime.db.begin() as connection:
            sha256 = _find(connection, name.strip(), is_message=message)
        assert runtime.settings.blob_url is not None
        content = open_blob_store(runtime.settings.blob_url).get(BlobKind.RAW, [sha256]).get(sha256)
    if content is None:
        remark(f"the bytes of {name} (sha256:{sha256}) are not in the blob store")
        raise typer.Exit(1)
    _write(content, output)


def _find(connection: Connection, name: str, *, is_message: bool) -> str:
    hashed = _HASH.fullmatch(name)
    if hashed:
        if not queries.is_kept(connection, hashed[1]):
            raise UserError(f"no message has raw bytes with the hash {hashed[1]}")
        return hashed[1]
    if name.isascii() and name.isdecimal() and int(name) <= _LARGEST_ID:
        return _by_number(connection, int(name), is_message=is_message)
    if "@" not in name and not name.startswith("<"):
        raise UserError(f"{name!r} is no occurrence's id, Message-ID or sha256:<hash>; `fieldpost export` lists them")
    found = queries.of_message_id(connection, name if name.startswith("<") else f"<{name}>")
    if len(found) > 1:
        listed = ", ".join(f"sha256:{one}" for one in found[:_MANY])
        raise UserError(f"{len(found)} messages have this Message-ID; name one of {listed}")
    if not found:
        raise UserError(f"no message has the Message-ID {name}")
    return found[0]


def _by_number(connection: Connection, number: int, *, is_message: bool) -> str:
    if is_message:
        sha256 = queries.of_message(connection, number)
        if sha256 is None:
            raise UserError(f"there is no message {number}")
        return sha256
    found = queries.of_occurrence(connection, number)
    if found is None:
        raise UserError(f"there is no occurrence {number}; for a message's id add --message")
    if found.sha256 is None:
        raise UserError(f"occurrence {number} is {found.state.value}: its bytes were not fetched")
    return found.sha256


def _write(content: bytes, output: Path | None) -> None:
    if output is None:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    try:
        with output.open("xb") as file:
            file.write(content)
    except FileExistsError as error:
        raise UserError(f"{output} exists already; name a new file") from error
    except OSError as error:
        raise UserError(f"{output} cannot be written: {error.strerror or error}") from error
