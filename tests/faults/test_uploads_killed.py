"""An API that dies at any step of an upload: the phone asks how far it is, goes on, and there is one photo."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from models.enums import WorkOrderState
from pipeline.core.orders import Order
from pipeline.core.resumable import write_metadata
from pipeline.runtime.db import Database
from pipeline.runtime.secrets import Secrets
from pipeline.runtime.settings import Settings
from tests.adapters.pictures import photo
from tests.commands.work_desk import WorkDesk
from tests.factories import rows
from tests.faults import failing_api
from tests.faults.failpoints import BLOB_STEPS, UPLOAD_STEPS, Action, Fate, Plan, points
from tests.faults.forked import Forked, forked
from tests.faults.test_failing_api import _free_port, _listens
from tests.ops_api.people import sign_in
from tests.worker_process import until

pytestmark = pytest.mark.faults

_RESUMABLE = "/api/v1/uploads/resumable"
#: Within the transaction that makes the photo, and when it is committed and nobody has heard of it.
_FEW = ["photo.add.after", "api.answer.before"]
_ALL = [*points((*UPLOAD_STEPS, *BLOB_STEPS)), "api.answer.before"]


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    return settings.model_copy(update={"blob_url": (tmp_path / "photos").as_uri()})


@pytest.fixture
def children(settings: Settings, tmp_path: Path) -> Iterator[Forked]:
    """Return no processes yet; those that the test starts end with it."""
    with forked(settings, tmp_path) as found:
        yield found


@dataclass
class Phone:
    """A technician's phone: an API that does not fail, and one that does as planned."""

    desk: WorkDesk
    children: Forked
    cookies: dict[str, str]
    headers: dict[str, str]
    healthy: int

    def serve(self, plan: Plan, port: int) -> Any:
        """Start an API; return it when it listens."""
        child = self.children.follow(plan, failing_api.run, port)
        until(lambda: child.poll() is not None or _listens(port), "an API that listens")
        return child

    def ask(self, port: int, method: str, path: str, content: bytes = b"", **headers: str) -> httpx.Response | None:
        """Ask; None when no answer came."""
        said = {**self.headers, "Tus-Resumable": "1.0.0"}
        said |= {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            with httpx.Client(cookies=self.cookies, headers=said, timeout=60, trust_env=False) as client:
                return client.request(method, f"http://127.0.0.1:{port}{path}", content=content or None)
        except httpx.TransportError:
            return None

    def put(self, port: int, path: str, content: bytes, offset: int) -> httpx.Response | None:
        """Send bytes of an upload."""
        kind = {"Content_Type": "application/offset+octet-stream", "Upload_Offset": str(offset)}
        return self.ask(port, "PATCH", path, content, **kind)

    def begin(self, order: Order, client_id: str, length: int) -> str:
        """Begin an upload."""
        said = write_metadata({"workOrderId": str(order.order_id), "kind": "COMPLETION", "clientId": client_id})
        answer = self.ask(self.healthy, "POST", _RESUMABLE, Upload_Length=str(length), Upload_Metadata=said)
        assert answer is not None
        assert answer.status_code in {200, 201}, answer.text
        return answer.headers["location"]


@pytest.fixture
def phone(db: Database, settings: Settings, children: Forked) -> Phone:
    desk = WorkDesk.of(db)
    with db.begin() as connection:
        signed = sign_in(connection, Secrets.of(settings), desk.org_id, desk.person_id("tech"))
    found = Phone(desk, children, signed.cookies, signed.headers, _free_port())
    found.serve(Plan(), found.healthy)
    return found


def _dies_at(phone: Phone, point: str) -> None:
    """Let the API die at a step of the first or the last bytes of an upload, and go on at another."""
    order, client_id = phone.desk.order(WorkOrderState.IN_PROGRESS, "tech"), uuid4().hex
    # Of its own, so that its bytes are not in the store already.
    taken = photo(size=(400, 100 + order.number % 400), quality=95)
    path = phone.begin(order, client_id, len(taken))
    is_first = point.startswith("upload.keep")
    begins, ends = (0, 700) if is_first else (700, len(taken))
    if not is_first:
        assert _status(phone.put(phone.healthy, path, taken[:begins], 0)) == 204
    port = _free_port()
    victim = phone.serve(Plan({point: Fate(Action.KILL)}), port)
    assert phone.put(port, path, taken[begins:ends], begins) is None, point
    until(lambda: victim.poll() is not None, f"a death at {point}")
    assert phone.begin(order, client_id, len(taken)) == path
    head = phone.ask(phone.healthy, "HEAD", path)
    assert head is not None
    offset = int(head.headers["upload-offset"])
    assert offset == (len(taken) if point == "api.answer.before" else begins), point
    rest = phone.put(phone.healthy, path, taken[offset:], offset)
    assert _status(rest) == 204, point
    assert rest is not None
    found = rows(phone.desk.db, _PHOTOS, id=order.order_id)
    sent = hashlib.sha256(taken).hexdigest()
    assert [tuple(one) for one in found] == [(rest.headers["upload-photo-id"], sent, 2)], point
    steps = [command for command, _, _ in phone.desk.steps(order.order_id)]
    assert steps == ["work_order.add_photo"], point


def _status(answer: httpx.Response | None) -> int | None:
    return None if answer is None else answer.status_code


_PHOTOS = """
    SELECT CAST(p.id AS text), encode(p.source_sha256, 'hex'),
           (SELECT count(*) FROM blobs b WHERE b.org_id = p.org_id AND b.sha256 IN (p.sha256, p.thumbnail_sha256))
      FROM order_photos p WHERE p.order_id = :id
"""


@pytest.mark.fault("F-57")
def test_an_upload_outlives_an_api_that_dies_while_the_photo_is_made(phone: Phone) -> None:
    for point in _FEW:
        _dies_at(phone, point)


@pytest.mark.soak
@pytest.mark.fault("F-57")
def test_an_upload_outlives_a_death_at_every_step(phone: Phone) -> None:
    for point in _ALL:
        _dies_at(phone, point)
