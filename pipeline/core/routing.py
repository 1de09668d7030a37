"""Routing of new tickets: recipient allowlist, ordered rules, and the decision with its reason (contract 001)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

from models.enums import AssignmentStrategy, Direction, MachineKind, TicketStatus
from pipeline.core.patterns import WILD, checked, encoded, expression, wildcard

#: Kept with every decision; a new number makes decided tickets worth deciding again, in shadow first.
RULES_VERSION = 1
#: The tag of tickets that were set aside; it goes when a person writes.
AUTOMATIC = "automatic"
#: Longer subjects and addresses are judged by their beginning.
INPUT_LIMIT = 65_536


class RuleField(StrEnum):
    """What a rule compares; the trace names the first of them that did not match."""

    RECIPIENT = "recipient"
    SENDER_DOMAIN = "sender_domain"
    SENDER_EMAIL = "sender_email"
    DIRECTION = "direction"
    SUBJECT = "subject"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of the message that opened the ticket; None is unknown."""

    recipient: str | None
    sender_email: str | None
    direction: Direction | None
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """One enabled routing rule; an empty pattern matches anything, known or not.

    Recipient and sender patterns are wildcards, the subject pattern is an RE2 expression searched for without regard
    to case. A rule with `stop` (the default) ends the search; one without adds its actions and lets later rules fill
    in what it left open. Raises ValueError for a pattern that cannot be compiled.
    """

    rule_id: UUID
    priority: int = 100
    match_recipient_pattern: str = ""
    match_sender_domain_pattern: str = ""
    match_sender_email_pattern: str = ""
    match_direction: Direction | None = None
    match_subject_pattern: str = ""
    assign_queue_id: UUID | None = None
    assign_user_id: UUID | None = None
    #: How the person of the queue is found that gets the ticket; None leaves it in the queue.
    strategy: AssignmentStrategy | None = None
    required_skills: frozenset[str] = frozenset()
    set_status: str | None = None
    set_priority: str | None = None
    auto_close: bool = False
    action_drop: bool = False
    stop: bool = True
    add_tags: tuple[str, ...] = ()
    _tests: tuple[tuple[Tried, Callable[[_Values], bool]], ...] = field(init=False, repr=False, compare=False)
    _hit: Tried = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_tests", tuple(_compile(self)))
        object.__setattr__(self, "_hit", Tried(self.rule_id, None))

    def try_on(self, values: _Values) -> Tried:
        """Return whether the rule matches, or the first field that did not."""
        for missed, test in self._tests:
            if not test(values):
                return missed
        return self._hit


@dataclass(frozen=True, slots=True)
class Tried:
    """One line of the trace: the rule, and the first field that did not match (None: the rule matched)."""

    rule_id: UUID
    missed: RuleField | None


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with the ticket; `rule_id` is the first rule that matched, None when none did."""

    rule_id: UUID | None
    reason: str
    assign_queue_id: UUID | None = None
    assign_user_id: UUID | None = None
    strategy: AssignmentStrategy | None = None
    required_skills: frozenset[str] = frozenset()
    set_status: str | None = None
    set_priority: str | None = None
    auto_close: bool = False
    drop: bool = False
    add_tags: tuple[str, ...] = ()
    trace: tuple[Tried, ...] = ()
    #: The kind of machine whose mail this ticket was set aside for; None where rules decided.
    machine: MachineKind | None = None
    #: The allowlist's pattern that accepted the recipient; None where it was not asked, or has none.
    allowed_by: str | None = None

    @property
    def status(self) -> TicketStatus | None:
        """Return the status it gives the ticket, None where it leaves that alone."""
        if self.set_status:
            return TicketStatus(self.set_status)
        return TicketStatus.CLOSED if self.auto_close or self.drop else None


class Allowlist:
    """The recipients mail is accepted for, as wildcards compiled once; immutable."""

    __slots__ = ("_exact", "_tests", "patterns")

    def __init__(self, patterns: Iterable[str]) -> None:
        """Compile `patterns`; raises ValueError for an empty or invalid one."""
        self.patterns = tuple(checked(pattern.strip().lower()) for pattern in patterns)
        if "" in self.patterns:
            raise ValueError("an allowlist pattern is empty; write * to accept every recipient")
        self._exact = frozenset(pattern for pattern in self.patterns if WILD.isdisjoint(pattern))
        self._tests = tuple((pattern, wildcard(pattern)) for pattern in self.patterns if pattern not in self._exact)

    def match(self, recipient: str | None) -> str | None:
        """Return a pattern that accepts `recipient`, or None."""
        value = _lowered(recipient)
        if not value:
            return None
        if value in self._exact:
            return value
        return next((pattern for pattern, test in self._tests if test(value)), None)


class RuleBook:
    """Enabled rules in the order they are tried: priority ascending, then id ascending; immutable."""

    __slots__ = ("rules",)

    def __init__(self, rules: Iterable[Rule]) -> None:
        """Put `rules` in order; raises ValueError when two share an id."""
        self.rules = tuple(sorted(rules, key=lambda rule: (rule.priority, rule.rule_id)))
        if len({rule.rule_id for rule in self.rules}) != len(self.rules):
            raise ValueError("two routing rules share an id")


def is_allowed(recipient: str | None, allowlist: Allowlist, *, default_allowed: bool) -> bool:
    """Return whether mail for `recipient` is accepted; an empty or unknown recipient never is.

    `default_allowed` decides for a known recipient while the allowlist is still empty.
    """
    if not _lowered(recipient):
        return False
    return default_allowed if not allowlist.patterns else allowlist.match(recipient) is not None


def decide(book: RuleBook, facts: Facts, *, allowed_by: str | None = None) -> Decision:
    """Return what the matching rules say, up to the first that stops, with every rule that was tried."""
    values = _Values.of(facts)
    matched: list[Rule] = []
    trace: list[Tried] = []
    for rule in book.rules:
        tried = rule.try_on(values)
        trace.append(tried)
        if tried.missed is None:
            matched.append(rule)
            if rule.stop:
                break
    return _merged(matched, tuple(trace), allowed_by)


def route(allowlist: Allowlist, book: RuleBook, facts: Facts, *, default_allowed: bool) -> Decision:
    """Return the decision for a new ticket: spam and closed when the recipient is not allowed, else by the rules."""
    pattern = allowlist.match(facts.recipient)
    if pattern is not None or is_allowed(facts.recipient, allowlist, default_allowed=default_allowed):
        return decide(book, facts, allowed_by=pattern)
    known = _lowered(facts.recipient)
    reason = f"recipient {known} is not on the allowlist" if known else "the recipient is unknown"
    return Decision(None, reason, set_status="spam", auto_close=True)


def set_aside(kind: MachineKind) -> Decision:
    """Return the decision for a ticket of automatic mail that answers nothing we know: closed, tagged, no clock."""
    tags = (AUTOMATIC,)
    return Decision(None, f"machine:{kind.value}", set_status="closed", auto_close=True, add_tags=tags, machine=kind)


@dataclass(frozen=True, slots=True)
class _Values:
    """The facts as rules compare them: lower case, bounded, "" for unknown."""

    recipient: str
    sender_domain: str
    sender_email: str
    direction: Direction | None
    subject: bytes

    @classmethod
    def of(cls, facts: Facts) -> _Values:
        sender = _lowered(facts.sender_email)
        subject = encoded(facts.subject[:INPUT_LIMIT])
        return cls(_lowered(facts.recipient), sender.rpartition("@")[2], sender, facts.direction, subject)


def _compile(rule: Rule) -> Iterable[tuple[Tried, Callable[[_Values], bool]]]:
    """Yield the rule's tests, cheapest first, each with the trace line of its failure."""
    if rule.match_direction is not None:
        wanted = rule.match_direction
        yield Tried(rule.rule_id, RuleField.DIRECTION), lambda values: values.direction in (None, wanted)
    if rule.match_recipient_pattern.strip():
        recipient = wildcard(rule.match_recipient_pattern.strip())
        yield (
            Tried(rule.rule_id, RuleField.RECIPIENT),
            lambda values: bool(values.recipient) and recipient(values.recipient),
        )
    if rule.match_sender_domain_pattern.strip():
        domain = wildcard(rule.match_sender_domain_pattern.strip())
        yield (
            Tried(rule.rule_id, RuleField.SENDER_DOMAIN),
            lambda values: bool(values.sender_domain) and domain(values.sender_domain),
        )
    if rule.match_sender_email_pattern.strip():
        sender = wildcard(rule.match_sender_email_pattern.strip())
        yield (
            Tried(rule.rule_id, RuleField.SENDER_EMAIL),
            lambda values: bool(values.sender_email) and sender(values.sender_email),
        )
    if rule.match_subject_pattern:
        pattern = checked(rule.match_subject_pattern)
        search = expression(pattern, pattern, ignores_case=True).search
        yield Tried(rule.rule_id, RuleField.SUBJECT), lambda values: search(values.subject) is not None


def _merged(matched: list[Rule], trace: tuple[Tried, ...], allowed_by: str | None) -> Decision:
    """Return one decision of all matched rules: the earliest that sets something wins, tags add up."""
    if not matched:
        return Decision(None, f"none of {len(trace)} rules matched", trace=trace, allowed_by=allowed_by)
    assigning = next((r for r in matched if r.assign_user_id is not None or r.assign_queue_id is not None), None)
    user = assigning.assign_user_id if assigning else None
    queued = assigning if assigning and user is None else None
    closes = any(rule.auto_close for rule in matched)
    status = next((rule.set_status for rule in matched if rule.set_status is not None), None)
    return Decision(
        rule_id=matched[0].rule_id,
        reason=f"matched {', '.join(f'rule {rule.rule_id} ({_conditions(rule)})' for rule in matched)}",
        assign_queue_id=queued.assign_queue_id if queued else None,
        assign_user_id=user,
        strategy=queued.strategy if queued else None,
        required_skills=queued.required_skills if queued else frozenset(),
        set_status="closed" if closes else status,
        set_priority=next((rule.set_priority for rule in matched if rule.set_priority is not None), None),
        auto_close=closes,
        drop=any(rule.action_drop for rule in matched),
        add_tags=tuple(dict.fromkeys(tag for rule in matched for tag in rule.add_tags)),
        trace=trace,
        allowed_by=allowed_by,
    )


def _conditions(rule: Rule) -> str:
    compared = (
        (RuleField.RECIPIENT, rule.match_recipient_pattern.strip()),
        (RuleField.SENDER_DOMAIN, rule.match_sender_domain_pattern.strip()),
        (RuleField.SENDER_EMAIL, rule.match_sender_email_pattern.strip()),
        (RuleField.DIRECTION, rule.match_direction or ""),
        (RuleField.SUBJECT, rule.match_subject_pattern),
    )
    return ", ".join(f"{name.replace('_', ' ')} {pattern}" for name, pattern in compared if pattern) or "any mail"


def _lowered(value: str | None) -> str:
    return value[:INPUT_LIMIT].strip().lower() if value else ""
