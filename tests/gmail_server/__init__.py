"""A real HTTP server that speaks the part of Gmail's v1 API a sync engine uses, for tests and benchmarks."""

from __future__ import annotations

from tests.gmail_server.faults import FaultKind
from tests.gmail_server.quota import QuotaProfile
from tests.gmail_server.server import GmailServer
from tests.gmail_server.state import Mailbox

__all__ = ["FaultKind", "GmailServer", "Mailbox", "QuotaProfile"]
