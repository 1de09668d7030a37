"""What a delivery report means for a mail that we sent."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pipeline.core.reports import Delivery

_REASON_LENGTH = 300


@dataclass(frozen=True, slots=True)
class Bounce:
    """Whether the mail did not arrive or is only late, for whom, and why in few words."""

    has_failed: bool
    recipients: tuple[str, ...]
    reason: str


def judge(delivery: Sequence[Delivery], recipients: Collection[str]) -> Bounce | None:
    """Return what a report says of a mail to `recipients`; None when it tells of no trouble with any of them.

    A report that names recipients counts only for those we wrote to: a forged one names others, and one about a mail
    that was passed on is not about ours. One that names nobody (qmail, old Exchange) is believed, since it named our
    message; without any status it means that the mail did not arrive (RFC 3464; such reports are written for nothing
    else).
    """
    ours = {recipient.lower() for recipient in recipients}
    named = [one for one in delivery if one.recipient]
    told = [one for one in named if one.recipient in ours] if named else list(delivery)
    if named and not told:
        return None
    failed = [one for one in told if one.action in ("failed", "") and not one.status.startswith(("2.", "4."))]
    late = [one for one in told if one.action == "delayed" or (one.action == "" and one.status.startswith("4."))]
    found = failed or late
    if told and not found:
        return None
    whom = tuple(dict.fromkeys(one.recipient for one in found if one.recipient))
    return Bounce(bool(failed) or not told, whom, _reason(found))


def _reason(found: Sequence[Delivery]) -> str:
    if not found:
        return "undeliverable; the report gives no reason"
    said = " ".join(part for part in (found[0].status, found[0].diagnostic) if part)
    return said[:_REASON_LENGTH] or "undeliverable; the report gives no reason"
