"""A small model that tells states and symptoms by weighted terms: logistic regression, as plain numbers."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models.enums import SignalStatus
from pipeline.core.symptom_words import Symptom
from pipeline.core.tellings import Judgement

#: Names the form of a model file; another form is another number.
FORM = "fieldpost-status-words-2"
MOST_TERMS = 200_000
#: Weights are whole numbers of this unit: a file of a third of the size, and no answer of 9,000 changed.
UNIT = 0.002
#: No weight that anybody learned is larger (2,000 units of logarithmic odds), and sums of so many stay finite.
_LARGEST = 1_000_000


class NotOurs(ValueError):
    """A file is no model of ours, or was changed; says what is wrong."""


@dataclass(frozen=True, slots=True)
class WordModel:
    """What is told by no term at all, and what each term adds to it, in units of logarithmic odds.

    Outcomes are numbered: the states first, the symptoms behind them. A row of weights holds by turns the number of an
    outcome and a weight.
    """

    states: Mapping[SignalStatus, int]
    symptoms: Mapping[Symptom, int]
    weights: Mapping[str, tuple[int, ...]]
    #: What made it: version of the rules, the library, and how many tellings it learned from.
    made_by: Mapping[str, str]

    def judge(self, terms: Collection[str]) -> Judgement:
        """Return how likely each state and each symptom is."""
        totals = [*self.states.values(), *self.symptoms.values()]
        for term in terms:
            row = self.weights.get(term, ())
            for at in range(0, len(row), 2):
                totals[row[at]] += row[at + 1]
        states, symptoms = totals[: len(self.states)], totals[len(self.states) :]
        powers = [math.exp((score - max(states)) * UNIT) for score in states]
        return Judgement(
            {state: power / sum(powers) for state, power in zip(self.states, powers, strict=True)},
            {symptom: _chance(score * UNIT) for symptom, score in zip(self.symptoms, symptoms, strict=True)},
        )


def _chance(odds: float) -> float:
    """Return a chance by its logarithmic odds; beyond 500 of them a float has no more to say."""
    return 1 / (1 + math.exp(-max(-500.0, min(500.0, odds))))


def written(model: WordModel) -> bytes:
    """Return a model as a file: JSON with the checksum of the rest."""
    content = {
        "form": FORM,
        "made_by": dict(model.made_by),
        "states": [[state.value, start] for state, start in model.states.items()],
        "symptoms": [[symptom.value, start] for symptom, start in model.symptoms.items()],
        "weights": {term: list(row) for term, row in model.weights.items()},
    }
    return _canonical({**content, "checksum": _checksum(content)})


def read_model(said: bytes) -> WordModel:
    """Return the model of a file. Raises `NotOurs` for what is no model, was changed, or holds what no model may."""
    try:
        content = json.loads(said)
    except (ValueError, RecursionError) as error:
        raise NotOurs("is no JSON") from error
    if not isinstance(content, dict) or content.get("form") != FORM:
        raise NotOurs(f"is no model of this form ({FORM})")
    try:
        is_whole = content.pop("checksum", None) == _checksum(content)
        model = _checked(content) if is_whole else None
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise NotOurs(f"holds what no model may: {error}") from error
    if model is None:
        raise NotOurs("was changed after it was made: its checksum is another one")
    return model


def _checked(content: Mapping[str, Any]) -> WordModel:
    states = {SignalStatus(name): _number(start) for name, start in content["states"]}
    symptoms = {Symptom(name): _number(start) for name, start in content["symptoms"]}
    weights = {str(term): tuple(map(_number, row)) for term, row in content["weights"].items()}
    if len(states) < 2:
        raise ValueError("it tells one state or none")
    if len(weights) > MOST_TERMS:
        raise ValueError(f"it weighs more than {MOST_TERMS} terms")
    if not all(_fits(row, len(states) + len(symptoms)) for row in weights.values()):
        raise ValueError("weights do not fit the outcomes")
    return WordModel(states, symptoms, weights, {str(name): str(value) for name, value in content["made_by"].items()})


def _fits(row: Sequence[int], outcomes: int) -> bool:
    return len(row) % 2 == 0 and all(0 <= at < outcomes for at in row[::2])


def _number(said: Any) -> int:
    if isinstance(said, bool) or not isinstance(said, int) or not -_LARGEST <= said <= _LARGEST:
        raise ValueError(f"a weight is a whole number from -{_LARGEST} to {_LARGEST}")
    return said


def _canonical(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical(content)).hexdigest()
