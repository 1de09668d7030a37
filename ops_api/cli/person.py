"""Who runs a command."""

from __future__ import annotations

import os
import pwd


def operator() -> str:
    """Return the name of the operating system's user, else the number."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
