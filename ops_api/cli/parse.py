"""`fieldpost parse`: what the parser understands of mail in files; nothing is stored."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from ops_api.cli.output import print_fields, print_json
from pipeline.core import mime

#: The most that is stored of one message; a larger file is no single mail.
_LIMIT = 64 * 1024 * 1024
_SHOWN = 2_000

app = typer.Typer(add_completion=False)


@app.command()
def parse(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Raw mails (.eml).", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per file, one per line.")] = False,
) -> None:
    """Show what is understood of mail in files; stores nothing and needs no database.

    Example: fieldpost parse complaint.eml --json

    With --json the objects come in the order given; a file that cannot be read has an `error`. `fresh` is the text
    without quotes and signature, `forwarded_from` who wrote what is forwarded, `delivery` what a delivery report says.

    Exit codes: 0 every file was understood, 1 one was not.
    """
    failed = False
    for path in files:
        described = _describe(path)
        failed |= "error" in described
        if as_json:
            print_json(described)
        else:
            _show(described)
    if failed:
        raise typer.Exit(1)


def _describe(path: Path) -> dict[str, object]:
    name = os.fsencode(path).decode("utf-8", "replace")
    try:
        return {"file": name, **mime.describe(mime.parse(_read(path)))}
    except OSError as error:
        return {"file": name, "error": f"cannot be read: {error.strerror or error}"}
    except ValueError as error:
        return {"file": name, "error": str(error)}


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        raw = file.read(_LIMIT + 1)
    if len(raw) > _LIMIT:
        raise ValueError(f"larger than {_LIMIT} bytes: no single mail; `fieldpost import` reads an mbox")
    return raw


def _show(described: Mapping[str, object]) -> None:
    fields = dict(described)
    fields["recipient"] = _one_line(fields.get("recipient"))
    attachments = fields.get("attachments")
    if isinstance(attachments, list):
        fields["attachments"] = "\n".join(map(_file, attachments))
    delivery = fields.get("delivery")
    if isinstance(delivery, list):
        fields["delivery"] = "\n".join(map(_delivery, delivery))
    text, fresh = str(fields.pop("text", "")), str(fields.pop("fresh", ""))
    if fresh != text:
        fields["fresh"] = _shortened(fresh)
    fields["text"] = _shortened(text)
    print_fields(
        (name, ", ".join(map(str, value)) if isinstance(value, list) else value) for name, value in fields.items()
    )
    print()


def _file(attachment: Mapping[str, object]) -> str:
    warning = ", DANGEROUS" if attachment["dangerous"] else ""
    return f"{attachment['filename']} ({attachment['content_type']}, {attachment['size']} bytes{warning})"


def _delivery(told: Mapping[str, object]) -> str:
    return " ".join(str(word) for word in told.values() if word)


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _one_line(recipient: object) -> str | None:
    if not isinstance(recipient, Mapping):
        return None
    return f"{recipient['address'] or 'unknown'} (from {recipient['source']}, confidence {recipient['confidence']})"
