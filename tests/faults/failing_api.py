"""An API that dies, freezes or breaks at named moments: `python -m tests.faults.failing_api PLAN PORT`.

The plan is JSON (`tests.faults.failpoints`); the environment is the API's.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ops_api.app import make_app, make_server
from pipeline.runtime.logs import set_up_logs
from pipeline.runtime.settings import Settings, read_settings
from tests.faults import failpoints
from tests.faults.failpoints import Plan


def run(settings: Settings, plan: Plan, port: int) -> None:
    """Serve the API on a port of this machine, following a plan, until asked to stop."""
    failpoints.install(plan)
    set_up_logs(settings.log_format, settings.log_level, "api")
    make_server(make_app(settings), "127.0.0.1", port).run()


def main(arguments: Sequence[str]) -> None:
    """Serve with the settings of the environment."""
    words, port = arguments
    run(read_settings(), Plan.of(words), int(port))


if __name__ == "__main__":
    main(sys.argv[1:])
