"""`fieldpost backup`: a verified copy of everything, while it runs; with --follow the log and new mail as they come."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from deploy.local.attach import attach
from deploy.local.backup import Origin, newest_copy, take
from deploy.local.backup_folder import BackupFolder, Manifest
from deploy.local.binaries import find_postgres
from deploy.local.following import PACE, Follower
from deploy.local.layout import DataDir
from deploy.local.signals import stop_signals_blocked
from deploy.local.supervisor import Supervisor
from ops_api.cli.options import AsJson, Data
from ops_api.cli.output import print_fields, print_json, print_table, remark
from ops_api.cli.session import data_dir, fill
from pipeline.adapters.clock import SystemClock
from pipeline.runtime.db import Database
from pipeline.runtime.errors import UserError
from pipeline.runtime.logs import set_up_logs
from pipeline.runtime.secrets import Secrets
from pipeline.runtime.settings import Settings, read_settings

_KEEP = 3
#: A count of millions of rows takes its time.
_PATIENCE = timedelta(hours=1)

app = typer.Typer(add_completion=False)


@app.command()
def backup(
    folder: Annotated[Path, typer.Argument(help="Where to: on another disk or machine.", show_default=False)],
    keep: Annotated[int, typer.Option(min=1, max=1000, help="Copies to keep; older ones are removed.")] = _KEEP,
    follow: Annotated[bool, typer.Option("--follow", help="Go on: receive every change as it is made.")] = False,
    *,
    list_only: Annotated[bool, typer.Option("--list", help="Show the copies that are there, and end.")] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Copy the embedded database and all raw mail to a folder, while everything runs; each copy is verified.

    With --follow it stays, receives the database's log as it is written and copies new mail each second, until SIGTERM
    or Ctrl-C: what is lost with the machine is then the last second or two. A full or absent disk never holds up
    Fieldpost. The secret key is NOT in a backup: keep `secret.key` of the data folder elsewhere. Restore with
    `fieldpost restore`. A PostgreSQL of your own is backed up with its own tools: docs/operations.md.

    Example: fieldpost backup /mnt/backup/fieldpost --keep 7

    Exit codes: 0 the copy is whole, 2 bad input or configuration, or no copy could be made, 130 or 143 stopped by a
    signal.
    """
    settings = read_settings()
    set_up_logs(settings.log_format, "info" if follow else "warning", "backup")
    target = BackupFolder.at(folder)
    if list_only:
        _show(target.copies(), as_json=as_json)
        return
    with _origin(settings, data_dir(settings, data), start=not follow) as (origin, logs):
        if follow:
            _follow(origin, target, logs, keep)
        _tell(take(origin, target, keep), target, as_json=as_json)


@contextmanager
def _origin(settings: Settings, data: DataDir, *, start: bool) -> Iterator[tuple[Origin, Path]]:
    """Give the block what is backed up, and the folder of logs; servers that do not run are started, with `start`."""
    if settings.database_url is not None:
        raise UserError(
            "FIELDPOST_DATABASE_URL names your own PostgreSQL: back it up with its own tools, see docs/operations.md"
        )
    with ExitStack() as stack:
        endpoints = attach(data.path)
        if endpoints is None:
            if not start or not data.pgdata.exists():
                raise UserError(
                    f"nothing runs in {data.path}: start it with `fieldpost up`, or name its folder by --data"
                )
            supervisor = Supervisor(data.path, redis_url=settings.redis_url)
            supervisor.start()
            stack.callback(_stop, supervisor)
            endpoints = supervisor.endpoints
        complete = fill(settings, data, endpoints, make_key=False)
        assert complete.blob_url is not None
        url = endpoints.database_url
        db = stack.enter_context(closing(Database(url, "backup", pool_size=1, statement_timeout=_PATIENCE)))
        key_id = Secrets.of(complete).key_id if complete.secret_key is not None else None
        yield Origin(db, url, find_postgres(), complete.blob_url, key_id, newest_copy(data)), data.logs


def _stop(supervisor: Supervisor) -> None:
    with stop_signals_blocked():
        supervisor.stop()


def _follow(origin: Origin, target: BackupFolder, logs: Path, keep: int) -> None:
    """Follow until a signal ends this process; the receiver ends with it."""
    clock = SystemClock()
    target.create()
    with target.lock("following"):
        follower = Follower(origin, target, logs, keep)
        try:
            remark(f"following into {target.path}; stop with Ctrl-C or SIGTERM")
            while True:
                follower.step()
                clock.wait(PACE)
        finally:
            with stop_signals_blocked():
                follower.close()


def _tell(manifest: Manifest, target: BackupFolder, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(manifest))
        return
    log = f"followed as {manifest.chain}" if manifest.chain else "only its own: `--follow` receives it as it is made"
    print_fields(
        [
            ("copy", f"{target.path}/base/{manifest.name}"),
            ("as of", f"{manifest.finished_at:%Y-%m-%d %H:%M:%S} UTC, migration {manifest.revision}"),
            ("size", f"{manifest.size // 1_000_000} MB, {manifest.counts.get('messages', 0)} messages"),
            ("log", log),
            ("blobs", "copied" if manifest.blobs == "file" else f"stay in their {manifest.blobs} bucket"),
            ("key", f"{manifest.key_id}: not in the backup, keep it elsewhere" if manifest.key_id else None),
        ]
    )


def _show(copies: list[Manifest], *, as_json: bool) -> None:
    if as_json:
        print_json([asdict(one) for one in copies])
        return
    rows = [
        (one.name, f"{one.finished_at:%Y-%m-%d %H:%M:%S}", one.revision, one.counts.get("messages", 0),
         f"{one.size // 1_000_000} MB", one.chain, one.key_id)
        for one in copies
    ]  # fmt: skip
    columns = ("copy", "as of (UTC)", "migration", "messages", "size", "log", "key")
    print_table(columns, rows, empty="there is no whole copy here")
