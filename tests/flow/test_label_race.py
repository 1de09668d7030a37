"""A label that changes between the reading of a mail and the writing of its row."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pipeline.ports import Changes, Fetched, Listed, Missed
from pipeline.runtime.db import Database
from pipeline.stages import fetch, history
from tests import factories
from tests.stages.world import World


@pytest.mark.parametrize("newer", [("INBOX",), ("INBOX", "UNREAD")])
def test_labels_that_history_wrote_meanwhile_are_not_overwritten(db: Database, newer: tuple[str, ...]) -> None:
    world = World(db)
    source = world.source
    with db.begin() as connection:
        found = factories.occurrence(connection, world.mailbox_id, "a", labels=("INBOX", "UNREAD"))
    source.mails["a"] = Fetched("a", b"raw", labels=("INBOX", "STARRED"))
    source.history = {("50", None): Changes("60", labels={"a": newer})}
    read = source.fetch

    def read_and_change(items: Sequence[Listed]) -> Sequence[Fetched | Missed]:
        answers = read(items)
        world.run(history.STAGE, world.mailbox_id)
        return answers

    source.fetch = read_and_change  # type: ignore[method-assign]
    world.run(fetch.STAGE, found)
    assert world.value("SELECT labels FROM occurrences") == list(newer)
    assert world.state_of(found) == "fetched"
