"""Machines of a test's own, with everything of Fieldpost on them, to be lost, restored and brought up to date."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import text

from deploy.local.backup import Origin
from deploy.local.binaries import find_postgres
from deploy.local.supervisor import Supervisor
from models import schema
from pipeline.runtime.db import Database
from pipeline.runtime.secrets import Secrets
from pipeline.runtime.settings import Settings
from tests.conftest import memory

KEY = "a secret key that is kept elsewhere"


class Machine:
    """A machine with everything of Fieldpost on it: servers, blobs, workers; to be lost."""

    def __init__(self, folder: Path, revision: str = "head") -> None:
        self.folder = folder
        self.supervisor = Supervisor(folder, durable=False)
        self.supervisor.start()
        url = self.supervisor.endpoints.database_url
        self.db = Database(url, "test")
        with self.db.begin() as connection:
            schema.migrate(connection, revision)
        self.settings = Settings(
            database_url=url,
            redis_url=self.supervisor.endpoints.redis_url,
            blob_url=f"file://{folder}/blobs",
            data_dir=folder,
            secret_key=KEY,
            history_interval_seconds=0.3,
            quota_minute_seconds=0.05,
        )

    @property
    def origin(self) -> Origin:
        """Return what a backup of it copies."""
        assert self.settings.database_url is not None
        assert self.settings.blob_url is not None
        key_id = Secrets.of(self.settings).key_id
        return Origin(self.db, self.settings.database_url, find_postgres(), self.settings.blob_url, key_id)

    def count(self, query: str, **values: object) -> int:
        """Return the number a query answers."""
        with self.db.begin() as connection:
            return int(connection.execute(text(query), values).scalar_one())

    def close(self) -> None:
        """Stop it in order."""
        self.db.close()
        self.supervisor.stop()


@contextmanager
def short_folder() -> Iterator[Path]:
    """Give the block a folder whose path is short enough for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="fpr-", dir=memory()))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
