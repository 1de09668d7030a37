"""`fieldpost triage train`: makes the model that judges what mails tell of assets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ops_api.cli.labelled_mails import EXAMPLE, samples
from ops_api.cli.options import AsJson
from ops_api.cli.output import print_fields, print_json
from pipeline.adapters import learned_status
from pipeline.adapters.learned_status import Sample
from pipeline.core.learned_words import WordModel, written
from pipeline.runtime.errors import UserError


def train(
    labelled: Annotated[
        list[Path],
        typer.Option(
            metavar="FILE", help=f"Lines of JSON, one mail each: {EXAMPLE}. May be given again.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="MODEL", help="The file to write.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Learn from mails that people labelled: the state of each asset, then its symptoms. Needs no database.

    A model comes with Fieldpost. To have one that knows how your people write, label some thousand of their mails and
    point FIELDPOST_STATUS_MODEL at the file that this makes ("built-in": the one that comes along; "rules": none).
    A model is a table of terms with weights, in JSON with its checksum; no code is loaded.

    Example: fieldpost triage train --labelled mails.jsonl --out status.json

    Exit codes: 0 ok, 2 bad input, or scikit-learn is not installed (the extra `learn`).
    """  # fmt: skip
    learned_from = [sample for path in labelled for sample in samples(path)]
    model = learned_status.train(learned_from)
    try:
        out.write_bytes(written(model))
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror}") from error
    told = _told(model, learned_from)
    if as_json:
        print_json(told)
    else:
        print_fields(told.items())


def _told(model: WordModel, learned_from: Sequence[Sample]) -> dict[str, Any]:
    right = 0
    for sample in learned_from:
        states = model.judge(sample.terms).states
        right += max(states, key=lambda one: states[one]) is sample.status
    by_state = Counter(sample.status.value for sample in learned_from)
    return {
        "labels": len(learned_from),
        **{f"labels {name}": count for name, count in sorted(by_state.items())},
        "terms": len(model.weights),
        "right of its own labels": f"{100 * right / len(learned_from):.1f} %",
        **{f"made by {name}": value for name, value in model.made_by.items()},
    }
