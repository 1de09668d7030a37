"""A parsing child that does what a mail tells it: `python -m tests.failing_parser MEMORY_BYTES CPU_SECONDS`.

A header `X-Death:` names how it fails; everything else is the product as it is.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from pipeline.adapters import parsing_child
from pipeline.core import mime
from pipeline.runtime.settings import environment

_DEATH = re.compile(rb"^X-Death: (\w+)\r?$", re.MULTILINE)


def _burn() -> None:
    while True:
        pass


def _swell() -> None:
    held = []
    while True:
        held.append(bytes(16 * 1024 * 1024))


def _raise() -> None:
    raise ZeroDivisionError("by nothing")


def _babble() -> None:
    os.write(1, b"a library said something\n")
    print("a library said something", flush=True)


def _tell_secrets() -> None:
    found = sorted(name for name in environment() if name.upper().startswith("FIELDPOST_"))
    raise ValueError(f"settings: {found}")


def _write_a_file() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    Path("written").write_bytes(b"content")


DEATHS: Mapping[bytes, Callable[[], None]] = {
    b"segv": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    b"exit": lambda: os._exit(3),
    b"burn": _burn,
    b"swell": _swell,
    b"hang": lambda: time.sleep(600),
    b"raise": _raise,
    b"babble": _babble,
    b"secrets": _tell_secrets,
    b"write": _write_a_file,
}


def main() -> None:
    """Run the child with a parser that obeys."""
    parse = mime.parse

    def obey(raw: bytes) -> mime.Parsed:
        found = _DEATH.search(raw)
        if found:
            DEATHS[found[1]]()
        return parse(raw)

    mime.parse = obey
    parsing_child.main(sys.argv[1:])


if __name__ == "__main__":
    main()
