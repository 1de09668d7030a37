"""What `fieldpost doctor` says of backups: how followers stand, and how old the newest copy is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta

from deploy.local.backup import newest_copy
from models.queries.backups import backup_slots
from ops_api.cli.doctor_checks import Check, Grade
from ops_api.cli.session import Runtime

#: How old the newest copy may be: without a follower it is what a loss would leave.
_OLD, _OLD_AND_FOLLOWED = timedelta(days=2), timedelta(days=8)


def backups(runtime: Runtime) -> Iterator[Check]:
    """Tell how followers and copies stand; silent where nobody ever followed or copied."""
    with runtime.db.begin() as connection:
        slots = backup_slots(connection)
    for slot in slots:
        behind = f"{(slot.behind_bytes or 0) / 1e6:.0f} MB"
        if slot.is_lost:
            advice = "start `fieldpost backup FOLDER --follow`: it begins anew, with a copy"
            yield Check("backup", Grade.FAIL, f"{slot.name} was away too long: its log is gone", advice)
        elif not slot.is_active:
            advice = "start `fieldpost backup FOLDER --follow`; if it runs, its log says `backup.held_up` and why"
            yield Check("backup", Grade.WARN, f"{slot.name} is away; {behind} of log wait for it", advice)
        else:
            yield Check("backup", Grade.OK, f"{slot.name} receives the log, {behind} behind")
    yield from _newest(runtime, _OLD_AND_FOLLOWED if any(slot.is_active for slot in slots) else _OLD)


def _newest(runtime: Runtime, limit: timedelta) -> Iterator[Check]:
    try:
        said = json.loads(newest_copy(runtime.data).read_text(encoding="utf-8"))
        age, folder = runtime.clock.now() - datetime.fromisoformat(said["at"]), said["folder"]
    except (OSError, ValueError, KeyError, TypeError):  # nobody copied from here, or the note was cut short
        return
    old = f"{age.days} days old" if age >= timedelta(days=2) else f"{age.total_seconds() / 3600:.1f} hours old"
    text = f"the newest copy is {old}, in {folder}"
    if age > limit:
        yield Check("backup", Grade.WARN, text, "does `fieldpost-backup.timer` run, and is there room?")
    else:
        yield Check("backup", Grade.OK, text)
