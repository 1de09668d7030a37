"""Every operation of the published description, asked with generated requests; each answer must be as described.

Schemathesis makes the requests and judges the answers; what it has no way to know is added here: people of three
roles, and the ids of things that are there, so that more than 404 comes back.
"""

from __future__ import annotations

import asyncio
import copy
from collections import Counter
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from types import TracebackType
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import UUID

import requests
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as hypothesis_settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode, Response
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.failures import FailureGroup
from sqlalchemy import text

from models.enums import QuarantineCause
from ops_api.limits import Limits
from pipeline.ports import BlobStore
from pipeline.runtime.db import Database
from pipeline.runtime.secrets import Secrets
from tests import factories
from tests.factories import mail
from tests.ops_api import people, serving
from tests.stages.world import World

BASE_URL = "http://127.0.0.1"
#: Nothing of a fuzzed run is refused for coming too often.
UNLIMITED = Limits(
    **{f"{name}_per_minute": 10**9 for name in ("auth", "read", "write", "search", "download", "stray")},
    deadline=timedelta(seconds=60),
)
CHECKED = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
#: Bytes of an upload that goes on (tus 1.0.0) leave as they are.
schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")
_ASKED = frozenset({"method", "url", "headers", "files", "data", "json", "params"})
#: Where a mailbox that is there would be asked for at its provider, which is not there.
_ASK_A_PROVIDER = frozenset({"/mailboxes/{mailbox_id}/connectivity", "/mailboxes/{mailbox_id}/sync/labels"})
_TABLES = {
    "person": "people",
    "letter": "dead_letters",
    "outbound": "outbound",
    "rule": "routing_rules",
    "pattern": "asset_patterns",
}
#: A shape of requests: how many of ten, whether they are meant well, and whether they are about things that are there.
_MIX = ((2, GenerationMode.POSITIVE, False), (5, GenerationMode.POSITIVE, True), (3, GenerationMode.NEGATIVE, True))


@dataclass(slots=True)
class Tally:
    """What was asked, and what did not come back as described."""

    statuses: Counter[int] = field(default_factory=Counter)
    problems: dict[tuple[str, int, str], str] = field(default_factory=dict)

    @property
    def asked(self) -> int:
        """How many cases were asked."""
        return self.statuses.total()


class Client:
    """Asks an app in this process, on one event loop for all requests."""

    def __init__(self, app: FastAPI) -> None:
        self._app, self._loop = app, asyncio.new_event_loop()
        self._lifespan = app.router.lifespan_context(app)

    def __enter__(self) -> Client:
        self._loop.run_until_complete(self._lifespan.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.run_until_complete(self._lifespan.__aexit__(None, None, None))
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def ask(self, case: Case, headers: Mapping[str, str]) -> Response:
        """Send a case as the person whose headers these are."""
        options = case.as_transport_kwargs(base_url=BASE_URL, headers=dict(headers))
        sent = requests.Request(**{name: value for name, value in options.items() if name in _ASKED}).prepare()
        status, said, content = self._loop.run_until_complete(self._exchange(sent))
        return Response(
            status_code=status,
            headers={name: [value] for name, value in said.items()},
            content=content,
            request=sent,
            elapsed=0.0,
            message="",
            encoding="utf-8",
            http_version="1.1",
            verify=False,
        )

    async def _exchange(self, sent: requests.PreparedRequest) -> tuple[int, dict[str, str], bytes]:
        parts = urlsplit(sent.url or BASE_URL)
        body = sent.body or b""
        requests_left: list[MutableMapping[str, Any]] = [
            {"type": "http.request", "body": body.encode() if isinstance(body, str) else body}
        ]
        messages: list[MutableMapping[str, Any]] = []

        async def receive() -> MutableMapping[str, Any]:
            if requests_left:
                return requests_left.pop()
            # Who asks stays until the answer is here.
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: MutableMapping[str, Any]) -> None:
            messages.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": sent.method or "GET",
            "scheme": parts.scheme,
            "path": unquote(parts.path),
            "raw_path": parts.path.encode(),
            "query_string": parts.query.encode(),
            "root_path": "",
            "headers": [
                (b"host", parts.netloc.encode()),
                *((_bytes(name).lower(), _bytes(value)) for name, value in sent.headers.items()),
            ],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
            "state": {},
        }
        await self._app(scope, receive, send)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in messages[0]["headers"]}
        return messages[0]["status"], headers, b"".join(message.get("body", b"") for message in messages[1:])


def _bytes(said: str | bytes) -> bytes:
    return said.encode("latin-1", errors="replace") if isinstance(said, str) else said


@dataclass(frozen=True, slots=True)
class Seeded:
    """An organization with something of each kind in it."""

    db: Database
    secrets: Secrets
    org_id: UUID

    def headers(self, role: str | None) -> dict[str, str]:
        """Return what a person of the role sends, with a session that begins now; nothing for nobody."""
        if role is None:
            return {}
        with self.db.begin() as connection:
            person_id = people.member(connection, self.org_id, role)
            signed = people.sign_in(connection, self.secrets, self.org_id, person_id)
        return {"cookie": "; ".join(f"{name}={value}" for name, value in signed.cookies.items()), **signed.headers}

    def ids(self, names: Sequence[str]) -> dict[str, list[Any]]:
        """Return ids of things that are there for the parameters of a path, the newest of each; only those known."""
        with self.db.begin() as connection:
            tables = set(connection.execute(_WITH_IDS).scalars())
            found = {}
            for name in names:
                stem = name.removesuffix("_id")
                named = _TABLES.get(stem, f"{stem}s")
                table = next((one for one in (named, f"{stem}es", f"{stem[:-1]}ies") if one in tables), None)
                if name.endswith("_id") and table:
                    statement = text(f"SELECT id FROM {table} ORDER BY id DESC LIMIT 3")
                    found[name] = [str(one) for one in connection.execute(statement).scalars()]
        return {name: ids for name, ids in found.items() if ids}


_WITH_IDS = text(
    "SELECT table_name FROM information_schema.columns WHERE table_schema = 'public' AND column_name = 'id'"
)


_REAL_BYTES = text("""
    UPDATE occurrences SET raw_sha256 = (SELECT raw_sha256 FROM occurrences WHERE id <> :id LIMIT 1) WHERE id = :id
""")


def seeded(db: Database, secrets: Secrets, blobs: BlobStore) -> Seeded:
    """Build the organization that is asked about."""
    world = World(db)
    with db.begin() as connection:
        # What the mails speak of: a case, and who could be sent.
        factories.asset(connection, world.org_id, "AUS_0123")
        factories.team(connection, world.org_id, "FieldOps")
    world.triaged(
        mail("Charger AUS_0123 down", message_id="<a@customer.example>"),
        mail("Re: Charger AUS_0123 down", message_id="<b@customer.example>", in_reply_to="<a@customer.example>"),
        mail("Another matter", message_id="<c@customer.example>"),
    )
    for (kind, sha256), content in world.blobs.contents.items():
        blobs.put(kind, {sha256: content})
    with db.begin() as connection:
        found = connection.execute(text("SELECT id FROM mailboxes LIMIT 1")).scalar_one()
        (occurrence_id,) = serving.fetched(connection, world.org_id, found, ["m-1"])
        # Its bytes are those of another message: they must be there.
        connection.execute(_REAL_BYTES, {"id": occurrence_id})
        serving.kill(connection, world.org_id, found, stage="parse", key=str(occurrence_id), said="in line 1")
        serving.hold(connection, world.org_id, occurrence_id, QuarantineCause.POISON)
        serving.compared(connection, world.org_id)
        serving.over(connection, world.org_id)
        factories.identity(connection, world.org_id, found, "desk@ours.example", name="Ours")
        people.member(connection, world.org_id, "dispatcher", "bystander@example.org")
    return Seeded(db, secrets, world.org_id)


def operations(described: Mapping[str, Any]) -> list[Any]:
    """Return the operations of a description, by name."""
    schema = schemathesis.openapi.from_dict(_for_generation(described))
    return sorted((found.ok() for found in schema.get_all_operations()), key=lambda one: str(one.label))


class Fuzz:
    """Asks the operations of one description, each generated request as a person of every role; None is nobody."""

    def __init__(self, client: Client, operations: Sequence[Any], there: Seeded, roles: Sequence[str | None]) -> None:
        self._client, self._there = client, there
        self._people = [(role, there.headers(role)) for role in roles]
        load_all_checks()
        self._checks = CHECKS.get_by_names(list(CHECKED))
        self._operations = operations

    def run(self, part: int, parts: int, cases: int, first_seed: int) -> Tally:
        """Ask the operations of one part until so many cases were asked: a request of one person is a case."""
        tally, round_ = Tally(), 0
        operations = self._operations[part::parts]
        while tally.asked < cases:
            left = (cases - tally.asked) // len(self._people)
            each = max(10, left // max(1, len(operations)))
            before = tally.asked
            for operation in operations:
                self._ask(operation, each, first_seed + round_, tally)
            # What has nothing to vary was asked once; the rest is asked again, with other seeds.
            operations = [one for one in operations if _varies(one)] or operations
            round_ += 1
            assert tally.asked > before, "nothing can be asked"
        return tally

    def _ask(self, operation: Any, cases: int, number: int, tally: Tally) -> None:
        for tenths, mode, is_there in _MIX if _varies(operation) else ((10, GenerationMode.POSITIVE, False),):
            known = self._known(operation) if is_there else {}
            strategy = operation.as_strategy(generation_mode=mode, path_parameters=known or None)

            @seed(number)
            @hypothesis_settings(
                max_examples=max(1, cases * tenths // 10),
                database=None,
                deadline=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(strategy)
            def ask(case: Case) -> None:
                self._judge(case, tally)

            try:
                ask()
            except Unsatisfiable:
                # There is no wrong way to ask for it.
                continue

    def _known(self, operation: Any) -> dict[str, Any]:
        names = [parameter.name for parameter in operation.path_parameters]
        if not names or operation.path in _ASK_A_PROVIDER:
            return {}
        return {name: ids[0] for name, ids in self._there.ids(names).items()}

    def _judge(self, case: Case, tally: Tally) -> None:
        # Whoever comes first may leave less for the others to find, so that they take turns.
        self._people.append(self._people.pop(0))
        for place, (role, headers) in enumerate(self._people):
            answer = self._client.ask(case, headers)
            tally.statuses[answer.status_code] += 1
            if answer.status_code == 401 and role is not None:
                # It asked for its session's end, and got it.
                self._people[place] = (role, self._there.headers(role))
            try:
                case.validate_response(answer, checks=self._checks)
            except FailureGroup as group:
                for failure in group.exceptions:
                    key = (str(case.operation.label), answer.status_code, type(failure).__name__)
                    said = f"as {role}: {failure}\n{answer.text[:500]}\n{case.as_curl_command()[:1_500]}"
                    tally.problems.setdefault(key, said)


#: Hypothesis makes no text as long as this.
_FAR = 5_000
#: Headers that the person's own stand in.
_OURS = frozenset({"x-csrf-token", "authorization", "cookie"})


def _varies(operation: Any) -> bool:
    return bool([*operation.path_parameters, *operation.query, *operation.body])


def _for_generation(described: Mapping[str, Any]) -> dict[str, Any]:
    """Return the description as requests are made of it.

    Without its ways in: the person's own are sent, and made-up ones would replace them. And without bounds that no
    made-up text comes near: for a pattern with one of 100,000 an automaton of as many states was made at each of a
    thousand turns, a third of the whole time.
    """
    bare = _without_far_bounds(copy.deepcopy(dict(described)))
    for operations in bare["paths"].values():
        for operation in operations.values():
            operation.pop("security", None)
            operation["parameters"] = [one for one in operation.get("parameters", ()) if one["name"] not in _OURS]
    return bare


def _without_far_bounds(part: Any) -> Any:
    """Take the longest length off texts that have a pattern, where it is far; in place."""
    if isinstance(part, dict):
        length = part.get("maxLength")
        if isinstance(part.get("pattern"), str) and isinstance(length, int) and length > _FAR:
            del part["maxLength"]
    for one in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        _without_far_bounds(one)
    return part
