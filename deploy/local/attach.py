"""How another process finds and uses the servers that a supervisor keeps running in a data folder."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

import psycopg

from deploy.local.layout import DataDir
from deploy.local.lock import Endpoints, read_holder
from deploy.local.valkey import answers

_PATIENCE_SECONDS = 2


def attach(data_dir: Path) -> Endpoints | None:
    """Return the running servers of a data folder.

    None unless a live supervisor holds the folder's lock and its embedded servers take connections at this moment; a
    server given to the supervisor by a URL is taken at its word.
    """
    holder = read_holder(DataDir.at(data_dir))
    if holder is None or holder.database_url is None or holder.redis_url is None:
        return None
    found = Endpoints(holder.database_url, holder.redis_url)
    embedded = Endpoints.on_sockets(Path(holder.sockets))
    if found.database_url == embedded.database_url and not _takes_connections(found.database_url):
        return None
    if found.redis_url == embedded.redis_url and not answers(Path(unquote(urlsplit(found.redis_url).path))):
        return None
    return found


def _takes_connections(url: str) -> bool:
    """Tell whether PostgreSQL accepts a connection now; while it recovers it does not."""
    try:
        psycopg.connect(url.replace("+psycopg", "", 1), connect_timeout=_PATIENCE_SECONDS).close()
    except psycopg.OperationalError:
        return False
    return True
