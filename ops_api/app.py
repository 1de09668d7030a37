"""The ops API: put together here, and served with the settings that its promises depend on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from urllib.parse import urlsplit

import uvicorn
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector

from ops_api import answers
from ops_api.cursors import Cursors
from ops_api.dependencies import TRANSACTIONS, Services
from ops_api.guard import GuardedRoute
from ops_api.limits import Limits, RateLimit
from ops_api.probes import LedgerCollector, Readiness
from ops_api.providers import QUESTIONS, Providers
from ops_api.push_door import PushDoor
from ops_api.raws import Raws
from ops_api.requests import Edge
from ops_api.routes import (
    auth,
    conversations,
    dead_letter_bulks,
    dead_letters,
    live,
    mailboxes,
    ops,
    process,
    push,
    quarantine,
    raw,
    replies,
    reprocessing,
    search,
    sync,
)
from ops_api.sessions import Sessions
from ops_api.silence import Expected
from pipeline.adapters.clock import SystemClock
from pipeline.ports import Clock
from pipeline.runtime.db import Database
from pipeline.runtime.errors import UserError
from pipeline.runtime.secrets import Secrets, SignedReplyTokens
from pipeline.runtime.settings import Settings

_ABOUT = "Mailboxes, their synchronisation, and the jobs behind them. Changes need the session's CSRF token."
_ROUTERS = tuple(
    module.router
    for module in (
        # The paths of bulks go first: "dlq" must not be taken for a job's id.
        *(process, auth, mailboxes, sync, live, ops, dead_letter_bulks, dead_letters, push),
        *(replies, conversations, quarantine, search, raw, reprocessing),
    )
)


def make_app(settings: Settings, *, limits: Limits | None = None, clock: Clock | None = None) -> FastAPI:
    """Return the app. Connects to nothing yet; its database is let go of when the server stops.

    Raises `UserError` without a database or a secret key.
    """
    services = _services(settings, limits or Limits(), clock or SystemClock())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        services.push_door.close()
        services.providers.close()
        services.db.close()

    app = FastAPI(
        title="Fieldpost",
        description=_ABOUT,
        version=version("fieldpost"),
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.state.services = services
    app.router.route_class = GuardedRoute
    app.add_middleware(
        Edge,
        limits=services.limits,
        clock=clock or SystemClock(),
        registry=services.registry,
        is_https=urlsplit(settings.public_url or "").scheme == "https",
    )
    answers.install(app)
    for router in _ROUTERS:
        app.include_router(router)
    return app


def make_server(app: FastAPI, host: str, port: int) -> uvicorn.Server:
    """Return a server for the app; `port` 0 takes a free one.

    Forwarding headers are not believed, since the limits count the peer's address, and the server writes no log of
    its own, since its lines would carry query strings.
    """
    return uvicorn.Server(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            proxy_headers=False,
            server_header=False,
            access_log=False,
            log_config=None,
            timeout_keep_alive=15,
            timeout_graceful_shutdown=10,
        )
    )


def _services(settings: Settings, limits: Limits, clock: Clock) -> Services:
    if settings.database_url is None:
        raise UserError("the API needs FIELDPOST_DATABASE_URL; `fieldpost up` sets it")
    keys = Secrets.of(settings)
    sessions, cursors = Sessions(keys, clock), Cursors(keys)
    pool_size = TRANSACTIONS + QUESTIONS
    db = Database(settings.database_url, "api", pool_size=pool_size, statement_timeout=limits.statement)
    registry = CollectorRegistry()
    if settings.enable_prometheus_metrics:
        registry.register(LedgerCollector(db, clock, Expected.of(settings)))
        if settings.metrics_dir is not None:
            MultiProcessCollector(registry, path=str(settings.metrics_dir))  # type: ignore[no-untyped-call]
    return Services(
        settings=settings,
        limits=limits,
        db=db,
        sessions=sessions,
        cursors=cursors,
        auth_limit=RateLimit(limits.auth_per_minute, clock),
        readiness=Readiness(db, limits.probe),
        registry=registry,
        push_door=PushDoor(settings, registry),
        providers=Providers(settings, keys, db),
        reply_tokens=SignedReplyTokens(keys),
        raws=Raws(settings),
    )
