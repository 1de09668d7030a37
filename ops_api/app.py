"""The ops API: put together here, and served with the settings that its promises depend on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from urllib.parse import urlsplit

import uvicorn
from fastapi import APIRouter, FastAPI
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector

from ops_api import answers
from ops_api.access_rows import TABLE
from ops_api.allowed_hosts import Hosts
from ops_api.audited import RECORDERS, Trails
from ops_api.barrier import Barrier
from ops_api.body_limits import BodyLimits
from ops_api.connections import bounded
from ops_api.cursors import Cursors
from ops_api.dependencies import TRANSACTIONS, Services
from ops_api.describing import DescribedApp
from ops_api.downloads import Links
from ops_api.guard import GuardedRoute
from ops_api.identifying import LOOKUPS, Identifier
from ops_api.jwt_bearer import JwtBearers
from ops_api.limits import Limits
from ops_api.openid_door import SIGN_INS, OpenIdDoor
from ops_api.password_door import QUICK, WORKERS, PasswordDoor
from ops_api.plan_door import PlanDoor
from ops_api.probes import LedgerCollector, Readiness
from ops_api.providers import QUESTIONS, Providers
from ops_api.push_door import PushDoor
from ops_api.queue_door import QUEUES, QueueDoor
from ops_api.rate_limits import Limiter
from ops_api.raws import Raws
from ops_api.requests import Edge
from ops_api.routes import (
    alerts,
    api_tokens,
    approvals,
    assets,
    assignment,
    attendance,
    audit,
    auth,
    billing,
    calendars,
    case_truths,
    cases,
    conversations,
    customer_visit,
    dead_letter_bulks,
    dead_letters,
    devices,
    dispatch_queue,
    duty,
    erasures,
    evidence,
    evidence_files,
    field_reads,
    field_triage,
    field_work,
    intake,
    inventory,
    levels,
    live,
    mailboxes,
    my_work,
    notifications,
    offline,
    oidc,
    ops,
    password_login,
    people,
    photos,
    places,
    plans,
    process,
    push,
    quality,
    quarantine,
    queues,
    rates,
    raw,
    replies,
    reprocessing,
    resumable_uploads,
    roles,
    routing_admin,
    routing_simulation,
    saved_views,
    schedule,
    search,
    sla,
    sync,
    technician_me,
    technicians,
    templates,
    ticket_downloads,
    tickets,
    tickets_change,
    triage,
    triage_policies,
    work_order_reads,
    work_orders,
    work_orders_lead,
    work_sessions,
    workshop,
    workshop_reads,
    workshop_rules,
    xp,
)
from ops_api.sessions import CsrfTokens
from ops_api.silence import Expected
from ops_api.upload_door import UploadDoor
from pipeline.adapters.clock import SystemClock
from pipeline.adapters.route_solver import ChildPlanner
from pipeline.adapters.upload_reader import ConfinedReader
from pipeline.ports import Clock
from pipeline.runtime.db import Database
from pipeline.runtime.errors import UserError
from pipeline.runtime.secrets import Secrets, SignedReplyTokens
from pipeline.runtime.settings import Settings

_ABOUT = "Mailboxes, their synchronisation, and the jobs behind them. Changes need the session's CSRF token."
_ROUTERS = tuple(
    module.router
    for module in (
        # What phones ask for goes first: an address is looked for in one router after the other, which costs each time.
        *(my_work, work_order_reads, work_orders, notifications, photos, offline),
        *(resumable_uploads, devices, work_orders_lead),
        # The paths of bulks go first: "dlq" must not be taken for a job's id.
        *(process, auth, api_tokens, mailboxes, sync, live, ops, dead_letter_bulks, dead_letters, push),
        *(oidc, password_login, technician_me, people, roles, places),
        *(quality, xp, workshop_rules, attendance, levels),
        # Before those of tickets: "routing" must not be taken for a ticket's id.
        *(routing_admin, routing_simulation, duty),
        *(sla, calendars),
        *(saved_views, queues, erasures),
        *(assignment, technicians, schedule, customer_visit, plans),
        *(billing, rates),
        *(intake, field_triage, approvals),
        *(workshop, workshop_reads, work_sessions, inventory),
        *(evidence, evidence_files, templates, field_work),
        *(field_reads, dispatch_queue, alerts),
        *(triage, cases, case_truths),
        *(triage_policies, assets),
        *(audit, tickets_change, replies, conversations, quarantine, search, raw, reprocessing),
        *(ticket_downloads, tickets),
    )
)


#: Included once for all apps, which differ by their services alone: what FastAPI makes of a route at the first request
#: costs a millisecond each.
_INCLUDED = APIRouter()
for _router in _ROUTERS:
    _INCLUDED.include_router(_router)


def make_app(settings: Settings, *, limits: Limits | None = None, clock: Clock | None = None) -> FastAPI:
    """Return the app. Connects to nothing yet; its database is let go of when the server stops.

    Raises `UserError` without a database or a secret key.
    """
    services = _services(settings, limits or Limits.of(settings), clock or SystemClock())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await services.limiter.close()
        services.push_door.close()
        services.jwts.close()
        services.openid.close()
        services.providers.close()
        services.uploads.close()
        services.db.close()

    app = DescribedApp(
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
        hosts=Hosts.of(settings),
        bodies=BodyLimits(TABLE.values(), services.limits),
    )
    answers.install(app)
    app.router.routes.extend(_INCLUDED.routes)
    return app


def make_server(app: FastAPI, host: str, port: int) -> uvicorn.Server:
    """Return a server for the app; `port` 0 takes a free one.

    Forwarding headers are believed of our own proxies alone, since the limits count the client's address, and the
    server writes no log of its own, since its lines would carry query strings.
    """
    services: Services = app.state.services
    return uvicorn.Server(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            http=bounded(services.limits),
            ws="none",
            h11_max_incomplete_event_size=services.limits.header_bytes,
            proxy_headers=services.settings.trusted_proxies is not None,
            forwarded_allow_ips=services.settings.trusted_proxies or "",
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
    csrf, cursors = CsrfTokens(keys), Cursors(keys)
    jwts = JwtBearers(settings, clock)
    pool_size = TRANSACTIONS + QUESTIONS + QUEUES + LOOKUPS + SIGN_INS + WORKERS + QUICK + RECORDERS
    db = Database(settings.database_url, "api", pool_size=pool_size, statement_timeout=limits.statement)
    raws = Raws(settings)
    registry = CollectorRegistry()
    if settings.enable_prometheus_metrics:
        registry.register(LedgerCollector(db, clock, Expected.of(settings)))
        if settings.metrics_dir is not None:
            MultiProcessCollector(registry, path=str(settings.metrics_dir))  # type: ignore[no-untyped-call]
    return Services(
        settings=settings,
        limits=limits,
        db=db,
        barrier=Barrier(),
        trails=Trails(clock),
        identifier=Identifier(settings, keys, db, jwts),
        jwts=jwts,
        openid=OpenIdDoor(settings, keys, db, clock),
        csrf=csrf,
        cursors=cursors,
        links=Links(keys),
        limiter=Limiter(settings.redis_url, limits, clock),
        readiness=Readiness(db, limits.probe),
        registry=registry,
        push_door=PushDoor(settings, registry),
        providers=Providers(settings, keys, db),
        password_door=PasswordDoor(settings, keys, db),
        reply_tokens=SignedReplyTokens(keys),
        raws=raws,
        uploads=UploadDoor(raws, ConfinedReader()),
        plans=PlanDoor(ChildPlanner()),
        queues=QueueDoor(clock, registry),
    )
