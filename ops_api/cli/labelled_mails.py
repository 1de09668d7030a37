"""Mails that people labelled, one a line: which states and symptoms each tells of the assets that it names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import orjson

from models.enums import SignalStatus
from pipeline.adapters.learned_status import Sample
from pipeline.core import signals
from pipeline.core.asset_names import Asset, AssetIndex
from pipeline.core.symptom_words import Symptom
from pipeline.runtime.errors import UserError

EXAMPLE = '{"subject": "gate", "text": "EV-1 is dead, EV-2 hums", "assets": {"EV-1": "down", "EV-2": "degraded noise"}}'
_LARGEST_LINE, _MOST_LINES = 1_000_000, 100_000


def samples(path: Path) -> list[Sample]:
    """Return what a file's mails tell, mail by mail. Raises `UserError`: where the first wrong line is."""
    try:
        with path.open("rb") as lines:
            return list(_samples(path, iter(lambda: lines.readline(_LARGEST_LINE), b"")))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error


def _samples(path: Path, lines: Iterator[bytes]) -> Iterator[Sample]:
    for number, line in enumerate(lines, 1):
        if number > _MOST_LINES:
            raise UserError(f"{path} has more than {_MOST_LINES} lines")
        try:
            yield from _of_mail(orjson.loads(line)) if line.strip() else ()
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
            why = f"{error} - " if isinstance(error, _Unlike) else ""
            states, symptoms = ", ".join(SignalStatus), ", ".join(Symptom)
            raise UserError(
                f"{path}, line {number}: {why}write a mail such as {EXAMPLE}; states: {states}; symptoms: {symptoms}"
            ) from None


class _Unlike(ValueError):
    """A label does not fit its mail."""


def _of_mail(said: Any) -> Iterator[Sample]:
    labels = {str(name): _label(told) for name, told in said["assets"].items()}
    named = {uuid5(NAMESPACE_OID, name): name for name in labels}
    index = AssetIndex([Asset(asset_id, name, "") for asset_id, name in named.items()])
    reading = signals.read(str(said["subject"]), str(said["text"]), signals.Known(index))
    tellings = [] if reading is None else reading.tellings()
    found = {named[one.extraction.asset_id]: one.terms() for one in tellings if one.extraction.asset_id in named}
    for name, (status, symptoms) in labels.items():
        if name not in found:
            raise _Unlike(f"the mail does not name {name!r}")
        yield Sample(found[name], status, symptoms)


def _label(told: Any) -> tuple[SignalStatus, frozenset[Symptom]]:
    state, *symptoms = str(told).split()
    return SignalStatus(state), frozenset(map(Symptom, symptoms))
