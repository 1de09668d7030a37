"""GET /search: who may, what is answered, page by page, and refusals in words."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline.stages import index, parse
from tests.factories import mail
from tests.ops_api.serving import Api, House
from tests.stages.world import World


@pytest.fixture
def desk(api: Api) -> Iterator[World]:
    """An organization with indexed mail, five about chargers."""
    world = World(api.db)
    raws = [
        mail(f"Ladesäule {number}", "The Ladesaule is broken.", sender="ann@customer.example") for number in range(5)
    ]
    steps = world.run(parse.STAGE, *(world.arrive(raw) for raw in [*raws, mail("Invoice", "Thank you.")]))
    world.run(index.STAGE, *(key for stage, key in steps.next if stage == "index"))
    return world


@pytest.mark.parametrize("role", ["admin", "agent", "viewer"])
def test_everybody_who_reads_tickets_may_search(api: Api, desk: World, role: str) -> None:
    answer = api.person(desk.org_id, role).get("/search", params={"q": "ladesaule from:customer.example"})
    assert answer.status_code == 200
    found = answer.json()
    assert (found["total"], found["is_capped"], found["next_cursor"]) == (5, False, None)
    first = found["items"][0]
    assert first["subject"].startswith("Ladesäule")
    assert first["matched_in"] == ["subject", "body"]
    assert [first["snippet"][begin:end] for begin, end in first["highlights"]] == ["Ladesaule"]


def test_pages_follow_each_other_and_hold_everything_once(api: Api, desk: World) -> None:
    person, found, cursor = api.person(desk.org_id), [], None
    for _ in range(3):
        asked = {"q": "broken", "limit": 2} | ({"cursor": cursor} if cursor else {})
        answer = person.get("/search", params=asked).json()
        found += [item["message_id"] for item in answer["items"]]
        cursor = answer["next_cursor"]
    assert cursor is None
    assert len(found) == len(set(found)) == 5


def test_a_cursor_is_good_for_its_own_question_only(api: Api, desk: World) -> None:
    person = api.person(desk.org_id)
    cursor = person.get("/search", params={"q": "broken", "limit": 2}).json()["next_cursor"]
    for asked in ({"q": "ladesaule", "cursor": cursor}, {"q": "broken", "cursor": cursor + "x"}):
        assert person.get("/search", params=asked).status_code == 422


@pytest.mark.parametrize("question", ["", "-refund", "from:", "before:soon x", "x" * 501])
def test_a_broken_question_gets_422_in_words(api: Api, desk: World, question: str) -> None:
    answer = api.person(desk.org_id).get("/search", params={"q": question})
    assert answer.status_code == 422
    assert answer.json()["detail"]


def test_nothing_of_another_organization_is_found(api: Api, desk: World, ours: House) -> None:
    assert api.person(ours.org_id).get("/search", params={"q": "ladesaule"}).json()["items"] == []
    assert desk.org_id != ours.org_id
