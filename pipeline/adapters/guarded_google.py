"""Google's HTTP library over the guard's connections, for mailboxes whose API or token address somebody gave."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import httplib2

from pipeline.adapters.gmail_credentials import GOOGLE_TOKEN_URI
from pipeline.adapters.guarded_http import Guard
from pipeline.runtime.settings import Settings


def guard_for(settings: Settings, endpoint: object, credentials: Mapping[str, object]) -> Guard | None:
    """Return what guards a mailbox's calls; None for Google's own addresses, which may be reached through a proxy."""
    is_googles = not endpoint and (credentials.get("token_uri") or GOOGLE_TOKEN_URI) == GOOGLE_TOKEN_URI
    return None if is_googles else Guard.of(settings)


class GuardedHttp(httplib2.Http):  # type: ignore[misc]
    """As the library's own, where there is no guard; else it connects where that lets it, and follows no redirect."""

    def __init__(self, guard: Guard | None, timeout: float) -> None:
        if guard is None:
            super().__init__(timeout=timeout)
            self._kinds: Mapping[str, type] = {}
            return
        super().__init__(timeout=timeout, proxy_info=None)
        self.follow_redirects = False
        self._kinds = {
            "http": type("Plain", (_Plain,), {"guard": guard}),
            "https": type("Tls", (_Tls,), {"guard": guard}),
        }

    def request(self, uri: str, *arguments: Any, **options: Any) -> Any:
        """Make a request, as the library does."""
        kind = self._kinds.get(uri.partition(":")[0].lower())
        if kind is not None:
            options["connection_type"] = kind
        return super().request(uri, *arguments, **options)


class _Plain(httplib2.HTTPConnectionWithTimeout):  # type: ignore[misc]
    guard: ClassVar[Guard]

    def connect(self) -> None:
        self.sock = self.guard.connect(self.host, self.port, self.timeout)


class _Tls(httplib2.HTTPSConnectionWithTimeout):  # type: ignore[misc]
    guard: ClassVar[Guard]

    def connect(self) -> None:
        plain = self.guard.connect(self.host, self.port, self.timeout)
        try:
            # The name is proved, not the address.
            self.sock = self._context.wrap_socket(plain, server_hostname=self.host)
        except BaseException:
            plain.close()
            raise
