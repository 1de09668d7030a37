"""`fieldpost doctor`: checks settings, connections, tables and disk, finds what stands still, and says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import typer

from ops_api.cli import doctor_backups, doctor_silence
from ops_api.cli.doctor_checks import RUNTIME_CHECKS, Check, Grade, settings_check
from ops_api.cli.options import AsJson, Data
from ops_api.cli.output import print_json, print_table
from ops_api.cli.session import begin, open_runtime
from pipeline.runtime.errors import FieldpostError

app = typer.Typer(add_completion=False)


@app.command()
def doctor(data: Data = None, as_json: AsJson = False) -> None:
    """Check settings, database, tables, keys, clocks, broker, blob store, disk and workers; say what to do about each.

    Where `fieldpost backup` was used: how its followers stand, and how old the newest copy is.

    Then says what stands still: jobs that are later than promised, things that no job takes on (strands), mailboxes
    that nobody reads, open dead letters. Of each it says nothing while all is well.

    Example: fieldpost doctor

    Exit codes: 0 nothing failed, 1 something did, such as a strand.
    """
    checks = list(_checks(data))
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        rows = [(check.grade, check.name, check.text, check.advice) for check in checks]
        print_table(("", "check", "found", "what to do"), rows, empty="", wrapped=("found", "what to do"))
    if any(check.grade is Grade.FAIL for check in checks):
        raise typer.Exit(1)


def _checks(data: Path | None) -> Iterator[Check]:
    """Yield the checks; without settings or a database the later ones cannot be made."""
    try:
        settings, where = begin("doctor", data)
    except FieldpostError as error:
        yield Check("settings", Grade.FAIL, str(error), "correct the variables or the file .env")
        return
    yield settings_check(has_no_key=settings.secret_key is None, is_production=settings.environment == "production")
    try:
        with open_runtime(settings, where) as runtime:
            yield Check("database", Grade.OK, "started for this check" if runtime.is_own else "answers")
            for check in (*RUNTIME_CHECKS, doctor_backups.backups, doctor_silence.silent, doctor_silence.dead_letters):
                yield from check(runtime)
    except FieldpostError as error:
        yield Check("database", Grade.FAIL, str(error), "the rest was not checked")
