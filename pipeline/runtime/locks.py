"""The classes of PostgreSQL's advisory locks with two numbers: what a lock is for; the second number says for whom."""

from __future__ import annotations

#: Held by a worker's session while it lives; the second number is the worker's.
WORKER = 77
#: Held by a transaction that lets a mailbox's fetches go.
PUMP = 78
#: Held by the session that waits for a mailbox's news.
LISTENER = 79
#: Held by a transaction that begins a bulk of dead letters; the second number is the organization's, 0 for all.
BULKS = 80
#: Held by the transaction that takes the bulks one tick on.
BULK_TICK = 81
#: Held by a transaction that registers a device; the second number is its token's.
DEVICE = 82
#: Held, shared, by a transaction that reckons with an organization's rules of pauses; alone by one that changes them.
PAUSES = 83
#: Held by a transaction that begins an upload which may break off; the second number is its owner's.
UPLOADS = 84
#: Held by a transaction that makes assets which reports name; the second number is the organization's.
ASSETS = 85
#: Held by a transaction that changes policies of triage; the second number is the organization's.
TRIAGE_POLICIES = 86
#: Held by a transaction that opens cases of assets that are spelled alike; the second number is their code's.
CASE_CODES = 87
