"""Circles of automatic mail: the header that marks ours, and what tells a sender that answers every answer of ours.

Three layers (mission-peers, 4.2): automatic mail is recognised as it comes in (`pipeline.core.machines`), ours is
marked as it goes out, and the breaker here stops what shows no mark. The breaker never trips without mail of our own
taking part: old mail, a storm of alarms or a busy customer cannot trip it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise

from models.enums import MachineKind
from pipeline.core.answered import Had

LOOP_HEADER = "X-Fieldpost-Loop"
#: More steps from desk to desk are a circle (reliability, section 4).
MOST_HOPS = 3
#: How far back automatic answers to one sender are counted.
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
#: A domain that is one customer's own is answered this many times as often as one of its people.
DOMAIN_SHARE = 4
#: A ticket whose two sides answered each other more often than this within that time is answered by machines.
MOST_TURNS, TURN_WINDOW = 10, timedelta(minutes=10)
#: Mail that lay longer than this is not told "we have it".
FRESH = timedelta(days=1)

_HEADER_LIMIT = 640
_WRITABLE = re.compile(r"[!-:<-~]{3,320}", re.ASCII)
_MAC_LENGTH = 32
#: Compared texts are judged by their beginning, and only when they say something.
_TEXT_LIMIT, _FEWEST_WORDS = 4_000, 8
_OFTEN, _ECHOES = 3, 2
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class LoopMark:
    """What a loop header says: whose mail it is, about which ticket, after how many steps from desk to desk."""

    address: str
    code: str
    hop: int
    is_signed: bool

    @property
    def domain(self) -> str:
        """Return the domain it names, lower case."""
        return self.address.rpartition("@")[2].lower()


@dataclass(frozen=True, slots=True)
class Exchange:
    """What went to and fro between us and one sender within the last hour.

    `told` are the texts of our automatic answers to it, `lately` what it wrote anew in its other messages, each with
    its subject.
    """

    told: Sequence[str]
    lately: Sequence[str]


def loop_header(address: str, code: str, hop: int, key: bytes) -> str:
    """Return the value of the loop header of an automatic mail of ours; `hop` is 1 unless it answers a marked one.

    Raises ValueError for an address or code that the header could not hold, and for an empty key.
    """
    if not key:
        raise ValueError("the loop header is signed: it needs a key")
    if not _WRITABLE.fullmatch(address) or not _WRITABLE.fullmatch(code) or hop < 1:
        raise ValueError(f"a loop header cannot hold {address!r}, {code!r} and {hop}")
    return f"{address}; t={code}; n={hop}; s={_mac(address, code, hop, key)}"


def read_loop_header(value: str, keys: Collection[bytes]) -> LoopMark:
    """Return what a loop header says, and whether one of `keys` signed it; another desk's may lack any part.

    White space does not count: relays fold and unfold.
    """
    address, *parts = "".join(value[:_HEADER_LIMIT].split()).split(";")
    told = dict(part.partition("=")[::2] for part in reversed(parts))
    code, count, mac = told.get("t", ""), told.get("n", ""), told.get("s", "")
    hop = int(count) if count.isascii() and count.isdecimal() else int(not count)
    is_signed = any(
        hmac.compare_digest(mac.encode("utf-8", "surrogatepass"), _mac(address, code, hop, key).encode())
        for key in keys
    )
    return LoopMark(address, code, hop, is_signed)


def is_signed(value: str, keys: Collection[bytes]) -> bool:
    """Return whether a loop header was signed with one of `keys`."""
    return read_loop_header(value, keys).is_signed


def _mac(address: str, code: str, hop: int, key: bytes) -> str:
    said = f"fieldpost loop header 1\0{address}\0{code}\0{hop}"
    return hmac.digest(key, said.encode("utf-8", "surrogatepass"), hashlib.sha256).hex()[:_MAC_LENGTH]


@dataclass(frozen=True, slots=True)
class Asked:
    """The message that opened a ticket, as far as an automatic answer to it is concerned."""

    sender: str | None
    machine: MachineKind | None
    asks_for_none: bool
    is_ours: bool
    #: How long ago it came.
    age: timedelta
    had: Had


def why_unanswered(asked: Asked, *, per_hour: int, per_day: int, in_all: int) -> str | None:
    """Return why a message gets no automatic answer, None when it gets one (RFC 3834, section 2).

    A sender gets `per_hour` and `per_day`, a domain `DOMAIN_SHARE` times as many, everybody together `in_all` an hour.
    """
    had = asked.had
    reasons = (
        (not asked.sender, "it names no sender"),
        (asked.machine is not None, "a machine wrote it"),
        (asked.asks_for_none, "its sender asks for no automatic answer"),
        (asked.is_ours, "it comes from an address of ours"),
        (asked.age > FRESH, "it is older than a day"),
        (had.person_in_hour >= per_hour, _had("its sender", had.person_in_hour, "hour")),
        (had.person_in_day >= per_day, _had("its sender", had.person_in_day, "day")),
        (had.domain_in_hour >= per_hour * DOMAIN_SHARE, _had("its domain", had.domain_in_hour, "hour")),
        (had.domain_in_day >= per_day * DOMAIN_SHARE, _had("its domain", had.domain_in_day, "day")),
        (had.all_in_hour >= in_all, _had("everybody together", had.all_in_hour, "hour")),
    )
    return next((reason for holds, reason in reasons if holds), None)


def _had(who: str, answers: int, within: str) -> str:
    return f"{who} had {answers} automatic answers within the {within}"


def why_answers_back(
    text: str, exchange: Exchange, *, per_hour: int, has_files: bool = False, is_answer: bool = False
) -> str | None:
    """Return what shows that a message answers our automatic answers by itself; None when nothing does.

    `text` is what it says anew, with its subject. It repeats what we told its sender at least twice within the hour
    (what answers a mail, `is_answer`, may quote it); or its sender has had `per_hour` answers, has sent no more than
    they explain, and writes the same words each time, but for numbers. Who writes more often than we answer writes by
    themselves; who writes other words, or few, or sends files, may be a person.
    """
    if len(exchange.told) >= _ECHOES and not is_answer and _echoes(text, exchange.told):
        return f"it repeats our automatic answer; its sender had {len(exchange.told)} of them within the hour"
    if len(exchange.told) < per_hour or len(exchange.lately) > len(exchange.told) or has_files:
        return None
    words = _words(text)
    same = sum(words == _words(other) for other in exchange.lately) if len(words) >= _FEWEST_WORDS else 0
    if same < _OFTEN:
        return None
    return f"its sender had {len(exchange.told)} automatic answers within the hour and wrote this text {same + 1} times"


def turns(directions: Sequence[str]) -> int:
    """Return how often the sides of a conversation took turns; `directions` are its messages' in order of time."""
    return sum(one != other for one, other in pairwise(directions))


def _echoes(text: str, told: Sequence[str]) -> bool:
    said = _flat(text)
    lines = {_flat(line) for body in told for line in body.splitlines()}
    return any(line in said for line in lines if len(line.split()) >= _FEWEST_WORDS)


def _flat(text: str) -> str:
    return " ".join(_WORD.findall(text[:_TEXT_LIMIT].casefold()))


def _words(text: str) -> frozenset[str]:
    """Return the words of a text; numbers and codes differ from one automatic mail to the next."""
    return frozenset(word for word in _flat(text).split() if word.isalpha())
