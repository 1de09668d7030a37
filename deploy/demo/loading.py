"""Puts the company of a scenario into the database: its assets, teams, queues and rules, and its mailboxes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, insert

from deploy.demo.serving import Gmail
from deploy.demo.specs import RuleSpec, Scenario
from models.enums import Provider
from models.tenancy import queues
from models.tickets import allowlist, routing_rules
from models.triage import assets
from models.work import teams
from pipeline.adapters.wiring import CREDENTIALS
from pipeline.commands.mailboxes import add_mailbox, ensure_organization
from pipeline.runtime.secrets import Secrets


def load_company(connection: Connection, scenario: Scenario) -> UUID:
    """Write everything but the mailboxes; return the organization's id."""
    org_id = ensure_organization(connection, scenario.organization)
    connection.execute(insert(assets), [{"org_id": org_id, **asdict(asset)} for asset in scenario.assets])
    connection.execute(
        insert(teams),
        [
            {
                "org_id": org_id,
                "name": team.name,
                "skills": list(team.skills),
                "zones": list(team.zones),
                "capacity": team.capacity,
            }
            for team in scenario.teams
        ],
    )
    queue_ids = _add_queues(connection, org_id, scenario)
    connection.execute(insert(routing_rules), [_rule(org_id, rule, queue_ids) for rule in scenario.rules])
    patterns = [{"org_id": org_id, "pattern": pattern} for pattern in scenario.allowlist]
    connection.execute(insert(allowlist), patterns)
    return org_id


def connect_mailboxes(
    connection: Connection, org_id: UUID, scenario: Scenario, gmail: Gmail, secret: str
) -> dict[str, UUID]:
    """Connect each mailbox with sealed credentials, as `fieldpost mailbox add gmail` does; return the ids by address.

    The server's address is kept with the mailbox, so that no command ever asks the real Gmail for it.
    """
    sealer = Secrets(secret)
    return {
        address: add_mailbox(
            connection,
            org_id,
            address,
            Provider.GMAIL,
            source={"endpoint": gmail.url},
            credentials=sealer.seal(CREDENTIALS, address, gmail.credentials(address)),
        )
        for address in scenario.mailboxes
    }


def queue_names(scenario: Scenario) -> list[str]:
    """Return the queues that the rules name, in the order of the rules."""
    return list(dict.fromkeys(name for rule in scenario.rules if (name := rule["assign_queue"])))


def _add_queues(connection: Connection, org_id: UUID, scenario: Scenario) -> dict[str, UUID]:
    names = queue_names(scenario)
    rows = connection.execute(
        insert(queues).returning(queues.c.id, queues.c.name),
        [{"org_id": org_id, "slug": _slug(name), "name": name} for name in names],
    )
    return {row.name: row.id for row in rows}


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _rule(org_id: UUID, rule: RuleSpec, queue_ids: Mapping[str, UUID]) -> dict[str, Any]:
    name = rule["assign_queue"]
    return {
        **{key: value for key, value in rule.items() if key != "assign_queue"},
        "org_id": org_id,
        "queue_id": queue_ids[name] if name else None,
        "name": _title(rule),
    }


def _title(rule: RuleSpec) -> str:
    """Return what a rule matches, for people who read the list of rules."""
    patterns = (
        rule["match_recipient_pattern"],
        rule["match_sender_domain_pattern"],
        rule["match_sender_email_pattern"],
        rule["match_subject_pattern"],
    )
    return ", ".join(pattern for pattern in patterns if pattern)
