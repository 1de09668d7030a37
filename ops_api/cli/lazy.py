"""A group of commands that imports a command only when it is run: `fieldpost parse` needs no database."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from typer.core import TyperCommand, TyperGroup
from typer.main import get_command


@dataclass(frozen=True, slots=True)
class Entry:
    """One command: the module of `ops_api.cli` that holds its `app`, a sentence, and the panel it is listed in."""

    module: str
    sentence: str
    panel: str


_RUN, _MAIL, _DESK, _PEOPLE, _LOOK, _REPAIR = "Run", "Mail", "Desk", "People", "Look", "Repair"

COMMANDS: Mapping[str, Entry] = MappingProxyType(
    {
        "up": Entry("up", "Run everything on this machine: database, broker, workers and the HTTP API.", _RUN),
        "migrate": Entry("migrate", "Bring the database's tables up to this version.", _RUN),
        "api": Entry("api", "Run the HTTP API alone.", _RUN),
        "worker": Entry("worker", "Run one worker alone.", _RUN),
        "schedule": Entry("schedule", "Ask for what is due: polls and nightly work; --list shows how it stands.", _RUN),
        "import": Entry("importing", "Bring in mail from files, and prove that all of it arrived.", _MAIL),
        "mailbox": Entry("mailbox", "Add, list, pause and resume mailboxes.", _MAIL),
        "backfill": Entry("backfill", "List a mailbox and read what is not here yet.", _MAIL),
        "history": Entry("history", "Read what changed in a mailbox since the last time.", _MAIL),
        "reconcile": Entry("reconcile", "Compare a mailbox with its provider, and correct what differs.", _MAIL),
        "gaps": Entry("gaps", "List what is, or may be, missing of a mailbox; --fill fetches it.", _MAIL),
        "quota": Entry("quota", "Show and set what a provider's projects may spend.", _MAIL),
        "reply": Entry("reply", "Answer a ticket by mail.", _DESK),
        "identity": Entry("identity", "See and set the addresses that are written from.", _MAIL),
        "outbound": Entry("outbound", "Look at mail that is sent; decide what got stuck.", _REPAIR),
        "policy": Entry("policy", "See and set how an organization stitches, answers and forgets.", _MAIL),
        "people": Entry("people", "Add, list and disable people; set roles and passwords; make reset links.", _PEOPLE),
        "technician": Entry("technician", "See technicians; set their zones, home and certificates.", _PEOPLE),
        "token": Entry("token", "Make, list and revoke tokens for scripts that call the API.", _PEOPLE),
        "export": Entry("export", "Write out tickets, messages or work orders, one JSON object per line.", _MAIL),
        "search": Entry("search", "Find messages by their words, people, dates and attachments.", _DESK),
        "status": Entry("status", "Show how mailboxes stand, how fast they go, and why they wait.", _LOOK),
        "audit": Entry("audit", "Compare every id at the provider with the ledger.", _LOOK),
        "labels": Entry("labels", "Compare the provider's count of messages per label with the ledger's.", _LOOK),
        "parse": Entry("parse", "Show what is understood of mail in files; stores nothing.", _LOOK),
        "raw": Entry("raw", "Write out the bytes of a message as its mailbox holds them.", _LOOK),
        "trail": Entry("trail", "See who did what; prove that nothing of it was changed; write it out.", _PEOPLE),
        "ticket": Entry("ticket", "List tickets; see why messages stand in one; merge, split, undo.", _DESK),
        "asset": Entry("asset", "List, enter and import assets; set the patterns of their tags.", _DESK),
        "routing": Entry("routing", "See rules and why a ticket was routed so; try rules on past mail.", _DESK),
        "triage": Entry("triage", "See, change and measure how cases are triaged; policies in versions.", _DESK),
        "plan": Entry("plan", "Plan a day for all technicians, with reasons; apply the plan.", _DESK),
        "reprocess": Entry("reprocess", "Do a step again with what is stored: compare in shadow, then apply.", _REPAIR),
        "collisions": Entry("collisions", "List messages that look alike and were kept apart; mark old ones.", _REPAIR),
        "keys": Entry("keys", "See and replace the secret key that mailboxes' credentials are sealed with.", _REPAIR),
        "invoice": Entry("invoice", "List and show invoices; write one out to print; set their numbers.", _DESK),
        "sla": Entry("sla", "See service levels and a ticket's clocks; compute clocks anew.", _DESK),
        "quarantine": Entry("quarantine", "Look at mail that was set aside as a loop, and release it.", _REPAIR),
        "dlq": Entry("dlq", "Look at dead letters, replay or discard them.", _REPAIR),
        "erase": Entry("erase", "Forget the mail of an address, for good; see what was forgotten.", _PEOPLE),
        "backup": Entry("backup", "Copy everything to another disk while it runs; --follow goes on.", _RUN),
        "restore": Entry("restore", "Restore a backup onto an empty machine, so that nothing happens twice.", _RUN),
        "doctor": Entry("doctor", "Check settings, connections, tables, clocks and disk; say what to do.", _REPAIR),
    }
)


class _Listed(TyperCommand):
    """A command as it is listed; the real one is imported when it is run."""

    def __init__(self, name: str, entry: Entry) -> None:
        super().__init__(name, help=entry.sentence, rich_help_panel=entry.panel)
        self.entry = entry


class LazyGroup(TyperGroup):
    """Lists every command of `COMMANDS`, and imports one when it is run."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = {name: _Listed(name, entry) for name, entry in COMMANDS.items()}

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Return the real command in place of the listed one."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, _load(command), rest


def _load(command: Any) -> Any:
    if not isinstance(command, _Listed):
        return command
    found = get_command(importlib.import_module(f"ops_api.cli.{command.entry.module}").app)
    found.name = command.name
    return found
