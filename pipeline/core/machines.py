"""Mail written by machines: automatic replies, bounces, lists, bulk mail, notifications and loops, and what follows."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from models.enums import MachineKind
from pipeline.core.markers import Mail, plain, rows_for

#: A message's flag: whoever wrote it asks to be spared automatic answers.
NO_AUTOMATIC_ANSWER = "no_automatic_answer"
_SUBJECT_LIMIT = 1_000
_METHOD = re.compile(rb"^METHOD(?:;[^:\r\n]{0,100})?:[ \t]*([A-Za-z]{1,20})", re.IGNORECASE | re.MULTILINE)
_METHOD_WITHIN = 4_096


@dataclass(frozen=True, slots=True)
class Verdict:
    """What mail of one kind may do; what may not open a ticket is kept in one that is closed from the start.

    Nothing automatic is ever answered automatically (RFC 3834, section 2). People write through lists, and machines
    have news; absence notes, bounces and newsletters do not bring an ended conversation back.
    """

    may_open_ticket: bool
    may_reopen: bool
    may_be_answered: bool = False


VERDICTS: Mapping[MachineKind | None, Verdict] = MappingProxyType(
    {
        None: Verdict(may_open_ticket=True, may_reopen=True, may_be_answered=True),
        MachineKind.LOOP: Verdict(may_open_ticket=False, may_reopen=False),
        MachineKind.BOUNCE: Verdict(may_open_ticket=False, may_reopen=False),
        MachineKind.AUTO_REPLY: Verdict(may_open_ticket=False, may_reopen=False),
        MachineKind.MAILING_LIST: Verdict(may_open_ticket=True, may_reopen=True),
        MachineKind.BULK: Verdict(may_open_ticket=True, may_reopen=False),
        MachineKind.NOTIFICATION: Verdict(may_open_ticket=True, may_reopen=True),
    }
)


@dataclass(frozen=True, slots=True)
class Marker:
    """The header that gave a machine away, and what follows from it."""

    kind: MachineKind
    header: str
    value: str

    @property
    def verdict(self) -> Verdict:
        """Return what mail of its kind may do."""
        return VERDICTS[self.kind]


def classify(
    headers: Mapping[str, Sequence[str]],
    from_address: str | None,
    subject: str,
    own_domains: Collection[str],
    *,
    calendar_method: str = "",
    signed: Callable[[str], bool] = lambda _: True,
) -> Marker | None:
    """Return the first marker of the table that the message carries, or None for mail written by a person.

    `headers` maps lower-case names to all their values. `signed` says whether a loop header that names a domain of
    ours was signed by us; without it every such header counts. X-Auto-Response-Suppress alone is no marker: people's
    mail programs write it too (see `asks_for_no_answer`). Rules: RFC 3834 sections 2 and 5, and `MARKERS`.
    """
    domains = frozenset(domain.lower() for domain in own_domains)
    mail = Mail(headers, plain(from_address or ""), subject[:_SUBJECT_LIMIT], domains, calendar_method, signed)
    for row in rows_for(headers):
        value = row.found_in(mail)
        if value is not None:
            return Marker(row.kind, row.header, value)
    return None


def asks_for_no_answer(headers: Mapping[str, Sequence[str]]) -> bool:
    """Return whether the sender asks to be spared automatic answers (X-Auto-Response-Suppress: All, OOF, AutoReply)."""
    asked = {word.strip().lower() for value in headers.get("x-auto-response-suppress", ()) for word in value.split(",")}
    return not asked.isdisjoint(("all", "oof", "autoreply"))


def calendar_method(calendars: Iterable[bytes]) -> str:
    """Return the METHOD of the first calendar that has one (RFC 5546), lower case; "" when none has."""
    found = (_METHOD.search(content[:_METHOD_WITHIN]) for content in calendars)
    return next((one[1].decode("ascii").lower() for one in found if one), "")
