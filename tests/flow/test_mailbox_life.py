"""Random lives of a mailbox: whatever happens, the ledger equals the provider at every quiet point."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import pytest
import structlog
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from deploy.local.lock import Endpoints
from pipeline.runtime.db import Database
from pipeline.runtime.settings import Settings
from tests.conftest import fresh_database
from tests.flow.mailbox_life import MailboxLife
from tests.gmail_server.server import GmailServer

STEPS = 1_000
#: A quiet point comes about once in this many steps, and at the end.
_STEPS_TO_REST = 80

#: 26 once found a message that vanished between two comparisons, the second asked for as the first recorded it.
_ALWAYS = (1, 3, 5, 26)
SEEDS = [
    *_ALWAYS,
    *(pytest.param(number, marks=pytest.mark.soak) for number in range(2, 51) if number not in _ALWAYS),
]


@pytest.mark.parametrize("number", SEEDS)
@pytest.mark.timeout(900)
@pytest.mark.fault("F-37", "F-38", "F-40", "F-41", "F-42", "F-43", "F-46", "F-48")
def test_the_ledger_equals_the_provider_after_every_quiet_point(number: int, servers: Endpoints, tmp_path: Path):
    """Print the seed; `pytest "tests/flow/test_mailbox_life.py::...[SEED]"` runs the same life again."""
    print(f"seed {number}")
    before = structlog.get_config()
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    try:
        machine = machine_of(servers, tmp_path)
        run_state_machine_as_test(
            seed(number)(machine),
            settings=settings(
                max_examples=2, stateful_step_count=STEPS + 10, deadline=None, database=None, phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            ),
            _min_steps=STEPS + 10,
        )  # fmt: skip
    finally:
        structlog.configure(**before)
    assert machine.taken >= STEPS
    assert machine.rests >= STEPS // _STEPS_TO_REST


def machine_of(servers: Endpoints, folder: Path) -> Any:  # noqa: C901 - a class of short methods
    """Return a machine whose rules are the steps of a life, each with a database and a provider of its own."""

    class Machine(RuleBasedStateMachine):
        taken: ClassVar[int] = 0
        rests: ClassVar[int] = 0

        def __init__(self) -> None:
            super().__init__()
            self.life: MailboxLife | None = None
            self.opened: Any = None

        @initialize(number=st.integers(0, 2**32))
        def begin(self, number: int) -> None:
            # Hypothesis begins with the simplest of all runs; it says nothing here, so its steps do nothing.
            if number:
                self.opened = opened_life(servers, folder, number)
                self.life = self.opened.__enter__()

        def teardown(self) -> None:
            try:
                if self.life is not None:
                    self._rest(self.life)
            finally:
                if self.opened is not None:
                    self.opened.__exit__(None, None, None)

        def _step(self, name: str, number: int) -> None:
            if self.life is None:
                return
            getattr(self.life, name)(Random(number))
            type(self).taken += 1
            if type(self).taken % _STEPS_TO_REST == 0:
                self._rest(self.life)

        def _rest(self, life: MailboxLife) -> None:
            life.come_to_rest()
            type(self).rests += 1
            assert life.differences() == []

    for name in MailboxLife.RULES:
        setattr(Machine, name, _rule(name))
    return Machine


def _rule(name: str) -> Any:
    def take(self: Any, number: int) -> None:
        self._step(name, number)

    take.__name__ = name
    made: Callable[[Any], Any] = rule(number=st.integers(0, 2**16 - 1))
    return made(take)


@contextmanager
def opened_life(servers: Endpoints, folder: Path, number: int) -> Iterator[MailboxLife]:
    """Give the block a mailbox at a server of its own, and a migrated database that is gone afterwards."""
    with fresh_database(servers) as url, GmailServer(seed=number) as server:
        database = Database(url, "test")
        options = Settings(
            database_url=url, redis_url=servers.redis_url, blob_url=f"file://{folder}/blobs", data_dir=folder,
            secret_key="a secret key that only tests know", quota_minute_seconds=0.05,
        )  # fmt: skip
        life = MailboxLife(server, database, options, folder)
        life.begin()
        try:
            yield life
        finally:
            life.close()
            database.close()
