"""The customer's link over HTTP: what its page shows and does, to whom, and what it tells nobody."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import httpx
import pytest

from ops_api.dependencies import TRANSACTIONS
from ops_api.limits import Limits
from tests.calendar_files import event_of
from tests.commands import schedules
from tests.commands.field_desk import FieldDesk
from tests.commands.schedules import HOUR, ahead
from tests.ops_api.serving import Api, rows, serving, settings_for
from tests.reused import shared_url

__all__ = ["shared_url"]

_BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
_PROGRAM = {"accept": "application/json"}
_GENEROUS = Limits(auth_per_minute=10_000, stray_per_minute=10_000)
_SITE = """
    UPDATE sites SET address1 = '1 <Main> Street', city = 'Springfield', timezone = 'America/Chicago'
     WHERE org_id = :org
"""


class Page(HTMLParser):
    """A page as a browser without scripts understands it; every tag must be closed."""

    _VOID = frozenset({"meta", "input", "link", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self._VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def windows(self, action: str) -> list[str]:
        """Return the windows that a form offers."""
        found, form = [], ""
        for tag, attributes in self.tags:
            form = str(attributes["action"]) if tag == "form" else form
            if tag == "input" and attributes.get("name") == "window" and form.endswith(action):
                found.append(str(attributes["value"]))
        return found


@dataclass
class Customer:
    """A ticket whose customer has a link."""

    api: Api
    desk: FieldDesk
    ticket_id: UUID
    url: str
    http: httpx.Client

    @property
    def path(self) -> str:
        return urlsplit(self.url).path

    @property
    def token(self) -> str:
        return self.path.rpartition("/")[2]

    def get(self, where: str = "", **headers: str) -> httpx.Response:
        return self.http.get(self.path + where, headers=headers or _BROWSER)

    def page(self, where: str = "") -> Page:
        return Page(self.get(where).text)

    def send(self, action: str, window: str, key: str | None = None, **headers: str) -> httpx.Response:
        form = {"window": window} | ({"key": key} if key else {})
        return self.http.post(f"{self.path}/{action}", data=form, headers=headers or _BROWSER)


@pytest.fixture(scope="module")
def api(shared_url: str) -> Iterator[Api]:
    """Serve for all tests here: each has tickets of its own."""
    with serving(settings_for(shared_url), limits=_GENEROUS) as running:
        yield running


@pytest.fixture(scope="module")
def desk(api: Api) -> FieldDesk:
    return furnished(api)


def furnished(api: Api) -> FieldDesk:
    """Return an organization whose site has an address."""
    made = FieldDesk.of(api.db)
    made.change(_SITE)
    return made


def customer(api: Api, desk: FieldDesk, state: str) -> Customer:
    """Lead a ticket to a state and make its link over HTTP, as the agent."""
    return linked(api, desk, desk.at(state))


def linked(api: Api, desk: FieldDesk, ticket_id: UUID) -> Customer:
    person_id = desk.people["agent"].person_id
    assert person_id is not None
    agent = api.signed_in(desk.org_id, person_id)
    answer = agent.post(f"/tickets/{ticket_id}/schedule/link", headers={"Idempotency-Key": str(uuid4())})
    assert answer.status_code == 201, answer.text
    return Customer(api, desk, ticket_id, answer.json()["url"], api.client())


def test_a_link_is_told_once_kept_as_a_hash_and_has_the_same_answer_when_asked_again(api: Api, desk: FieldDesk) -> None:
    ticket, key = desk.at("SCHEDULE_PROPOSED"), {"Idempotency-Key": str(uuid4())}
    person_id = desk.people["agent"].person_id
    assert person_id is not None
    agent = api.signed_in(desk.org_id, person_id)
    first, again = (agent.post(f"/tickets/{ticket}/schedule/link", headers=key) for _ in range(2))
    assert (first.status_code, again.content) == (201, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    token = first.json()["url"].rpartition("/visit/")[2]
    assert len(token) == 43
    kept = rows(api.db, "SELECT CAST(answer AS text) FROM idempotency_keys")
    kept += rows(api.db, "SELECT encode(token_hash, 'hex') FROM visit_links")
    kept += rows(api.db, "SELECT CAST(data AS text) FROM events UNION ALL SELECT CAST(data AS text) FROM audit_details")
    assert token not in str(kept)
    shown = agent.get(f"/tickets/{ticket}/schedule").json()
    assert shown["link"]["id"] == first.json()["link_id"]
    assert len(shown["proposed_windows"]) == 1


def test_the_page_can_be_used_without_scripts_and_by_everybody(api: Api, desk: FieldDesk) -> None:
    found = customer(api, desk, "SCHEDULE_PROPOSED")
    answer = found.get()
    page = Page(answer.text)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert page.attributes("html") == [{"lang": "en"}]
    assert page.attributes("script") == []
    radios = [one for one in page.attributes("input") if one["type"] == "radio"]
    labels = len(page.attributes("label"))
    assert len(radios) == labels > 1
    assert len(page.attributes("legend")) == len(page.attributes("fieldset"))
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.attributes("meta")
    assert "1 <Main> Street, Springfield" in page.text
    assert "America/Chicago" in page.text
    assert "<Main>" not in answer.text


def test_the_page_says_no_more_than_the_visit_needs_and_lets_nobody_else_keep_it(api: Api, desk: FieldDesk) -> None:
    ticket = desk.at("SCHEDULED", summary="a secret summary", description="a secret description")
    desk.change(
        "UPDATE dispatches SET customer_name = 'Ann Secret', customer_phone = '5550100', customer_email = 'a@b.c'"
    )
    found = linked(api, desk, ticket)
    answer = found.get()
    for secret in ("secret", "Secret", "5550100", "a@b.c", *(one.email for one in desk.people.values())):
        assert secret not in answer.text
    assert not any(str(one.person_id) in answer.text for one in desk.people.values())
    said = found.get(**_PROGRAM).text
    assert "Secret" not in said
    assert not any(str(one.person_id) in said for one in desk.people.values())
    headers = answer.headers
    assert headers["referrer-policy"] == "no-referrer"
    assert "noindex" in headers["x-robots-tag"]
    assert headers["cache-control"] == "no-store"
    assert headers["x-frame-options"] == "DENY"
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert "unsafe" not in policy


def test_a_customer_confirms_by_the_form_and_it_is_done_as_the_link(api: Api, desk: FieldDesk) -> None:
    found = customer(api, desk, "SCHEDULE_PROPOSED")
    (window,) = found.page().windows("/confirm")
    key = str(uuid4())
    first, again = (found.send("confirm", window, key) for _ in range(2))
    assert [one.status_code for one in (first, again)] == [303, 303]
    assert first.headers["location"] == f"{found.path}?done=confirmed"
    page = found.page("?done=confirmed")
    assert "Your visit is booked." in page.text
    assert desk.state(found.ticket_id) == "SCHEDULED"
    statement = "SELECT action, outcome, actor_id, actor_role FROM audit_events WHERE target_id = :id ORDER BY number"
    action, outcome, actor, role = rows(api.db, statement, id=str(found.ticket_id))[-1]
    assert (action, outcome, role) == ("schedule.confirm", "done", "customer")
    assert actor.startswith("link:")
    used = "SELECT used_at IS NOT NULL FROM visit_links WHERE ticket_id = :id"
    assert rows(api.db, used, id=found.ticket_id) == [(True,)]
    assert found.token not in str(rows(api.db, "SELECT path FROM idempotency_keys"))


def test_a_customer_moves_the_visit_to_a_free_time_and_finds_it_in_the_file_for_calendars(
    api: Api, desk: FieldDesk
) -> None:
    found = customer(api, desk, "SCHEDULED")
    before = found.get("/invitation.ics")
    assert before.headers["content-type"] == "text/calendar; charset=utf-8"
    page = found.page()
    old = event_of(before.content)
    others = [
        one for one in page.windows("/move") if datetime.fromisoformat(one.partition("/")[0]) != old["DTSTART"].dt
    ]
    window = others[-1]
    assert found.send("move", window).status_code == 303
    event = event_of(found.get("/invitation.ics").content)
    assert event["DTSTART"].dt == datetime.fromisoformat(window.partition("/")[0])
    assert (str(event["UID"]), int(event["SEQUENCE"]), int(old["SEQUENCE"])) == (str(old["UID"]), 1, 0)
    told = "SELECT count(*) FROM jobs j JOIN visits v ON j.key LIKE v.id || '%' WHERE v.ticket_id = :id"
    assert rows(api.db, told, id=found.ticket_id) == [(2,)]


def test_what_was_taken_meanwhile_is_refused_with_what_is_free_and_the_refusal_is_recorded(
    api: Api, desk: FieldDesk
) -> None:
    found = customer(api, desk, "SCHEDULED")
    window = found.page().windows("/move")[0]
    start, end = map(datetime.fromisoformat, window.split("/"))
    for name in ("tech", "other_tech"):
        desk.change(
            "INSERT INTO leaves (org_id, person_id, begins_at, ends_at) VALUES (:org, :person, :start, :end)",
            person=desk.people[name].person_id, start=start, end=end,
        )  # fmt: skip
    refused = found.send("move", window)
    page = Page(refused.text)
    assert refused.status_code == 409
    assert "nobody is free then" in page.text
    assert window not in page.windows("/move")
    said = found.send("move", window, **_PROGRAM)
    assert (said.status_code, said.json()["code"]) == (409, "SLOT_TAKEN")
    assert desk.trail(found.ticket_id)[-2:] == [("schedule.move", "refused", "SLOT_TAKEN")] * 2


def test_a_held_time_is_confirmed_by_one_button(api: Api, desk: FieldDesk) -> None:
    found = customer(api, desk, "PENDING_CUSTOMER_CONFIRMATION")
    page = found.page()
    assert "Please confirm by" in page.text
    (window,) = page.windows("/confirm")
    assert found.send("confirm", window).status_code == 303
    assert desk.state(found.ticket_id) == "SCHEDULED"
    held = "SELECT state FROM schedule_holds WHERE ticket_id = :id"
    assert rows(api.db, held, id=found.ticket_id) == [("released",)]


def test_programs_speak_json(api: Api, desk: FieldDesk) -> None:
    found = customer(api, desk, "SCHEDULE_PROPOSED")
    said = found.get(**_PROGRAM).json()
    assert (said["standing"], said["may_confirm"], said["may_move"]) == ("proposed", True, True)
    body: dict[str, Any] = {"window": said["options"][0]}
    answer = found.http.post(f"{found.path}/confirm", json=body, headers=_PROGRAM)
    assert (answer.status_code, answer.json()["standing"]) == (200, "booked")
    assert answer.json()["window"] == said["options"][0]
    wrong = [
        {},
        {"window": "0001-01-01T00:00:00+14:00/9999-12-31T00:00:00Z"},
        {"window": {"start": 1, "end": 2}},
        {"window": said["free"][0], "more": 1},
        [],
    ]
    assert {found.http.post(f"{found.path}/move", json=one, headers=_PROGRAM).status_code for one in wrong} == {422}
    assert found.http.post(f"{found.path}/move", content=b"{", headers=_PROGRAM).status_code == 422


def test_every_link_that_is_good_for_nothing_looks_the_same(api: Api, desk: FieldDesk) -> None:
    unknown, revoked, over, merged = (customer(api, desk, "SCHEDULE_PROPOSED") for _ in range(4))
    newer = linked(api, desk, revoked.ticket_id)
    assert newer.get().status_code == 200
    desk.change("UPDATE visit_links SET expires_at = now() WHERE ticket_id = :id", id=over.ticket_id)
    desk.change(
        "UPDATE tickets SET status = 'merged', merged_into = :into, closed_at = now() WHERE id = :id",
        id=merged.ticket_id, into=over.ticket_id,
    )  # fmt: skip
    paths = [f"/visit/{'A' * 43}", "/visit/x", f"/visit/{'%C3%A9' * 30}", revoked.path, over.path, merged.path]
    pages = [unknown.http.get(path, headers=_BROWSER) for path in paths]
    assert {(one.status_code, one.text) for one in pages} == {(404, pages[0].text)}
    assert "This link is not valid" in Page(pages[0].text).text
    window = "/".join(str(one.isoformat()) for one in (ahead(9).starts_at, ahead(9).ends_at))
    posts = [unknown.http.post(f"{path}/move", data={"window": window}, headers=_BROWSER) for path in paths]
    assert {(one.status_code, one.text) for one in posts} == {(404, pages[0].text)}
    files = [unknown.http.get(f"{path}/invitation.ics", headers=_BROWSER) for path in paths]
    assert {one.status_code for one in files} == {404}
    assert {unknown.http.get(path, headers=_PROGRAM).json()["detail"] for path in paths} == {
        "this link is not valid (any more)"
    }


def test_a_link_reaches_its_own_ticket_and_nothing_by_any_other_address(api: Api, desk: FieldDesk) -> None:
    mine, other = (customer(api, desk, "SCHEDULE_PROPOSED") for _ in range(2))
    window = other.page().windows("/confirm")[0]
    assert mine.send("confirm", window).status_code == 303
    assert (desk.state(mine.ticket_id), desk.state(other.ticket_id)) == ("SCHEDULED", "SCHEDULE_PROPOSED")
    bearer = {"authorization": f"Bearer {mine.token}", **_PROGRAM}
    assert mine.http.get(f"/tickets/{mine.ticket_id}", headers=bearer).status_code == 401


def test_when_nothing_can_be_changed_any_more_the_page_offers_nothing(api: Api, desk: FieldDesk) -> None:
    found = customer(api, desk, "SCHEDULED")
    window = found.page().windows("/move")[0]
    schedules.withdraw(desk, found.ticket_id)
    page = found.page()
    assert "No visit is planned" in page.text
    assert page.attributes("form") == []
    refused = found.send("move", window)
    assert refused.status_code == 409
    assert found.get("/invitation.ics").status_code == 404


def test_two_customers_who_take_the_last_hour_at_once_get_one_visit_and_one_apology(api: Api) -> None:
    desk = furnished(api)
    away = desk.people["other_tech"].person_id
    desk.change(
        "INSERT INTO leaves (org_id, person_id, begins_at, ends_at)"
        " VALUES (:org, :person, now(), now() + interval '1 year')",
        person=away,
    )
    both = [customer(api, desk, "SCHEDULED") for _ in range(2)]
    window = both[0].page().windows("/move")[3]
    with ThreadPoolExecutor(2) as pool:
        found = sorted(one.status_code for one in pool.map(lambda one: one.send("move", window), both))
    assert found == [303, 409]


def test_free_windows_and_calendars_are_read_by_dispatchers(api: Api, desk: FieldDesk) -> None:
    ticket, person = desk.at("SCHEDULED"), desk.people["tech"].person_id
    window = ahead(30)
    schedules.move(desk, ticket, window, technician_id=person)
    dispatcher_id = desk.people["dispatcher"].person_id
    assert dispatcher_id is not None
    dispatcher = api.signed_in(desk.org_id, dispatcher_id)
    span = {"from": (window.starts_at - HOUR).isoformat(), "to": (window.ends_at + 2 * HOUR).isoformat()}
    calendar = dispatcher.get(f"/dispatch/technicians/{person}/calendar", params=span).json()
    assert [(one["ticket_id"], one["state"]) for one in calendar["visits"]] == [(str(ticket), "booked")]
    assert len(calendar["on_duty"]) == 1
    other = desk.at("READY_TO_SCHEDULE")
    first = dispatcher.get(f"/tickets/{other}/schedule/slots", params={**span, "limit": 2}).json()
    assert (first["minutes"], len(first["items"])) == (60, 2)
    rest = dispatcher.get(f"/tickets/{other}/schedule/slots", params={**span, "from": first["next_from"]}).json()
    starts = [one["start"] for one in [*first["items"], *rest["items"]]]
    assert starts == sorted(set(starts))
    taken = [one for one in [*first["items"], *rest["items"]] if str(person) not in one["technician_ids"]]
    assert taken
    wide = {**span, "to": (window.starts_at + timedelta(days=40)).isoformat()}
    assert dispatcher.get(f"/tickets/{other}/schedule/slots", params=wide).status_code == 400
    assert dispatcher.get(f"/dispatch/technicians/{uuid4()}/calendar", params=span).status_code == 404
    for year in ("0001", "9999"):
        far = {"from": f"{year}-12-31T00:00:00+14:00", "to": f"{year}-12-31T23:59:59-12:00"}
        assert dispatcher.get(f"/tickets/{other}/schedule/slots", params=far).status_code == 400
        assert dispatcher.get(f"/dispatch/technicians/{person}/calendar", params=far).status_code == 422


def test_acts_by_one_link_are_counted_and_those_who_try_links_are_strays(shared_url: str) -> None:
    limits = Limits(auth_per_minute=3, stray_per_minute=1)
    with serving(settings_for(shared_url), limits=limits) as api:
        found = customer(api, FieldDesk.of(api.db), "SCHEDULED")
        said = [found.send("move", "x").status_code for _ in range(3)]
        window = found.page().windows("/move")[0]
        said += [found.send("move", window).status_code for _ in range(4)]
        assert said[-1] == 429
        strangers = [found.http.get(f"/visit/{uuid4()}", headers=_BROWSER).status_code for _ in range(12)]
        assert strangers[0] == 404
        assert strangers[-1] == 429
        assert found.get().status_code == 200
        # Counted before it is looked at what is wrong with them.
        looks = [found.get("?from=soon").status_code for _ in range(18)]
        assert (looks[0], looks[-1]) == (422, 429)


def test_bodies_that_come_slowly_keep_nobody_from_a_transaction(api: Api, desk: FieldDesk) -> None:
    found = customer(api, desk, "SCHEDULED")
    host, port = str(urlsplit(api.base_url).hostname), urlsplit(api.base_url).port
    agent_id = desk.people["agent"].person_id
    assert agent_id is not None
    agent = api.signed_in(desk.org_id, agent_id)
    cookies = "; ".join(f"{name}={value}" for name, value in agent.http.cookies.items())
    own = f"Cookie: {cookies}\r\nX-CSRF-Token: {agent.http.headers['x-csrf-token']}\r\nIdempotency-Key: {uuid4()}\r\n"
    asked = [(f"/visit/{'A' * 43}/move", ""), (f"/tickets/{found.ticket_id}/schedule/link", own)]
    for path, more in asked:
        head = f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 90\r\n{more}\r\n"
        slow = [socket.create_connection((host, port)) for _ in range(TRANSACTIONS + 2)]
        try:
            for one in slow:
                one.sendall(head.encode())
            # Answered behind all of them, well before the first one is given up.
            assert found.http.get(found.path, headers=_BROWSER, timeout=6).status_code == 200
        finally:
            for one in slow:
                one.close()
