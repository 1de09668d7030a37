"""How `fieldpost dlq` is told which letters are meant: the options its commands share, and what they come to."""

from __future__ import annotations

import inspect
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import wraps
from inspect import Parameter
from types import MappingProxyType
from typing import Annotated, Any, TypeAlias, get_type_hints

import typer
from sqlalchemy import Connection

from dlq import reading
from dlq.reading import Which
from models.enums import Cause
from models.queries.summary import database_time
from ops_api import bulk_wishes
from ops_api.cli.options import LARGEST_ID
from ops_api.job_types import stage_of
from pipeline.commands.mailboxes import find_mailbox
from pipeline.runtime.errors import UserError
from pipeline.table import STAGES

_WHICH = "Which letters"


def _option(*names: str, about: str, metavar: str | None = None) -> typer.models.OptionInfo:
    found: typer.models.OptionInfo = typer.Option(
        *names, help=about, metavar=metavar, show_default=False, rich_help_panel=_WHICH
    )
    return found


Ids: TypeAlias = Annotated[
    list[int] | None,
    typer.Argument(metavar="[ID...]", min=1, max=LARGEST_ID, help="Letters.", show_default=False),
]
LetterId: TypeAlias = Annotated[
    int, typer.Argument(metavar="ID", min=1, max=LARGEST_ID, help="The letter.", show_default=False)
]
All: TypeAlias = Annotated[bool, typer.Option("--all", help="All that are open.", rich_help_panel=_WHICH)]
Reason: TypeAlias = Annotated[str, typer.Option(metavar="TEXT", help="Why; kept with the letter.", show_default=False)]

_AGO = re.compile(r"(\d{1,6}) ?(min|m|h|d|w)")
_UNITS: Mapping[str, timedelta] = MappingProxyType(
    {
        "min": timedelta(minutes=1),
        "m": timedelta(minutes=1),
        "h": timedelta(hours=1),
        "d": timedelta(days=1),
        "w": timedelta(weeks=1),
    }
)
_LONGEST_AGO = timedelta(days=36_500)


@dataclass(frozen=True, slots=True)
class Filters:
    """What letters have in common, as a person said it; None does not narrow."""

    stage: Annotated[str | None, _option("--stage", metavar="STAGE", about="Only those of a stage.")] = None
    mailbox: Annotated[str | None, _option("--mailbox", metavar="MAILBOX", about="Only those of a mailbox.")] = None
    cause: Annotated[Cause | None, _option("--cause", about="Only those of a cause.")] = None
    group: Annotated[str | None, _option("--group", metavar="GROUP", about="Only one kind of error (`groups`).")] = None
    error: Annotated[str | None, _option("--error", metavar="CLASS", about="Only one class of error.")] = None
    text: Annotated[
        str | None,
        _option("--text", metavar="TEXT", about="Only with this in the error, the subject, the key or the mailbox."),
    ] = None
    since: Annotated[
        str | None,
        _option("--since", metavar="WHEN", about="Buried then or later: 2h, 3d, 2026-01-31, or with a time."),
    ] = None
    until: Annotated[str | None, _option("--until", metavar="WHEN", about="Buried before then.")] = None

    @property
    def said(self) -> dict[str, str]:
        """Return the options that were given."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {name: str(value) for name, value in values.items() if value is not None}

    def options(self) -> str:
        """Return them as they are typed."""
        return " ".join(f"--{name} {shlex.quote(value)}" for name, value in self.said.items())

    def which(self, connection: Connection) -> Which:
        """Return what `dlq.reading` narrows by. Raises `UserError` for a mailbox, a stage or a time that is none."""
        now = database_time(connection)
        return Which(
            stage=None if self.stage is None else _stage(connection, self.stage),
            mailbox_id=None if self.mailbox is None else find_mailbox(connection, self.mailbox),
            cause=self.cause,
            group=self.group,
            error_class=self.error,
            text=self.text,
            since=None if self.since is None else moment(self.since, now),
            until=None if self.until is None else moment(self.until, now),
        )


def filtered(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command as typer takes it: in place of its parameter `filters` stands one option for each filter."""
    own = inspect.signature(command, eval_str=True)
    options = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in get_type_hints(Filters, include_extras=True).items()
    ]

    @wraps(command)
    def told(**said: Any) -> None:
        filters = Filters(**{option.name: said.pop(option.name) for option in options})
        command(filters=filters, **said)

    others = [parameter for name, parameter in own.parameters.items() if name != "filters"]
    first = [parameter for parameter in others if parameter.kind is not Parameter.KEYWORD_ONLY]
    told.__signature__ = own.replace(parameters=[*first, *options, *others[len(first) :]])  # type: ignore[attr-defined]
    return told


def moment(said: str, now: datetime) -> datetime:
    """Return the time that is meant: so long ago (90min, 2h, 3d, 1w), or a date, or a date with a time (UTC if unsaid).

    So long ago is meant to the minute: who asks the same a second later asks for the same letters, and joins that bulk.
    Raises `UserError` for anything else.
    """
    found = _AGO.fullmatch(said.strip())
    if found:
        return (now - min(int(found[1]) * _UNITS[found[2]], _LONGEST_AGO)).replace(second=0, microsecond=0)
    try:
        at = datetime.fromisoformat(said.strip())
    except ValueError:
        raise UserError(f"{said[:40]!a} is no time: write 2h, 3d, 2026-01-31 or 2026-01-31T08:00") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def chosen(connection: Connection, ids: list[int] | None, filters: Filters, *, everything: bool) -> Which:
    """Return which letters are meant. Raises `UserError` unless they are said in exactly one way, and exist."""
    if sum((bool(ids), bool(filters.said), everything)) != 1:
        raise UserError("say which letters: their ids, or filters such as --stage and --group, or --all")
    if not ids:
        return filters.which(connection)
    missing = bulk_wishes.missing(connection, ids, None)
    if missing:
        raise UserError(f"there is no dead letter {bulk_wishes.some(missing)}; see `fieldpost dlq list`")
    return Which(letter_ids=list(dict.fromkeys(ids)))


def said_why(reason: str) -> str:
    """Return a reason. Raises `UserError` for an empty one."""
    if not reason.strip():
        raise UserError("say why with --reason: it is kept")
    return reason.strip()


def _stage(connection: Connection, said: str) -> str:
    """Return the stage; one that this version does not know may still have letters."""
    stage = stage_of(said)
    if stage not in STAGES and not reading.count(connection, stage=stage, is_open=None):
        raise UserError(f"there is no stage {said[:40]!a}; stages are {', '.join(STAGES)}")
    return stage
