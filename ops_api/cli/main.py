"""The `fieldpost` command: runs one subcommand, and ends with one line and one code for whatever went wrong."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

import typer
from typer.main import get_command

from ops_api.cli.lazy import LazyGroup
from pipeline.runtime.errors import FieldpostError

INTERRUPTED = 130
_TERMINATED = 143

app = typer.Typer(cls=LazyGroup, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def fieldpost() -> None:
    """From inbox to dispatched work, nothing lost.

    Start with: fieldpost import mail.mbox --mailbox help@example.org

    Exit codes: 0 ok, 1 something is not complete, 2 bad input or configuration, 130 interrupted.

    Settings are variables that begin with FIELDPOST_, or lines of a file .env; `fieldpost doctor` checks them.
    """


def main() -> None:
    """Run the command line of this process and leave with its exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line; return its exit code. What a person can cause is told in one line on stderr."""
    if (wrong := _no_text(arguments)) is not None:
        return _complain(f"{wrong[:80]!a} is no text: write arguments in UTF-8, without NUL characters")
    try:
        code = get_command(app).main(list(arguments), prog_name="fieldpost", standalone_mode=False)
    except typer.TyperException as error:
        return _usage(error)
    except FieldpostError as error:
        return _complain(str(error))
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    return code if isinstance(code, int) else 0


def _no_text(arguments: Sequence[str]) -> str | None:
    """Return the first argument that no database or mail could hold; files may be named by any bytes."""
    takes_files = arguments[:1] == ["parse"]
    return next((one for one in arguments if "\0" in one or not (takes_files or _is_unicode(one))), None)


def _is_unicode(said: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in said)


def _usage(error: typer.TyperException) -> int:
    """Tell a wrong use of the command line; a group without a command has shown its help already."""
    said = error.format_message() if hasattr(error, "format_message") else str(error)
    if not said:
        return 2
    context = getattr(error, "ctx", None)
    return _complain(said if context is None else f"{said} See `{context.command_path} --help`.")


def _complain(said: str) -> int:
    print(f"fieldpost: {said}", file=sys.stderr)
    return 2
