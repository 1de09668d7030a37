"""A hundred people at once: sessions begin and rotate without a deadlock, and every connection comes back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from http.cookies import SimpleCookie
from threading import Barrier

import httpx
from sqlalchemy.pool import QueuePool

from ops_api.limits import Limits
from tests.ops_api.serving import Api, rows, serving, settings_for
from tests.worker_process import until

_PEOPLE = 100
_LIMITS = Limits(auth_per_minute=10_000, read_per_minute=10_000, write_per_minute=10_000)


class _Wire:
    """Requests without a jar of cookies: a hundred people share the connections."""

    def __init__(self, api: Api) -> None:
        self._base = api.base_url
        limits = httpx.Limits(max_connections=_PEOPLE)
        self._transport = httpx.HTTPTransport(limits=limits)

    def ask(self, method: str, path: str, cookies: dict[str, str], body: object = None) -> httpx.Response:
        headers = {"cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}
        headers |= {"x-csrf-token": cookies["oss_csrf"]} if "oss_csrf" in cookies else {}
        request = httpx.Request(method, self._base + path, headers=headers, json=body)
        request.extensions = {"timeout": dict.fromkeys(("connect", "read", "write", "pool"), 60)}
        answer = self._transport.handle_request(request)
        answer.read()
        for line in answer.headers.get_list("set-cookie"):
            for name, morsel in SimpleCookie(line).items():
                cookies[name] = morsel.value
        return answer

    def close(self) -> None:
        self._transport.close()


def pool_of(api: Api) -> QueuePool:
    pool = api.db.engine.pool
    assert isinstance(pool, QueuePool)
    return pool


def test_a_hundred_logins_and_rotations_at_once_all_succeed(database_url: str) -> None:
    with serving(settings_for(database_url), limits=_LIMITS) as api:
        wire, together = _Wire(api), Barrier(_PEOPLE)
        nobody: dict[str, str] = {}
        wire.ask("GET", "/auth/csrf", nobody)

        def come_in(number: int) -> list[int]:
            email = f"p{number}@example.org" if number % 2 else "ann@example.org"  # half of them are one person
            login = {"email": email, "organization_name": "Acme"}
            cookies = dict(nobody)
            together.wait(60)
            return [wire.ask("POST", "/auth/dev/login", cookies, login).status_code for _ in range(2)]

        with ThreadPoolExecutor(_PEOPLE) as pool:
            answers = list(pool.map(come_in, range(_PEOPLE)))
        wire.close()
        assert answers == [[200, 200]] * _PEOPLE
        going = rows(api.db, "SELECT count(*) FILTER (WHERE ended_at IS NULL), count(*) FROM sessions")
        assert going == [(_PEOPLE, 2 * _PEOPLE)]
        until(lambda: pool_of(api).checkedout() == 0, "every connection to come back")
