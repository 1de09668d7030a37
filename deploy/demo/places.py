"""What the demonstration company looks after and how it sorts its mail: zones, assets, teams, routing rules."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from deploy.demo.specs import AssetKind, AssetSpec, RuleSpec, TeamSpec

ORGANIZATION = "Northline Charging & Doors"
SUPPORT = "support@example.org"
DISPATCH = "dispatch@example.org"
MAILBOXES = (SUPPORT, DISPATCH)
ALIASES = {
    AssetKind.CHARGER: "charging@example.org",
    AssetKind.DOOR: "doors@example.org",
    AssetKind.GATE: "doors@example.org",
    AssetKind.LIFT: "lifts@example.org",
}
# Addresses that still reach the mailbox but that nobody answers any more.
RETIRED = ("promo@example.org", "webmaster@example.org", "jobs@example.org")
ALLOWLIST = ("support@example.org", "dispatch@example.org", "charging@*", "doors@*", "lift*@example.org")


@dataclass(frozen=True, slots=True)
class Zone:
    """A part of town; the degrees are its centre."""

    code: str
    name: str
    lat: float
    lon: float


ZONES = (
    Zone("NB", "North Bank", 30.3450, -97.7210),
    Zone("HB", "Harbour", 30.2480, -97.7050),
    Zone("OT", "Old Town", 30.2670, -97.7430),
    Zone("AP", "Airport", 30.1970, -97.6660),
    Zone("WP", "West Park", 30.2950, -97.8120),
)
_SITES = ("Depot", "Car Park", "Mall", "Clinic", "Campus", "Station", "Market Hall", "Office Court", "Arena", "Library")
_STOCK = ((AssetKind.CHARGER, 90), (AssetKind.DOOR, 36), (AssetKind.GATE, 18), (AssetKind.LIFT, 16))
_PREFIX = {AssetKind.DOOR: "DOOR", AssetKind.GATE: "GATE", AssetKind.LIFT: "LIFT"}

TEAMS = (
    TeamSpec("Volt North", (AssetKind.CHARGER,), ("NB", "OT", "WP"), 8),
    TeamSpec("Volt South", (AssetKind.CHARGER,), ("HB", "AP", "OT"), 8),
    TeamSpec("Hinge and Gate", (AssetKind.DOOR, AssetKind.GATE), ("NB", "HB", "OT", "AP", "WP"), 6),
    TeamSpec("Lift Crew", (AssetKind.LIFT,), ("NB", "HB", "OT", "AP", "WP"), 4),
    TeamSpec("Night Stand-by", tuple(AssetKind), ("NB", "HB", "OT", "AP", "WP"), 3),
)


def make_assets(rng: Random) -> tuple[AssetSpec, ...]:
    """Return every asset, tags unique: chargers `AUS_0101`, others `DOOR-NB-014` (kind, zone, number)."""
    return tuple(_asset(rng, kind, number) for kind, count in _STOCK for number in range(1, count + 1))


def _asset(rng: Random, kind: AssetKind, number: int) -> AssetSpec:
    zone = rng.choice(ZONES)
    tag = f"AUS_{100 + number:04d}" if kind is AssetKind.CHARGER else f"{_PREFIX[kind]}-{zone.code}-{number:03d}"
    name = f"{zone.name} {rng.choice(_SITES)} {kind} {number}"
    lat, lon = (round(centre + rng.uniform(-0.02, 0.02), 5) for centre in (zone.lat, zone.lon))
    return AssetSpec(tag, name, kind, zone.code, lat, lon)


def make_rules() -> tuple[RuleSpec, ...]:
    """Return the routing rules in the order they are asked; the last one catches what the others leave."""
    return (
        _rule(10, subject="newsletter", status="closed", tags=("newsletter",), close=True),
        _rule(20, sender_domain="clinic.example.com", urgency="urgent", queue="Dispatch", tags=("vip",)),
        _rule(30, subject="urgent", urgency="urgent", queue="Dispatch", tags=("urgent",)),
        _rule(40, subject="invoice", queue="Billing", tags=("billing",)),
        _rule(41, subject="rechnung", queue="Billing", tags=("billing",)),
        _rule(50, recipient="charging@*", queue="Charging"),
        _rule(60, recipient="doors@*", queue="Doors and gates"),
        _rule(70, recipient="lift*@*", urgency="high", queue="Lifts"),
        _rule(80, sender_email="mailer-daemon@*", status="pending", urgency="low", tags=("bounce",)),
        _rule(90, recipient=DISPATCH, urgency="high", queue="Dispatch"),
        _rule(1000, recipient=SUPPORT, queue="Front desk"),
    )


def _rule(
    priority: int,
    *,
    recipient: str | None = None,
    sender_domain: str | None = None,
    sender_email: str | None = None,
    subject: str | None = None,
    status: str | None = None,
    urgency: str | None = None,
    queue: str | None = None,
    tags: tuple[str, ...] = (),
    close: bool = False,
) -> RuleSpec:
    return RuleSpec(
        match_recipient_pattern=recipient,
        match_sender_domain_pattern=sender_domain,
        match_sender_email_pattern=sender_email,
        match_subject_pattern=subject,
        set_status=status,
        set_priority=urgency,
        assign_queue=queue,
        add_tags=list(tags),
        auto_close=close,
        priority=priority,
    )
