"""A launcher as `fieldpost up` is one: servers and a role, one ready line, a clean stop on a signal."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import structlog

from deploy.local.signals import stop_signals_blocked
from deploy.local.supervisor import Supervisor

SLEEPER = "import signal; print('asleep', flush=True); signal.pause()"


def main() -> int:
    """Run until a signal comes."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    with stop_signals_blocked(), Supervisor(Path(sys.argv[1]), durable=False) as supervisor:
        supervisor.start_role("worker", [sys.executable, "-S", "-c", SLEEPER], {"LC_ALL": "C.UTF-8"})
        found = supervisor.endpoints
        said = {"pids": supervisor.pids(), "database_url": found.database_url, "redis_url": found.redis_url}
        print(json.dumps(said), flush=True)
        supervisor.wait_for_stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
