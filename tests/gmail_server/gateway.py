"""The front door: each path to the endpoint that answers it."""

from __future__ import annotations

from tests.gmail_server.api import PREFIX, UPLOAD_PREFIX, Api
from tests.gmail_server.batch import Batch
from tests.gmail_server.control import Control
from tests.gmail_server.delivery import raise_refusal, refuses_unheard, shaped
from tests.gmail_server.errors import ApiError, not_found
from tests.gmail_server.faults import FaultKind, Target
from tests.gmail_server.http11 import Answer, Ending, Request
from tests.gmail_server.oauth import OAuthError
from tests.gmail_server.world import World


class Gateway:
    """Answers every request of a server."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._api = Api(world)
        self._batch = Batch(self._api)
        self._control = Control(world)

    def __call__(self, request: Request) -> Answer:
        """The answer; what nobody answers is 404 in Google's shape."""
        path = request.path
        if path.startswith((PREFIX, UPLOAD_PREFIX)):
            return self._api.answer(request)
        try:
            if path.startswith("/_control/"):
                return self._control.answer(request)
            if request.method == "POST" and path in {"/batch/gmail/v1", "/batch"}:
                return self._batched(request)
            if request.method == "POST" and path == "/token":
                return self._token(request)
            raise not_found("Not Found")
        except ApiError as error:
            return Answer(error.code, error.body(), headers=error.headers)

    def _batched(self, request: Request) -> Answer:
        """A batch; a fault on `batch` strikes it as a whole."""
        world = self._world
        faults = world.faults.pick(Target("batch", ""))
        world.stats.record("batch", "", "received", 0, len(request.body))
        if refuses_unheard(faults):
            return Answer(500, ending=Ending.RESET)
        raise_refusal(faults, world.clock)
        return shaped(self._batch.answer(request), faults, world.clock)

    def _token(self, request: Request) -> Answer:
        world = self._world
        with world.lock:
            address, status, faults = "", 200, []
            try:
                address = world.tokens.subject(request.body, world.token_uri)
                faults = world.faults.pick(Target("token", address))
                if refuses_unheard(faults):
                    return Answer(500, ending=Ending.RESET)
                for fault in faults:
                    if fault.kind is FaultKind.ANSWER:
                        raise OAuthError(fault.reason, fault.message)
                raise_refusal(faults, world.clock)
                if any(fault.kind is FaultKind.INVALID_GRANT for fault in faults):
                    raise OAuthError("invalid_grant", "Token has been expired or revoked.")
                body = world.tokens.grant(address)
            except OAuthError as refused:
                status, body = 400, refused.body
            world.stats.record("token", address, str(status), 0, len(body))
            return shaped(Answer(status, body), faults, world.clock)
