"""Ids of another organization in bodies, forms and queries: answered word for word as ids that nobody has."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from deploy.local.lock import Endpoints
from models.enums import WorkOrderState
from tests.commands.order_work import checklist
from tests.commands.workshop_desk import WorkshopDesk
from tests.conftest import fresh_database
from tests.ops_api.serving import Api, Person, serving, settings_for

_S = WorkOrderState


@dataclass
class Two:
    """A place of ours, with people who are signed in, and one of others."""

    api: Api
    ours: WorkshopDesk
    theirs: WorkshopDesk
    people: dict[str, Person]

    def ask(self, by: str, method: str, path: str, **options: Any) -> httpx.Response:
        return self.people[by].ask(method, f"/api/v1{path}", **options)


@pytest.fixture(scope="module")
def two(servers: Endpoints) -> Iterator[Two]:
    with fresh_database(servers) as url, serving(settings_for(url)) as api:
        ours, theirs = WorkshopDesk.of(api.db), WorkshopDesk.of(api.db)
        names = ("tech", "lead", "ops_lead", "master", "ops_manager", "inspector", "admin")
        yield Two(api, ours, theirs, {name: api.signed_in(ours.org_id, ours.person_id(name)) for name in names})


def _told(answer: httpx.Response, named: UUID) -> tuple[int, str]:
    """Return an answer without the id that was asked for and without the request's own."""
    said = answer.text.replace(str(named), "ID").replace(answer.headers["x-request-id"], "REQUEST")
    return answer.status_code, said


def _create(two: Two, **more: Any) -> dict[str, Any]:
    return {
        "gameZoneId": str(two.ours.site_id),
        "sourceChecklist": {"name": "Round"},
        "aItem": {"id": "A1", "text": "worn"},
        **more,
    }


def _metadata(order_id: UUID) -> str:
    said = {"workOrderId": str(order_id), "kind": "COMPLETION"}
    return ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in said.items())


def _action(**more: Any) -> dict[str, Any]:
    return {"json": {"actions": [{"clientId": str(UUID(int=7)), **more}]}}


def test_a_body_that_names_what_is_anothers_is_answered_as_one_that_names_nothing(two: Two) -> None:
    ours, theirs = two.ours, two.theirs
    order, repair = ours.order(_S.CREATED), ours.repair(_S.NEW)
    foreign = theirs.order(_S.ASSIGNED, "tech")
    person, specs = theirs.person_id("tech"), ours.specs()
    serial = ours.serial()
    ours.item(serial)
    asks: list[tuple[str, str, str, Any, UUID]] = [
        (
            "lead",
            "PATCH",
            f"/work-orders/{order.order_id}/assign",
            lambda i: {"json": {"technicianId": str(i)}, "headers": {"if-match": "0"}},
            person,
        ),
        ("ops_lead", "POST", "/work-orders", lambda i: {"json": _create(two, gameZoneId=str(i))}, theirs.site_id),
        ("ops_lead", "POST", "/work-orders", lambda i: {"json": _create(two, rideId=str(i))}, theirs.ride_id),
        (
            "ops_lead",
            "POST",
            "/work-orders",
            lambda i: {"json": _create(two, sourceChecklist={"id": str(i)})},
            checklist(theirs),
        ),
        (
            "ops_manager",
            "POST",
            f"/tickets/{repair.order_id}/assign/",
            lambda i: {"json": {"technician_id": str(i)}},
            person,
        ),
        (
            "master",
            "POST",
            "/tickets/create/",
            lambda i: {"json": {"serial_number": serial, "part_specs": [{**specs[0], "part_id": str(i)}]}},
            theirs.part_ids[0],
        ),
        (
            "ops_manager",
            "POST",
            "/inventory/items/",
            lambda i: {"json": {"serial_number": "RM-5555", "category_id": str(i)}},
            theirs.category_id,
        ),
        (
            "ops_manager",
            "POST",
            "/inventory/parts/",
            lambda i: {"json": {"name": "Bell", "category_id": str(i)}},
            theirs.category_id,
        ),
        (
            "ops_manager",
            "POST",
            "/xp/adjustments/",
            lambda i: {"json": {"user": str(i), "amount": 3, "comment": "x"}},
            person,
        ),
        ("ops_manager", "POST", "/attendance/checkin/", lambda i: {"json": {"user": str(i)}}, person),
        (
            "tech",
            "POST",
            "/uploads/resumable",
            lambda i: {"headers": {"tus-resumable": "1.0.0", "upload-length": "4", "upload-metadata": _metadata(i)}},
            foreign.order_id,
        ),
        (
            "tech",
            "POST",
            "/uploads/photos",
            lambda i: {
                "data": {"workOrderId": str(i), "kind": "COMPLETION"},
                "files": {"file": ("a.png", b"x", "image/png")},
            },
            foreign.order_id,
        ),
        (
            "tech",
            "POST",
            "/me/actions",
            lambda i: _action(action="start", workOrderId=str(i), version=0),
            foreign.order_id,
        ),
        ("lead", "GET", "/work-orders", lambda i: {"params": {"technicianId": str(i)}}, person),
        ("lead", "GET", "/work-orders", lambda i: {"params": {"gameZoneId": str(i)}}, theirs.site_id),
        ("master", "GET", "/tickets/", lambda i: {"params": {"technician": str(i)}}, person),
        ("master", "GET", "/inventory/parts/", lambda i: {"params": {"category": str(i)}}, theirs.category_id),
        ("ops_manager", "GET", "/xp/transactions/", lambda i: {"params": {"user": str(i)}}, person),
        ("ops_manager", "GET", "/attendance/records/", lambda i: {"params": {"user": str(i)}}, person),
    ]
    for by, method, path, options, theirs_id in asks:
        nobodys = uuid4()
        known, unknown = (_told(two.ask(by, method, path, **options(one)), one) for one in (theirs_id, nobodys))
        assert known == unknown, (method, path)
        is_list = method == "GET" or path == "/me/actions"
        assert is_list or 400 <= known[0] < 500, (method, path, known)
    assert theirs.read(foreign.order_id).state is _S.ASSIGNED
