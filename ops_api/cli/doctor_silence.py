"""The checks of `fieldpost doctor` that say what stands still; each says nothing while all is well."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sqlalchemy import Connection

from dlq import reading
from ops_api import scans, silence, silence_words
from ops_api.cli.doctor_checks import Check, Grade
from ops_api.cli.output import line_of
from ops_api.cli.session import Runtime
from ops_api.silence import Expected, Silences
from ops_api.silence_words import Said
from ops_api.wording import counted


def silent(runtime: Runtime) -> Iterator[Check]:
    """Tell of jobs that are late, of strands, and of mailboxes that nobody reads; what does not mend itself fails."""
    expected = Expected.of(runtime.settings)

    def look(connection: Connection) -> Silences:
        found = silence.read(connection, expected)
        return replace(found, strands=[*found.strands, *scans.newest(connection)])

    found = silence.look_twice(runtime.db, runtime.clock, look)
    yield from (_check(said) for said in silence_words.sentences(found))


def dead_letters(runtime: Runtime) -> Iterator[Check]:
    """Tell how many dead letters are open, and which kind of error stands behind most of them."""
    with runtime.db.begin() as connection:
        count, groups = reading.count(connection), reading.groups(connection, limit=1)
    if count and groups:
        largest = groups[0]
        share = f"{largest.count:,} of them" if largest.count < count else "all of them" if count > 1 else "it"
        text = f"{counted(count, 'dead letter')} open; {share} in {largest.stage}: {line_of(largest.example, 120)}"
        yield Check("dead letters", Grade.WARN, text, f"`fieldpost dlq list --group {largest.group}`")


def _check(said: Said) -> Check:
    return Check(said.name, Grade.FAIL if said.is_lasting else Grade.WARN, said.text, said.advice)
