"""`python -m tests.bench.threads MBOX`: conversations of real mail beside those of its references alone.
Every difference is explained: which reference was not believed, and why.
"""

from __future__ import annotations

import gzip
import mailbox
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from models.enums import MachineKind
from pipeline.core import machines, mime, participants
from pipeline.core.thread_keys import Facts, Rules, keys_of
from pipeline.core.threading import Forest, Node, assemble

_ADDRESS = "support@example.org"
_NOWHEN = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Difference:
    """A conversation by references alone that is several here: its mails, in how many parts, and why."""

    facts: Sequence[Facts]
    parts: int
    why: Sequence[str]


def read(path: Path) -> Iterator[bytes]:
    """Yield the raw mails of an mbox, gzipped or not."""
    with tempfile.NamedTemporaryFile() as plain:
        content = path.read_bytes()
        plain.write(gzip.decompress(content) if path.suffix == ".gz" else content)
        plain.flush()
        with closing(mailbox.mbox(plain.name, create=False)) as box:
            for key in box.keys():  # noqa: SIM118 - a mailbox is no mapping
                yield box.get_bytes(key)


def facts_of(raws: Sequence[bytes]) -> list[Facts]:
    """Return what stitching sees of raw mails."""
    return [_facts(number, mime.parse(raw)) for number, raw in enumerate(raws)]


def _facts(number: int, mail: mime.Parsed) -> Facts:
    sender = mail.from_[0].address if mail.from_ else None
    marker = machines.classify(mail.headers, sender, mail.subject, ())
    return Facts(
        message_id=number,
        at=mail.date or _NOWHEN,
        rfc_message_id=mail.message_id,
        in_reply_to=mail.in_reply_to,
        references=mail.references[::-1],
        sender=sender,
        recipients=tuple(person.address for person in (*mail.to, *mail.cc)),
        reply_to=tuple(person.address for person in mail.reply_to),
        subject_norm=mail.subject_norm,
        is_list=marker is not None and marker.kind is MachineKind.MAILING_LIST,
        list_id=mail.list_id,
        is_unaddressed=mail.recipient.address is None,
    )


def by_references(facts: Sequence[Facts]) -> list[list[Facts]]:
    """Return the conversations that Message-ID, In-Reply-To and References make when every one is believed."""
    forest = Forest()
    for one in facts:
        for named in (one.rfc_message_id, *one.in_reply_to, *one.references):
            forest.join(one.message_id, named or one.message_id)
    found: dict[object, list[Facts]] = {}
    for one in facts:
        found.setdefault(forest.find(one.message_id), []).append(one)
    return list(found.values())


def compare(facts: Sequence[Facts], rules: Rules) -> tuple[int, int, list[Difference], int]:
    """Return how many conversations references make and we make, the differences, and ours that join more."""
    groups = assemble([Node(one.message_id, one.at, keys_of(one, rules)) for one in facts], {})
    ours = {link.message_id: number for number, group in enumerate(groups) for link in group.links}
    reference = by_references(facts)
    theirs = {one.message_id: number for number, found in enumerate(reference) for one in found}
    wider = sum(len({theirs[link.message_id] for link in group.links}) > 1 for group in groups)
    apart = [
        Difference(found, parts, _explained(found, ours))
        for found in reference
        if (parts := len({ours[one.message_id] for one in found})) > 1
    ]
    return len(reference), len(groups), apart, wider


def _explained(facts: Sequence[Facts], ours: dict[int, int]) -> list[str]:
    """Say for each mail that names another conversation's mail, or the same lost one, why that was not enough."""
    said: dict[str, None] = {}
    by_id = {one.rfc_message_id: one for one in facts if one.rfc_message_id}
    for one in facts:
        for named in dict.fromkeys((*one.in_reply_to, *one.references)):
            parent = by_id.get(named)
            if parent is not None and ours[parent.message_id] != ours[one.message_id]:
                said[f"{one.sender} answers {named[:60]}, and is none of {_people(parent)}"] = None
            elif parent is None:
                others = {
                    str(other.sender)
                    for other in facts
                    if named in (*other.in_reply_to, *other.references)
                    and ours[other.message_id] != ours[one.message_id]
                }
                if others:
                    names = ", ".join(sorted({str(one.sender), *others}))
                    said[f"{names} answer {named[:60]}, which is not here: strangers to each other"] = None
    return list(said)


def _people(parent: Facts) -> str:
    named = [address for address in (parent.sender, *parent.recipients, *parent.reply_to) if address]
    return ", ".join(participants.people(named, ()))


def main(arguments: Sequence[str]) -> int:
    """Print the comparison; the exit code is 1 when a difference is not explained."""
    raws = list(read(Path(arguments[0])))
    facts = facts_of(raws)
    rules = Rules(own=frozenset({participants.token(_ADDRESS)}))
    reference, ours, apart, wider = compare(facts, rules)
    print(f"{len(facts)} mails: {reference} conversations by references alone, {ours} here")
    print(f"{len(apart)} conversations are several here, {wider} of ours join several")
    for difference in apart:
        print(f"\n{len(difference.facts)} mails in {difference.parts} tickets")
        for why in difference.why:
            print(f"  {why}")
    return 0 if all(difference.why for difference in apart) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
