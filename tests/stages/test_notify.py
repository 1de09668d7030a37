"""Notify: what is told to people leaves once there is a relay, and while it is of use; nothing of it is kept after."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest

from models.enums import NoticeKind
from pipeline.core.handing_over import Handed, HandOver
from pipeline.core.notices import Words
from pipeline.runtime import notices
from pipeline.runtime.db import Database
from pipeline.runtime.errors import Permanent, Transient
from pipeline.stage import Again
from pipeline.stages.notify import STAGE
from tests.stages.world import SECRETS, World

_WORDS = Words("Set a new password", "the code is hush-canary")


@pytest.fixture
def world(db: Database) -> World:
    made = World(db)
    made.notifier.is_ready = True
    return made


def written(world: World, kind: NoticeKind = NoticeKind.PASSWORD_RESET, *, age: timedelta = timedelta(0)) -> UUID:
    """Write down a notice to Ann, as old as told; return its id."""
    person = world.rows(
        "INSERT INTO people (email) VALUES ('ann@example.org') ON CONFLICT (email) WHERE email IS NOT NULL"
        " DO UPDATE SET email = excluded.email RETURNING id"
    )[0].id
    with world.db.begin() as connection:
        notices.tell(
            connection, SECRETS, org_id=world.org_id, person_id=person, kind=kind, recipient="ann@example.org",
            words=_WORDS,
        )  # fmt: skip
    found: UUID = world.rows("SELECT id FROM notices ORDER BY id DESC LIMIT 1")[0].id
    world.rows("UPDATE notices SET created_at = created_at - CAST(:age AS interval) WHERE id = :id RETURNING id",
               age=age, id=found)  # fmt: skip
    return found


def test_a_notice_is_sent_once_and_what_it_said_is_gone(world: World) -> None:
    notice = written(world)
    assert world.value("SELECT count(*) FROM jobs WHERE stage = 'notify' AND key = :id", id=str(notice)) == 1
    assert world.run(STAGE, notice).unsaved == {}
    (told,) = world.notifier.told
    assert notices.opened(SECRETS, told.notice_id, told.sealed) == _WORDS
    assert told.recipient == "ann@example.org"
    (row,) = world.rows("SELECT sent_at IS NOT NULL AS is_sent, sealed, last_error FROM notices")
    assert tuple(row) == (True, None, None)
    assert world.run(STAGE, notice).loaded == 0
    assert len(world.notifier.told) == 1


def test_without_a_relay_it_waits_and_says_what_to_do(world: World) -> None:
    world.notifier.is_ready = False
    notice = written(world)
    waits = world.run(STAGE, notice).unsaved[str(notice)]
    assert isinstance(waits, Again)
    assert "fieldpost people reset-link" in waits.reason
    assert world.value("SELECT sealed IS NOT NULL FROM notices")


@pytest.mark.parametrize(
    ("kind", "minutes", "is_sent"),
    [
        (NoticeKind.PASSWORD_RESET, 29, True),
        (NoticeKind.PASSWORD_RESET, 31, False),
        (NoticeKind.INVITATION, 60 * 24 * 6, True),
        (NoticeKind.INVITATION, 60 * 24 * 8, False),
    ],
)
def test_what_is_of_no_use_any_more_is_not_sent(world: World, kind: NoticeKind, minutes: int, is_sent: bool) -> None:
    world.run(STAGE, written(world, kind, age=timedelta(minutes=minutes)))
    assert len(world.notifier.told) == is_sent
    (row,) = world.rows("SELECT sent_at IS NOT NULL AS is_sent, sealed, last_error IS NULL AS is_good FROM notices")
    assert tuple(row) == (is_sent, None, is_sent)


@pytest.mark.parametrize(
    ("how", "outcome"), [(HandOver.LATER, Again), (HandOver.REFUSED, Permanent), (HandOver.DOUBTFUL, Transient)]
)
def test_what_the_relay_does_not_take_is_tried_again_or_told(world: World, how: HandOver, outcome: type) -> None:
    notice, other = written(world), written(world, NoticeKind.INVITATION)
    world.notifier.answers = [Handed(how, "busy")]
    assert {key: type(one) for key, one in world.run(STAGE, notice, other).unsaved.items()} == {str(notice): outcome}
    assert [told.notice_id for told in world.notifier.told] == [other]
    assert world.value("SELECT sealed IS NOT NULL FROM notices WHERE id = :id", id=notice)


def test_what_a_notice_says_is_sealed_at_rest(world: World) -> None:
    written(world)
    sealed = bytes(world.value("SELECT sealed FROM notices"))
    assert b"hush-canary" not in sealed
