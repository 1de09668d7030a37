"""The test stand: servers of its own, and a fresh database, broker and blob folder for every run."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from redis import Redis
from sqlalchemy import create_engine, text

from deploy.local.supervisor import Supervisor
from models import schema
from pipeline.runtime.db import Database
from pipeline.runtime.settings import environment

SECRET = "a secret key for one benchmark"
_TEMPLATE = "bench_template"


@dataclass(frozen=True, slots=True)
class Bed:
    """Where one run works: its database (open, and as a URL), blobs, files, and the environment of its processes."""

    db: Database
    database_url: str
    blob_url: str
    redis_url: str
    folder: Path
    environment: Mapping[str, str]


class Stand:
    """Makes a bed for each run out of one supervisor's servers."""

    def __init__(self, supervisor: Supervisor, folder: Path) -> None:
        self.supervisor = supervisor
        self._folder = folder
        self._numbers = itertools.count(1)
        endpoints = supervisor.endpoints
        self._admin_url, self._redis_url = endpoints.database_url, endpoints.redis_url
        self._execute(f"CREATE DATABASE {_TEMPLATE}")
        engine = create_engine(self._url(_TEMPLATE))
        with engine.begin() as connection:
            schema.migrate(connection)
        engine.dispose()

    @contextmanager
    def bed(self) -> Iterator[Bed]:
        """Give one run everything fresh.

        Its files stay until the whole bench ends: just after thousands are deleted, ext4 takes several times as long to
        make new ones, and the next run would pay for that.
        """
        name = f"bench_{next(self._numbers)}"
        folder = self._folder / name
        folder.mkdir()
        with Redis.from_url(self._redis_url) as client:
            client.flushall()
        self._execute(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
        url, blobs = self._url(name), (folder / "blobs").as_uri()
        try:
            with closing(Database(url, "bench", pool_size=2)) as db:
                yield Bed(db, url, blobs, self._redis_url, folder, self._environment(url, blobs, folder))
        finally:
            self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _environment(self, database_url: str, blob_url: str, folder: Path) -> dict[str, str]:
        theirs = {name: value for name, value in environment().items() if not name.upper().startswith("FIELDPOST_")}
        return {
            **theirs,
            "FIELDPOST_DATABASE_URL": database_url,
            "FIELDPOST_REDIS_URL": self._redis_url,
            "FIELDPOST_BLOB_URL": blob_url,
            "FIELDPOST_DATA_DIR": str(folder),
            "FIELDPOST_SECRET_KEY": SECRET,
        }

    def _url(self, database: str) -> str:
        return self._admin_url.replace("/postgres?", f"/{database}?")

    def _execute(self, statement: str) -> None:
        engine = create_engine(self._admin_url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(statement))
        engine.dispose()
