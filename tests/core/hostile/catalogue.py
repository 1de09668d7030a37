"""All rows of the table with their mails, and mails that are damaged at random."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice

from tests.core.hostile import contents, structures, values
from tests.core.hostile.letters import Pen, Sample, numbered
from tests.core.hostile.structures import Mails

SEED = 20260105
#: What of reliability, section 4, can come as a mail. What only concerns our answers and pages is tested there.
ROWS: Mapping[str, Callable[[Pen], Mails]] = {
    "100,000 tiny parts": structures.many_parts,
    "nesting": structures.deep_nesting,
    "boundaries": structures.contradicting_boundaries,
    "References of 200,000 ids": structures.long_references,
    "Subject of 8,000 encoded words": structures.long_subjects,
    "To with 5,000 addresses": structures.many_addresses,
    "200,000 header lines": structures.many_header_lines,
    "25 MB / 48 MB attachment": structures.large_files,
    "2.6 MB body": structures.large_bodies,
    "NUL": values.nul,
    "lone surrogate": values.surrogates,
    "bogus charset": values.charsets,
    "invalid Date": values.dates,
    "file names": values.file_names,
    "8 KB Message-ID": values.message_ids,
    "header injection": values.injections,
    "formula text": values.formulas,
    "regular expressions": values.regex_bait,
    "marks without end": values.marks,
    "HTML": contents.html,
    "attachments served inline": contents.disguised_files,
    "zip bomb": contents.archives,
    "opaque types": contents.opaque_types,
    "mail loop": contents.machines,
    "forged references": contents.forged_references,
    "empty": contents.empty,
}
_DAMAGED = 60


def samples(seed: int = SEED) -> Iterator[Sample]:
    """Yield every sample, the same for the same seed."""
    pen = Pen(seed)
    for row, write in ROWS.items():
        yield from numbered(row, write(pen))
    yield from numbered("damaged at random", _damaged(pen))


def _damaged(pen: Pen) -> Mails:
    """Cut, flip and shuffle bytes of small hostile mails."""
    writers = (values.nul, values.charsets, values.file_names, contents.html, contents.opaque_types)
    sound = [raw for write in writers for _, raw in islice(write(pen), 12)]
    for raw in pen.rng.sample(sound, _DAMAGED):
        damaged = bytearray(raw)
        for _ in range(pen.rng.randrange(1, 30)):
            damaged[pen.rng.randrange(len(damaged))] = pen.rng.randrange(256)
        yield "damaged", bytes(damaged[: pen.rng.randrange(len(damaged) // 2, len(damaged))])
