"""Which address a mail was really sent to, and the evidence for it (contract 001)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from models.enums import Confidence, RecipientSource

CANDIDATE_LIMIT = 50

Evidence = Mapping[str, list[str] | str | bool | None]


@dataclass(frozen=True, slots=True)
class Recipient:
    """The original recipient with its evidence; `address` is None exactly when the source is unknown.

    `evidence` has the keys of contract 001; candidates of other headers, `base_address` with `tag` (a plus address) and
    `is_alias` (see `found_in`) only where they say something.
    """

    address: str | None
    source: RecipientSource
    confidence: Confidence
    evidence: Evidence


# Contract 001: the precedence, strongest first.
PRECEDENCE = (
    ("x-gm-original-to", RecipientSource.WORKSPACE_HEADER, Confidence.HIGH),
    ("delivered-to", RecipientSource.DELIVERED_TO, Confidence.MEDIUM),
    ("x-original-to", RecipientSource.X_ORIGINAL_TO, Confidence.MEDIUM),
    ("to", RecipientSource.TO_CC_SCAN, Confidence.LOW),
    ("cc", RecipientSource.TO_CC_SCAN, Confidence.LOW),
)
#: What other mail systems write; asked only when the contract's headers name nobody. The contract has no word of its
#: own for them, so the evidence says where the address stood.
FALLBACKS = tuple(
    (name, RecipientSource.ENVELOPE_TO, Confidence.LOW) for name in ("envelope-to", "x-envelope-to", "x-forwarded-to")
)
#: Who forwarded it, and the groups it came through: kept as evidence, never chosen.
WITNESSES = ("x-forwarded-for", "list-post", "mailing-list", "x-beenthere")

_ADDRESS = re.compile(r"[^\s<>\"(),:;\\@?]{1,64}@[^\s<>\"(),:;\\@?]{1,255}")
_VALUE_LENGTH = 4_000
#: A reply address of ours (`pipeline.core.ticket_codes`): what follows the plus is a token and tells no queue.
_TOKEN = re.compile(r"tkt-[a-z2-7]{16}\.[a-z2-7]{16}", re.ASCII)


def resolve(candidates: Mapping[str, Sequence[str]]) -> Recipient:
    """Choose the original recipient from addresses by lower-case header name, each in header order.

    The strongest header that names an address wins, and in it the first address (contract 001). Words without an at
    sign are no candidates. The evidence keeps at most 50 candidates per header.
    """
    usable = {name: [a for a in candidates.get(name, ()) if "@" in a][:CANDIDATE_LIMIT] for name in _NAMES}
    for name, source, confidence in (*PRECEDENCE, *FALLBACKS):
        if usable[name]:
            return Recipient(usable[name][0], source, confidence, _evidence(usable, name))
    return Recipient(None, RecipientSource.UNKNOWN, Confidence.LOW, _evidence(usable, None))


def found_in(recipient: Recipient, mailbox: str) -> Recipient:
    """Return the recipient with the word whether it is another name (`is_alias`) of the mailbox it was found in.

    A plus address and the same address without its tag are one name. Nothing is added when nobody was named.
    """
    if recipient.address is None:
        return recipient
    names = {recipient.address, recipient.evidence.get("base_address")}
    return replace(recipient, evidence={**recipient.evidence, "is_alias": mailbox.lower() not in names})


def witnessed(values: Sequence[str]) -> list[str]:
    """Return the addresses in values of no fixed grammar, lower case, in order."""
    return [found.lower().removesuffix(".") for value in values for found in _ADDRESS.findall(value[:_VALUE_LENGTH])]


def plus_address(address: str) -> tuple[str, str] | None:
    """Return the base address and the tag of a plus address (RFC 5233); None for other addresses and reply tokens."""
    local, _, domain = address.rpartition("@")
    base, _, tag = local.partition("+")
    if not base or not tag or _TOKEN.fullmatch(tag):
        return None
    return f"{base}@{domain}", tag


_NAMES = (*(name for name, _, _ in (*PRECEDENCE, *FALLBACKS)), *WITNESSES)
_CONTRACTED = frozenset(name for name, _, _ in PRECEDENCE)


def _evidence(usable: Mapping[str, list[str]], chosen: str | None) -> Evidence:
    address = usable[chosen][0] if chosen else None
    evidence: dict[str, list[str] | str | bool | None] = {"selected_from": chosen, "selected_value": address}
    for name, found in usable.items():
        if found or name in _CONTRACTED:
            evidence[f"{name.replace('-', '_')}_candidates"] = found
    if address and (parts := plus_address(address)):
        evidence["base_address"], evidence["tag"] = parts
    return evidence
