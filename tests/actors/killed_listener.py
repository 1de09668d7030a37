"""`python -m tests.actors.killed_listener ENDPOINT SUBSCRIPTION`: dies after announcing, before it acknowledges."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

from actors.listener import Puller
from pipeline.adapters.pubsub import PullSubscription
from pipeline.runtime.db import Database
from pipeline.runtime.metrics import Metrics
from pipeline.runtime.settings import read_settings


class Deadly(PullSubscription):
    """Kills its process instead of acknowledging."""

    def acknowledge(self, ack_ids: Sequence[str]) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Pull until something came."""
    endpoint, name = sys.argv[1:]
    settings = read_settings()
    assert settings.database_url is not None
    puller = Puller(
        Database(settings.database_url, "listener"), Deadly(name, None, endpoint), lambda _: None, Metrics()
    )
    while not puller.pull_once():
        pass


if __name__ == "__main__":
    main()
