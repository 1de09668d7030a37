"""`python -m actors`: one worker with the settings of the environment, for supervisors that start roles themselves."""

from __future__ import annotations

import sys

from actors.worker import run
from pipeline.runtime.errors import UserError
from pipeline.runtime.logs import set_up_logs
from pipeline.runtime.settings import read_settings


def main() -> int:
    """Run until SIGTERM or SIGINT; 0 after a stop in order, 2 for bad settings or an unreachable database."""
    try:
        settings = read_settings()
        set_up_logs(settings.log_format, settings.log_level, "worker")
        run(settings)
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
