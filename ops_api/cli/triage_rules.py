"""Rules of triage as people write and read them: files, NAME=VALUE, numbers of versions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import orjson

from pipeline.commands.triage_policies import number_of
from pipeline.core import tuned
from pipeline.core.triage_policy import BUILT_IN
from pipeline.runtime.errors import UserError

_LARGEST_FILE = 1 << 20


def read_file(file: str) -> dict[str, Any]:
    """Return what a file says of rules, a whole policy or a part of one; a shipped policy by its name.

    Raises `UserError` for a file that cannot be read, or holds something else.
    """
    shipped = tuned.named(file)
    try:
        if shipped is not None and not Path(file).exists():
            return shipped.stored()
        with Path(file).open("rb") as opened:
            said = opened.read(_LARGEST_FILE + 1)
        if len(said) > _LARGEST_FILE:
            raise UserError(f"{file} is larger than a policy can be")
        found = orjson.loads(said)
    except OSError as error:
        named = f"{file[:200]}: {error.strerror}"
        raise UserError(f"{named}; or name a shipped policy: {', '.join(tuned.NAMES)}") from error
    except orjson.JSONDecodeError as error:
        raise UserError(f"{file} is no JSON: {error}") from error
    whole = found.get("policy", found) if isinstance(found, dict) else found
    if not isinstance(whole, dict):
        raise UserError(f"{file} holds no JSON object with rules by part")
    return whole


def rules_of(values: Iterable[str]) -> dict[str, Any]:
    """Return what each NAME=VALUE says, by part; of two on one rule the later counts. Raises `UserError`."""
    said: dict[str, Any] = {}
    for part, name, value in map(rule_of, values):
        if name is None:
            said[part] = value
        elif isinstance(rules := said.setdefault(part, {}), dict):
            rules[name] = value
        else:
            raise UserError(f"{part} was given a value of its own before {part}.{name}: say one of them")
    return said


def rule_of(said: str) -> tuple[str, str | None, Any]:
    """Return part, name and value of NAME=VALUE; the built-in value for an empty one. What is no JSON is text."""
    place, equals, value = said.partition("=")
    part, dot, name = place.partition(".")
    if not equals or not part:
        raise UserError(f"write NAME=VALUE, not {said[:80]!r}; see `fieldpost triage policy show`")
    if not value:
        return part, name if dot else None, _built_in(part, name if dot else None)
    try:
        return part, name if dot else None, orjson.loads(value)
    except orjson.JSONDecodeError:
        return part, name if dot else None, value


def _built_in(part: str, name: str | None) -> Any:
    whole: Any = BUILT_IN.stored()
    for one in (part,) if name is None else (part, name):
        if not isinstance(whole, dict) or one not in whole:
            raise UserError(f"there is no rule {part if name is None else f'{part}.{name}'!r}")
        whole = whole[one]
    return whole


def version_of(said: str) -> int:
    """Return the number of a version. Raises `UserError` for what is none."""
    number = number_of(said)
    if number is None:
        raise UserError(f"a version is a number, not {said[:80]!r}; see `fieldpost triage policy list`")
    return number


def flat(policy: dict[str, Any]) -> Sequence[tuple[str, Any]]:
    """Return every rule by the name that `set` takes."""
    return [
        (f"{part}.{name}" if name else part, value)
        for part, values in policy.items()
        for name, value in (values.items() if isinstance(values, dict) else [("", values)])
    ]


def as_text(value: Any) -> str:
    """Return a value as `set` takes it."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()
