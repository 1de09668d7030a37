"""What people do during a chaos run, over HTTP: they pause and resume, ask for listings, replay letters and answer."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any
from uuid import UUID

import httpx
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from pipeline.runtime.db import Database
from pipeline.runtime.secrets import Secrets
from pipeline.runtime.settings import Settings
from tests.faults.chaos_mail import ADDRESSES, GmailDesks
from tests.ops_api.people import member, sign_in

_TICKETS = text("""
    SELECT id, requester_email FROM tickets
     WHERE org_id = :org AND status <> 'merged' AND requester_email LIKE 'ann%' ORDER BY random() LIMIT 5
""")
#: Whoever asks too often is told to wait; the limits fill up again within a minute.
_INSISTING = Retrying(retry=retry_if_result(lambda done: not done), stop=stop_after_delay(120), wait=wait_fixed(0.5))
#: What a request may be answered with: an answer, a refusal in words, "not now", "too many".
_FAIR = frozenset({200, 202, 400, 404, 409, 422, 429, 503})


@dataclass(frozen=True, slots=True)
class Wish:
    """A reply that somebody asks for until it is acknowledged, always under the same key."""

    key: str
    ticket_id: UUID
    body: dict[str, Any]


class People:
    """One person per organization who is never tired; `start`, then `stop`."""

    def __init__(self, desks: GmailDesks, org_ids: tuple[UUID, ...], port: int, settings: Settings, chance: Random):
        self._desks, self._chance = desks, chance
        self._db = Database(str(settings.database_url), "people", pool_size=1)
        secrets = Secrets.of(settings)
        self._clients = {org_id: _client(self._db, secrets, org_id, port) for org_id in org_ids}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._go, daemon=True)
        #: Answers by status; 0 for none.
        self.answers: Counter[int] = Counter()
        self.unfair: list[str] = []
        #: Replies that were asked for, and those that were acknowledged.
        self.wishes: dict[str, Wish] = {}
        self.acknowledged: set[str] = set()
        self.done: Counter[str] = Counter()

    def start(self) -> None:
        """Begin in a thread of their own."""
        self._thread.start()

    def stop(self) -> None:
        """End, then ask again for every reply that was not acknowledged, until each is."""
        self._stop.set()
        self._thread.join(60)
        for wish in self.wishes.values():
            with suppress(RetryError):
                _INSISTING(self._ask_again, wish)
        for client in self._clients.values():
            client.close()
        self._db.close()

    def _ask_again(self, wish: Wish) -> bool:
        """Ask unless it was acknowledged; say whether it is."""
        if wish.key not in self.acknowledged:
            self._ask(wish)
        return wish.key in self.acknowledged

    def _go(self) -> None:
        acts = (self._reply, self._reply, self._pause, self._resume, self._resume, self._list, self._replay, self._look)
        while not self._stop.wait(0.05):
            act = self._chance.choice(acts)
            self.done[act.__name__.strip("_")] += 1
            with suppress(DBAPIError):
                act()

    def _reply(self) -> None:
        with self._db.begin() as connection:
            found = connection.execute(_TICKETS, {"org": self._desks.org_id}).all()
        if not found or len(self.wishes) >= 40:
            return
        row, number = self._chance.choice(found), len(self.wishes)
        address = self._chance.choice(ADDRESSES)
        body = {
            "send_identity_id": str(self._desks.identity_ids[address]), "to_emails": [row.requester_email],
            "subject": f"Re: Case {number}", "body_text": f"Answer {number}.",
        }  # fmt: skip
        wish = Wish(f"key-{number}", row.id, body)
        self.wishes[wish.key] = wish
        self._ask(wish)

    def _ask(self, wish: Wish) -> None:
        path = f"/tickets/{wish.ticket_id}/reply"
        answer = self._post(self._desks.org_id, path, json=wish.body, headers={"Idempotency-Key": wish.key})
        if answer is None or answer.status_code in {429, 503}:
            return
        if answer.status_code != 202:
            self.unfair.append(f"reply {wish.key}: {answer.status_code} {answer.text[:200]}")
        self.acknowledged.add(wish.key)

    def _pause(self) -> None:
        mailbox_id = self._chance.choice(list(self._desks.mailbox_ids.values()))
        self._post(self._desks.org_id, f"/mailboxes/{mailbox_id}/sync/pause", json={"minutes": 1, "reason": "chaos"})

    def _resume(self) -> None:
        for mailbox_id in self._desks.mailbox_ids.values():
            self._post(self._desks.org_id, f"/mailboxes/{mailbox_id}/sync/resume")

    def _list(self) -> None:
        mailbox_id = self._chance.choice(list(self._desks.mailbox_ids.values()))
        what = self._chance.choice(("backfill", "history", "reconcile", "audit"))
        self._post(self._desks.org_id, f"/mailboxes/{mailbox_id}/sync/{what}")

    def _replay(self) -> None:
        """Replay letters: one by one, or as one wish about many that lets a few go first."""
        for org_id in self._clients:
            answer = self._call(org_id, "GET", "/ops/jobs/dlq?limit=50")
            items = answer.json()["items"] if answer is not None and answer.status_code == 200 else []
            if len(items) > 1 and self._chance.random() < 0.5:
                wish = {"letter_ids": [item["letter_id"] for item in items], "canary": 1, "reason": "chaos"}
                self._post(org_id, "/ops/jobs/dlq/replay", json=wish)
            else:
                for item in items[:2]:
                    self._post(org_id, f"/ops/jobs/{item['id']}/replay", json={"reason": "chaos"})

    def _look(self) -> None:
        for path in ("/readyz", "/metrics", "/ops/metrics/overview", "/mailboxes"):
            self._call(self._desks.org_id, "GET", path)

    def _post(self, org_id: UUID, path: str, **options: Any) -> httpx.Response | None:
        return self._call(org_id, "POST", path, **options)

    def _call(self, org_id: UUID, method: str, path: str, **options: Any) -> httpx.Response | None:
        try:
            answer = self._clients[org_id].request(method, path, **options)
        except httpx.TransportError:
            self.answers[0] += 1
            self._stop.wait(0.1)
            return None
        self.answers[answer.status_code] += 1
        if answer.status_code not in _FAIR:
            self.unfair.append(f"{method} {path}: {answer.status_code} {answer.text[:200]}")
        return answer


def _client(db: Database, secrets: Secrets, org_id: UUID, port: int) -> httpx.Client:
    with db.begin() as connection:
        signed = sign_in(connection, secrets, org_id, member(connection, org_id))
    url = f"http://127.0.0.1:{port}"
    return httpx.Client(base_url=url, timeout=30, trust_env=False, cookies=signed.cookies, headers=signed.headers)
