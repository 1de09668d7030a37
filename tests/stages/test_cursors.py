"""A cursor moves in the transaction that records what was read: who dies before its commit reads the same again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from sqlalchemy import text

from pipeline.ports import Changes, Listed, Page
from pipeline.runtime import listing
from pipeline.stage import Work
from pipeline.stages import backfill, history
from tests.stages.world import AnyStage, World


class _Dies(Exception):
    """The process ends here."""


@contextmanager
def _dying(world: World, stage: AnyStage) -> Iterator[None]:
    """Read and save what a stage has to, and die before the commit; the block sees what is left."""
    job = world.job(stage, world.mailbox_id)
    with world.db.begin() as connection:
        items = stage.load(connection, [job])
    (result,) = stage.work(list(items.values()), world.ports)
    with suppress(_Dies), world.db.begin() as connection:
        stage.save(connection, [Work(job, items[job.job_id], result)])
        assert connection.execute(text("SELECT count(*) FROM occurrences")).scalar_one()
        raise _Dies
    yield


def _known(world: World) -> set[str]:
    return {row.provider_id for row in world.rows("SELECT provider_id FROM occurrences")}


@pytest.mark.fault("F-03")
def test_history_that_dies_before_its_commit_is_read_again_from_the_same_cursor(world: World):
    world.source.history = {("50", None): Changes("60", [Listed("a")]), ("60", None): Changes("60")}
    with _dying(world, history.STAGE):
        assert world.value("SELECT sync_cursor FROM mailboxes") == "50"
    world.run(history.STAGE, world.mailbox_id)
    assert _known(world) == {"a"}
    assert world.value("SELECT sync_cursor FROM mailboxes") == "60"


@pytest.mark.fault("F-03")
def test_a_listing_that_dies_before_its_commit_lists_the_same_page_again(world: World):
    world.source.has_dates = False
    world.source.pages = {
        None: Page([Listed("d")], "page 2"),
        "page 2": Page([Listed("c")], "page 3"),
        "page 3": Page([Listed("b")], None),
    }
    with world.db.begin() as connection:
        listing.begin(connection, world.mailbox_id)
    world.run(backfill.STAGE, world.mailbox_id)
    with _dying(world, backfill.STAGE):
        assert world.value("SELECT cursor FROM backfill_windows") == "page 2"
    while world.value("SELECT count(*) FROM backfills WHERE state = 'running'"):
        world.run(backfill.STAGE, world.mailbox_id)
    assert _known(world) == {"b", "c", "d"}
