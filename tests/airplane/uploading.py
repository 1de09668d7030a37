"""A photo on its way over a bad network: as one form, or by tus, cut wherever it happens."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.airplane.linearizing import Deed, Run
from tests.airplane.model import Answer
from tests.airplane.phone import Shot
from tests.airplane.wire import Wire
from tests.ops_api.serving import Person

#: Sends a shot; returns what was done and heard, and whether the phone may forget the shot.
Way = Callable[[Wire, Person, str, Shot, random.Random], tuple[list[Run], bool]]
_FORM, _TUS = "/api/v1/uploads/photos", "/api/v1/uploads/resumable"
_SPOKEN = {"Tus-Resumable": "1.0.0"}
_MOST_PIECES = 12


def form(wire: Wire, person: Person, who: str, shot: Shot, rng: random.Random) -> tuple[list[Run], bool]:
    """Send a form; sometimes nobody hears the answer."""
    answer = _answer(wire.ask(person, "POST", _FORM, **_options(shot)))
    run = Run([_photo(who, shot)], [answer], f"form {_brief(shot)}")
    return [run], rng.random() < 0.7


def form_torn(wire: Wire, person: Person, _who: str, shot: Shot, rng: random.Random) -> tuple[list[Run], bool]:
    """Send a part of a form: nothing comes of it."""
    wire.cut(person, "POST", _FORM, rng.random() * 0.99, **_options(shot))
    return [], False


def form_cut(wire: Wire, person: Person, who: str, shot: Shot, _rng: random.Random) -> tuple[list[Run], bool]:
    """Send a form, and hang up: perhaps it comes to something."""
    wire.cut(person, "POST", _FORM, 1.0, **_options(shot))
    return [Run([_photo(who, shot)], None, f"form, cut {_brief(shot)}")], False


def pieces(wire: Wire, person: Person, who: str, shot: Shot, rng: random.Random) -> tuple[list[Run], bool]:
    """Send a shot by tus: in pieces, cut at any byte, asked about, and perhaps given up until later."""
    tus = _Tus(wire, person, who, shot, rng)
    is_over = tus.send()
    return [Run(tus.deeds, tus.heard, f"tus {_brief(shot)}")], is_over


#: All ways; what goes wrong more often stands more often.
WAYS: tuple[Way, ...] = (form, form, form_torn, form_cut, pieces, pieces, pieces)


@dataclass
class _Tus:
    wire: Wire
    person: Person
    who: str
    shot: Shot
    rng: random.Random
    deeds: list[Deed] = field(default_factory=list)
    heard: list[Answer] = field(default_factory=list)

    def send(self) -> bool:
        """Send it, and return whether the phone may forget it."""
        location = self._begin()
        if location is None:
            return True
        for _ in range(_MOST_PIECES):
            said = self.wire.ask(self.person, "HEAD", location, headers=_SPOKEN)
            assert said.status_code == 200, said.status_code
            if "upload-photo-id" in said.headers:
                self._finished(Answer(204))
                return True
            if self.rng.random() < 0.1:
                return False
            if self._piece(location, int(said.headers["upload-offset"])):
                return True
        return False

    def _begin(self) -> str | None:
        said = {"workOrderId": self.shot.order, "kind": "COMPLETION", "clientId": self.shot.client_id}
        metadata = ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in said.items())
        headers = {**_SPOKEN, "Upload-Length": str(len(self.shot.content)), "Upload-Metadata": metadata}
        for _ in range(self.rng.choice((1, 1, 2))):
            found = self.wire.ask(self.person, "POST", _TUS, headers=headers)
            self.deeds.append(lambda server, _: server.begin(self.who, self.shot.order, self.shot.client_id))
            self.heard.append(_answer(found))
            if found.status_code >= 400:
                return None
            if found.headers["location"] not in self.shot.places:
                self.shot.places.append(found.headers["location"])
        return found.headers["location"]

    def _piece(self, location: str, offset: int) -> bool:
        """Send some of what is left, whole or cut; return whether it is over."""
        rest = self.shot.content[offset:]
        headers = {**_SPOKEN, "Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
        match self.rng.choice(("all", "all", "some", "torn", "torn", "cut")):
            case "torn":
                self.wire.cut(self.person, "PATCH", location, self.rng.random(), headers=headers, content=rest)
                self.wire.settle()
            case "cut":
                self.wire.cut(self.person, "PATCH", location, 1.0, headers=headers, content=rest)
                self.wire.settle()
            case "some" if len(rest) > 1:
                part = rest[: self.rng.randrange(1, len(rest))]
                said = self.wire.ask(self.person, "PATCH", location, headers=headers, content=part)
                assert said.status_code in {204, 409}, said.text
            case _:
                return self._end(self.wire.ask(self.person, "PATCH", location, headers=headers, content=rest))
        return False

    def _end(self, said: httpx.Response) -> bool:
        """Take the answer to the last bytes; when they did not fit, another request was faster."""
        if said.status_code == 409 and said.json()["error"]["code"] == "OFFSET_MISMATCH":
            return False
        answer = _answer(said)
        assert not answer.is_good or said.headers["upload-photo-id"]
        self._finished(answer)
        return True

    def _finished(self, answer: Answer) -> None:
        shot = self.shot

        def finish(server: Any, _: tuple[Answer, ...]) -> Answer:
            found = server.finish(self.who, shot.order, shot.client_id, shot.digest)
            return Answer(204) if found.is_good else found

        self.deeds.append(finish)
        self.heard.append(answer)


def give_up(wire: Wire, person: Person, shot: Shot) -> None:
    """End the uploads of a shot that is over: open ones are counted."""
    for place in shot.places:
        assert wire.ask(person, "DELETE", place, headers=_SPOKEN).status_code == 204


def _photo(who: str, shot: Shot) -> Deed:
    return lambda server, _: server.photo(who, shot.order, shot.digest)


def _options(shot: Shot) -> Mapping[str, Any]:
    said = {"workOrderId": shot.order, "kind": "COMPLETION"}
    return {"data": said, "files": {"file": ("photo.png", shot.content, "image/png")}}


def _answer(said: httpx.Response) -> Answer:
    return Answer(said.status_code, said.json()["error"]["code"] if said.status_code >= 400 else None)


def _brief(shot: Shot) -> str:
    return f"{shot.order[-4:]} {shot.digest[:6]} #{shot.client_id[:4]}"
