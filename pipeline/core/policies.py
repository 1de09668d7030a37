"""An organization's policy: how it scores, stitches and answers, and what it dispatches without a person."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from models.enums import TriageMode
from pipeline.core.dispatching import DispatchPolicy

#: `{code}` becomes the ticket's code.
ACKNOWLEDGEMENT = (
    "We have received your message, and one of us will answer it.\n\n"
    "Its number is {code}. To add something, simply answer this mail.\n\n"
    "This is an automatic answer; no further one follows in this conversation."
)
_LONGEST = 5_000
_MOST_DAYS = 36_500


@dataclass(frozen=True, slots=True)
class Setting:
    """One name of the stored document: the shape of its value in words, its default, and what it decides."""

    shape: str
    default: object
    about: str

    def fits(self, value: object) -> bool:
        """Return whether a JSON value has the shape; ranges are checked by reading the whole policy."""
        if self.shape == "a list":
            return isinstance(value, list) and all(isinstance(one, str) for one in value)
        if self.shape == "a number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        return isinstance(value, {"true or false": bool, "a whole number": int, "text": str}[self.shape]) and (
            self.shape != "a whole number" or not isinstance(value, bool)
        )


SETTINGS: Mapping[str, Setting] = MappingProxyType(
    {
        "triage_mode": Setting("text", TriageMode.CERTAINTY.value, "How cases are scored: certainty or baseline."),
        "auto_dispatch": Setting("true or false", True, "Whether work orders are made without a person."),
        "min_confidence": Setting("a number", 0.65, "Cases less certain wait for a person."),
        "min_priority": Setting("a whole number", 65, "Cases less urgent wait for a person."),
        "reopen_after_days": Setting("a number", 7, "How long a finished matter counts as the same one."),
        "subject_window_days": Setting("a number", 0, "How far apart equal subjects of one person join; 0: never."),
        "own_domains": Setting("a list", [], "Domains whose people are ours, beside those of our mailboxes."),
        "acknowledge": Setting("true or false", False, "Whether people are told that their mail made a new ticket."),
        "acknowledgement": Setting("text", ACKNOWLEDGEMENT, "The words they are told; {code} is the ticket's code."),
        "automatic_answers_per_hour": Setting("a whole number", 5, "How many of those one sender gets at most."),
        "automatic_answers_per_day": Setting("a whole number", 20, "The same within a day."),
        "automatic_answers_in_all": Setting(
            "a whole number", 500, "How many leave within an hour at most, to anybody."
        ),
        "retention_days": Setting(
            "a whole number", 0, "How long mail of ended tickets is kept once nothing happens in them; 0: for ever."
        ),
    }
)


@dataclass(frozen=True, slots=True)
class OrganizationPolicy:
    """The policy in force; every value has a default that a new organization can live with."""

    triage_mode: TriageMode
    dispatch: DispatchPolicy
    #: How far apart messages with the same subject and outside person may be and still join; None: they never do.
    subject_window: timedelta | None
    #: Domains whose people are ours, beside those of our mailboxes.
    own_domains: tuple[str, ...]
    #: Whether people are told that their mail has come, with which words, and how often at most per sender.
    acknowledge: bool
    acknowledgement: str
    automatic_answers_per_hour: int
    automatic_answers_per_day: int
    #: How often within an hour, whoever it is told.
    automatic_answers_in_all: int
    #: How many days the mail of ended tickets is kept; 0: for ever.
    retention_days: int = 0

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> OrganizationPolicy:
        """Return the policy that a stored document says. Raises ValueError for a value out of range."""
        return cls(
            triage_mode=TriageMode(stored.get("triage_mode", TriageMode.CERTAINTY)),
            dispatch=DispatchPolicy(
                auto_dispatch=bool(stored.get("auto_dispatch", True)),
                min_confidence=float(stored.get("min_confidence", 0.65)),
                min_priority=int(stored.get("min_priority", 65)),
                reopen_after=_reopen_after(stored),
            ),
            subject_window=_days(stored.get("subject_window_days")),
            acknowledge=bool(stored.get("acknowledge", False)),
            acknowledgement=_words(stored.get("acknowledgement") or ACKNOWLEDGEMENT),
            automatic_answers_per_hour=_between(stored, "automatic_answers_per_hour", 5, 100),
            automatic_answers_per_day=_between(stored, "automatic_answers_per_day", 20, 1_000),
            automatic_answers_in_all=_between(stored, "automatic_answers_in_all", 500, 100_000),
            retention_days=_kept_days(stored),
            own_domains=tuple(str(domain).lower().lstrip("@") for domain in stored.get("own_domains", ())),
        )


def _reopen_after(stored: Mapping[str, Any]) -> timedelta:
    days = float(stored.get("reopen_after_days", 7))
    if not 0 <= days <= _MOST_DAYS:
        raise ValueError(f"reopen_after_days must be between 0 and {_MOST_DAYS}, not {days:g}")
    return timedelta(days=days)


def _kept_days(stored: Mapping[str, Any]) -> int:
    days = int(stored.get("retention_days", 0))
    if not 0 <= days <= _MOST_DAYS:
        raise ValueError(f"retention_days must be between 0 and {_MOST_DAYS}, not {days}")
    return days


def _days(stored: object) -> timedelta | None:
    days = float(str(stored)) if stored else 0.0
    if not 0 <= days <= 365:
        raise ValueError(f"subject_window_days must be between 0 and 365, not {days}")
    return timedelta(days=days) or None


def _between(stored: Mapping[str, Any], name: str, default: int, most: int) -> int:
    found = int(stored.get(name, default))
    if not 1 <= found <= most:
        raise ValueError(f"{name} must be between 1 and {most}, not {found}")
    return found


def _words(said: object) -> str:
    words = str(said).strip()
    if not 1 <= len(words) <= _LONGEST:
        raise ValueError(f"acknowledgement must have 1 to {_LONGEST} characters, not {len(words)}")
    return words
