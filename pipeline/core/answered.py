"""How many automatic answers somebody has had: counted for a person, for a person's domain, and in all.

A desk that writes from a new address for each case, or with the case in a tag, would otherwise be new each time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.core import composing, participants
from pipeline.core.composing import Unwritable


@dataclass(frozen=True, slots=True)
class Answered:
    """Automatic answers that an address had within the last hour and day."""

    address: str
    in_hour: int
    in_day: int


@dataclass(frozen=True, slots=True)
class Had:
    """Automatic answers within the last hour and day: to one person, to the person's domain, and to anybody.

    A domain that many strangers share is nobody's: those have none.
    """

    person_in_hour: int = 0
    person_in_day: int = 0
    domain_in_hour: int = 0
    domain_in_day: int = 0
    all_in_hour: int = 0


class Tally:
    """The automatic answers of one organization, counted on while a batch is decided."""

    def __init__(self, answers: Iterable[Answered] = ()) -> None:
        self._hour: Counter[str] = Counter()
        self._day: Counter[str] = Counter()
        self._all_in_hour = 0
        for one in answers:
            self._add(one)

    def add(self, address: str) -> None:
        """Count one more answer to an address, as of now."""
        self._add(Answered(address, 1, 1))

    def had(self, address: str) -> Had:
        """Return what an address counts for, as all addresses of its person do."""
        person = person_of(address)
        domain = participants.token(person)
        is_shared = domain == person
        return Had(
            self._hour[person],
            self._day[person],
            0 if is_shared else self._hour[domain],
            0 if is_shared else self._day[domain],
            self._all_in_hour,
        )

    def _add(self, one: Answered) -> None:
        person = person_of(one.address)
        self._all_in_hour += one.in_hour
        for whom in {person, participants.token(person)}:
            self._hour[whom] += one.in_hour
            self._day[whom] += one.in_day


def canonical(address: str) -> str:
    """Return an address as `outbound.recipient` has it, its domain in ASCII; unchanged when it cannot be written to."""
    try:
        return composing.address(address)
    except Unwritable:
        return address


def person_of(address: str) -> str:
    """Return an address in its canonical form, without the tag ("ann+7@x" is "ann@x", RFC 5233)."""
    local, at, domain = canonical(address).rpartition("@")
    return f"{local.partition('+')[0] or local}{at}{domain}"
