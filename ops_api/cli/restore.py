"""`fieldpost restore`: a backup onto an empty box; or what a database needs that other tools restored."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr

from deploy.local import restore as restoring
from deploy.local.backup_folder import BackupFolder, Manifest
from deploy.local.binaries import find_postgres
from deploy.local.blob_copies import names
from deploy.local.layout import DataDir, told
from models.queries import queue
from models.queries import restoring as queries
from ops_api.cli.options import AsJson, Data, Yes
from ops_api.cli.output import print_fields, print_json, remark
from ops_api.cli.session import begin, data_dir, open_long, open_runtime
from pipeline.adapters.blobs import local_folder
from pipeline.commands import restoring as settling
from pipeline.runtime.errors import UserError
from pipeline.runtime.logs import set_up_logs
from pipeline.runtime.secrets import Secrets
from pipeline.runtime.settings import Settings, read_settings

app = typer.Typer(add_completion=False)


@app.command()
def restore(
    folder: Annotated[Path | None, typer.Argument(help="The backup folder.", show_default=False)] = None,
    data: Data = None,
    *,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="Stop before this moment (UTC).", show_default=False)
    ] = None,
    secret_key: Annotated[
        Path | None,
        typer.Option("--secret-key", metavar="FILE", help="The kept secret.key.", show_default=False),
    ] = None,
    without_key: Annotated[
        bool, typer.Option("--without-key", help="The key is lost: mailboxes are connected anew.")
    ] = False,
    settle: Annotated[
        bool, typer.Option("--settle", help="Other tools restored the database that the settings name.")
    ] = False,
    blobs_are_lost: Annotated[
        bool, typer.Option("--blobs-are-lost", help="With --settle: much raw mail is gone; read it again.")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Restore a backup into an empty data folder, up to its last change, or to a moment (--until).

    Mail that was about to leave is looked up at its provider before it is handed over again, numbers that may have been
    told since are not given out again, and mail since then is read from the mailboxes once `fieldpost up` runs. With
    --settle it does only that, to a PostgreSQL of your own that its own tools restored: stop workers and APIs first,
    and see that the blob folder is there, for mail whose bytes it lacks is read again. Blobs go to the folder that
    FIELDPOST_BLOB_URL names, else into --data; each is compared with its hash, and a damaged one is read again.

    Example: fieldpost restore /mnt/backup/fieldpost --data /var/lib/fieldpost --secret-key ~/secret.key

    Exit codes: 0 restored, 2 bad input or configuration, or the backup is damaged.
    """
    if settle:
        _settle(data, is_sure=yes, are_lost=blobs_are_lost, as_json=as_json)
        return
    if folder is None:
        raise UserError("name the backup folder, as in `fieldpost restore /mnt/backup/fieldpost --data NEW`")
    settings = read_settings()
    set_up_logs(settings.log_format, "warning", "restore")
    where, source, moment = data_dir(settings, data), BackupFolder.at(folder), _moment(until)
    copy = restoring.choose_copy(source, moment)
    key, blobs = _key(settings, secret_key, copy, is_lost=without_key), blob_folder(settings, copy)
    done = restoring.restore(source, where, find_postgres(), until=moment, blobs=blobs, key=key)
    _tell(done, where, as_json=as_json)


def _moment(said: str | None) -> datetime | None:
    if said is None:
        return None
    try:
        found = datetime.fromisoformat(said.strip())
    except ValueError:
        raise UserError(f"{said!r} is no time; write it as 2026-11-25T14:30:00 (UTC)") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _key(settings: Settings, file: Path | None, copy: Manifest, *, is_lost: bool) -> str | None:
    """Return the key to put into the data folder; None when the settings have it, or it is lost."""
    if copy.key_id is None or is_lost:
        return None
    said = settings.secret_key.get_secret_value() if file is None and settings.secret_key else None
    if file is not None:
        with told(file):
            said = file.read_text(encoding="utf-8").strip()
    if said is None:
        raise UserError(
            f"the backup is of the secret key {copy.key_id}, which it does not hold: name its file by --secret-key, "
            "set FIELDPOST_SECRET_KEY, or say --without-key and connect each mailbox anew"
        )
    found = Secrets.of(settings.model_copy(update={"secret_key": SecretStr(said)})).key_id
    if found != copy.key_id:
        raise UserError(f"that is the secret key {found}; the backup is of the key {copy.key_id}")
    return None if file is None else said


def blob_folder(settings: Settings, copy: Manifest) -> Path | None:
    """Return where the settings will look for the blobs; None for the data folder's own place.

    Raises UserError where that is not what the copy has: what is restored would not be found.
    """
    url = settings.blob_url
    folder = local_folder(url) if url is not None else None
    if copy.blobs == "file" and url is not None and folder is None:
        raise UserError(
            f"the backup holds its blobs, and FIELDPOST_BLOB_URL names {url}: unset it, or name an empty folder (file:///...)"
        )
    if copy.blobs != "file" and (url is None or folder is not None):
        raise UserError(f"the backup's blobs stayed in a bucket ({copy.blobs}): set FIELDPOST_BLOB_URL to it")
    return folder


def _settle(data: Path | None, *, is_sure: bool, are_lost: bool, as_json: bool) -> None:
    """Make the database of the settings fit to be worked on."""
    settings, where = begin("restore", data)
    if settings.database_url is None:
        raise UserError("--settle is for the PostgreSQL that FIELDPOST_DATABASE_URL names")
    if not is_sure and not typer.confirm("Is every worker, schedule and API stopped?", err=True):
        raise UserError("stop them first")
    with open_runtime(settings, where, start=False, create=True) as runtime:
        with runtime.db.begin() as connection:
            live, has_blobs = queue.live_workers(connection), queries.has_blobs(connection)
        if live:
            raise UserError(f"{len(live)} workers are alive on this database: stop them first")
        assert runtime.settings.blob_url is not None
        stored = _stored(runtime.settings.blob_url, has_blobs=has_blobs)
        with closing(open_long(runtime.settings)) as long, long.begin() as connection:
            found = settling.settle(connection, "other tools", stored, blobs_are_lost=are_lost)
    if as_json:
        print_json(asdict(found))
    else:
        print_fields(_told(found))


def _stored(blob_url: str, *, has_blobs: bool) -> list[tuple[str, str]] | None:
    """Return what the blob folder holds; None for a bucket. Raises UserError where it should be and is not."""
    folder = local_folder(blob_url)
    if folder is None:
        return None
    if has_blobs and not folder.is_dir():
        raise UserError(
            f"the blob folder {folder} is not there: mount its disk, or correct FIELDPOST_BLOB_URL; if it is lost, "
            "make it"
        )
    with told(folder):
        return list(names(folder))


def _tell(done: restoring.Restored, data: DataDir, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(done))
    else:
        from_before = f", from {done.migrated_from}" if done.migrated_from else ""
        print_fields(
            [
                ("restored", f"{done.copy.name}, and {done.log_files} files of log after it"),
                ("migration", f"{done.revision}{from_before}"),
                ("blobs", f"{done.blobs} copied"),
                *_told(done.settled),
            ]
        )
    remark(f"start it: fieldpost up --data {data.path}")
    remark("then watch the mailboxes catch up: fieldpost status; prove it: fieldpost audit ADDRESS")


def _told(found: settling.Settled) -> list[tuple[str, object]]:
    return [
        ("numbers", f"{found.sequences} sequences go on far ahead of what may have been told"),
        ("mail to be looked up", f"{len(found.doubtful)} (see `fieldpost outbound list --state sending`)"),
        ("wishes left", f"{found.wishes} about dead letters: ask again" if found.wishes else None),
        (
            "read again",
            f"{found.refetched} mails, for {found.lost_blobs} blobs are missing" if found.lost_blobs else None,
        ),
        ("dead letters", f"{found.letters} whose mail a replay reads again" if found.letters else None),
    ]
