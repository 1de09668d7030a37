"""Which names in `Host` are ours: a name that somebody else pointed at this machine gets no answer."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from ops_api.hosts import is_unforgeable
from pipeline.runtime.settings import Settings


@dataclass(frozen=True, slots=True)
class Hosts:
    """The names that one API answers to; without a public URL it answers to every name."""

    names: frozenset[str] | None

    @classmethod
    def of(cls, settings: Settings) -> Hosts:
        """Return the host of the public URL and the names of FIELDPOST_ALLOWED_HOSTS."""
        public = urlsplit(settings.public_url or "").hostname
        if public is None:
            return cls(None)
        more = (name.strip().lower() for name in (settings.allowed_hosts or "").split(","))
        return cls(frozenset({public, *more} - {""}))

    def know(self, host: str) -> bool:
        """Say whether a request for this host is for us.

        An address, a name of this machine, and a name without a dot (another container's for this one) lead nobody
        else here: only whoever runs the network can give them.
        """
        if self.names is None:
            return True
        try:
            name = (urlsplit(f"//{host}").hostname or "").removesuffix(".")
        except ValueError:
            return False
        return name in self.names or is_unforgeable(name) or bool(name and "." not in name)
