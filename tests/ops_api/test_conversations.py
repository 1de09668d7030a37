"""Conversations over HTTP: why messages stand in a ticket, and merging, splitting and undoing with what it demands."""

from __future__ import annotations

import pytest

from tests import factories
from tests.factories import mail
from tests.ops_api.serving import Api
from tests.stages.world import World


@pytest.fixture
def world(api: Api) -> World:
    return World(api.db)


def test_a_conversation_tells_why_each_message_is_in_it_and_what_may_belong_to_it(api: Api, world: World) -> None:
    root, _, stranger = world.stitched(
        mail("Charger down", message_id="<a@customer.example>"),
        mail("Re: Charger down", message_id="<b@customer.example>", in_reply_to="<a@customer.example>"),
        mail("Re: Charger down", sender="mallory@evil.example", in_reply_to="<a@customer.example>"),
    )
    ticket, other = world.ticket_of(root), world.ticket_of(stranger)
    person = api.person(world.org_id, role="viewer")
    found = person.get(f"/tickets/{ticket.id}/conversation").json()
    assert (found["code"], found["status"], found["regroupings"]) == (ticket.code, "new", [])
    assert [(one["reason"], one["confidence"], one["evidence"]) for one in found["messages"]] == [
        ("in_reply_to", "medium", "<a@customer.example>"),
        ("new_ticket", "low", "first of its conversation"),
    ]
    assert [(one["mailbox"], one["recipient"], one["source"]) for one in found["messages"][0]["seen"]] == [
        ("help@acme.example", "help@acme.example", "to_cc_scan")
    ]
    assert [(one["code"], one["how"], one["from_address"]) for one in found["possibly_related"]] == [
        (other.code, "names it", "mallory@evil.example")
    ]
    theirs = person.get(f"/tickets/{other.code}/conversation").json()
    assert [(one["code"], one["how"]) for one in theirs["possibly_related"]] == [(ticket.code, "is named by it")]
    assert theirs["messages"][0]["rejected"] == [
        {
            "ticket_id": str(ticket.id),
            "reference": "<a@customer.example>",
            "why_not": "mallory@evil.example is none of its people",
        }
    ]


def test_an_agent_merges_splits_and_undoes(api: Api, world: World) -> None:
    one, two = world.stitched(mail("a", message_id="<a@x>"), mail("b", message_id="<b@x>"))
    first, second = world.ticket_of(one), world.ticket_of(two)
    agent = api.person(world.org_id, role="agent", email="agent@ours.example")
    merged = agent.post(f"/tickets/{first.id}/merge", json={"ticket_ids": [second.code], "reason": "one charger"})
    assert (merged.status_code, merged.json()["code"]) == (200, first.code)
    assert world.ticket_of(two).id == first.id
    (done,) = agent.get(f"/tickets/{first.id}/conversation").json()["regroupings"]
    assert (done["kind"], done["actor"], done["reason"], done["others"]) == (
        "merge",
        "agent@ours.example",
        "one charger",
        [second.code],
    )
    path = f"/tickets/{first.id}/regroupings/{done['regrouping_id']}/undo"
    assert agent.post(path).json() == {
        "regrouping_id": done["regrouping_id"],
        "kind": "merge",
        "messages_replaced": 0,
    }
    assert world.ticket_of(two).id == second.id
    refused = agent.post(path)
    assert (refused.status_code, refused.json()["detail"]) == (
        409,
        f"regrouping {done['regrouping_id']} was undone before",
    )


def test_split_messages_answer_with_the_new_ticket(api: Api, world: World) -> None:
    root, reply = world.stitched(mail("a", message_id="<a@x>"), mail("b", in_reply_to="<a@x>"))
    message_id = world.value("SELECT message_id FROM occurrences WHERE id = :id", id=reply)
    agent = api.person(world.org_id, role="agent")
    made = agent.post(
        f"/tickets/{world.ticket_of(root).id}/split", json={"message_ids": [message_id], "reason": "another site"}
    ).json()
    assert world.ticket_of(reply).code == made["code"]


def test_bad_requests_are_told_what_is_wrong(api: Api, world: World) -> None:
    one, two = world.stitched(mail("a"), mail("b"))
    first, second = world.ticket_of(one), world.ticket_of(two)
    agent = api.person(world.org_id, role="agent")
    path = f"/tickets/{first.id}"
    for where, body, status in (
        ("merge", {"ticket_ids": [], "reason": "x"}, 422),
        ("merge", {"ticket_ids": ["tkt-unknown"], "reason": "x"}, 409),
        ("merge", {"ticket_ids": [first.code], "reason": "x"}, 409),
        ("merge", {"ticket_ids": [second.code]}, 422),
        ("merge", {"ticket_ids": [second.code], "reason": " "}, 422),
        ("merge", {"ticket_ids": ["a\x00"], "reason": "x"}, 422),
        ("merge", {"ticket_ids": [second.code], "reason": "x", "more": 1}, 422),
        ("split", {"message_ids": [2**62], "reason": "x"}, 409),
        ("split", {"message_ids": [2**63], "reason": "x"}, 422),
        ("regroupings/1/undo", None, 409),
        ("regroupings/x/undo", None, 422),
    ):
        answer = agent.post(f"{path}/{where}", json=body)
        assert (where, answer.status_code) == (where, status), answer.text
    for name in ("%0a", "%ff", "..%2fx", "9" * 64):
        assert agent.get(f"/tickets/{name}/conversation").status_code == 404
        assert agent.post(f"/tickets/{name}/merge", json={"ticket_ids": ["x"], "reason": "x"}).status_code == 404
        assert agent.post(f"/tickets/{name}/regroupings/1/undo").status_code == 404
    assert agent.post("/tickets/tkt-unknown/merge", json={"ticket_ids": ["x"], "reason": "x"}).status_code == 404


def test_a_viewer_changes_nothing_and_another_organization_sees_nothing(api: Api, world: World) -> None:
    one, two = world.stitched(mail("a"), mail("b"))
    first, second = world.ticket_of(one), world.ticket_of(two)
    body = {"ticket_ids": [second.code], "reason": "x"}
    assert api.person(world.org_id, role="viewer").post(f"/tickets/{first.id}/merge", json=body).status_code == 403
    with api.db.begin() as connection:
        elsewhere = factories.organization(connection)
    stranger = api.person(elsewhere)
    assert stranger.get(f"/tickets/{first.id}/conversation").status_code == 404
    assert stranger.post(f"/tickets/{first.id}/merge", json=body).status_code == 404
