"""The model that judges what mails tell: made with scikit-learn, and read without it from a file of numbers."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from models.enums import SignalStatus
from pipeline.core.learned_words import MOST_TERMS, UNIT, NotOurs, WordModel, read_model
from pipeline.core.signals import RULES_VERSION
from pipeline.core.symptom_words import Symptom
from pipeline.core.tellings import Judgement
from pipeline.ports import StatusClassifier
from pipeline.runtime.errors import UserError

_LARGEST_FILE = 64_000_000
_ELSE = 'name the file of a model, "built-in", or "rules"'
#: Fewer teach nothing that holds elsewhere.
LEAST_TELLINGS = 20
#: A term that stands in fewer tellings is left out, and so is a weight that moves logarithmic odds by less than this:
#: mails that it did not learn from are read no worse, and the file is a third as large.
_LEAST_TELLINGS_OF_A_TERM, _LEAST_WEIGHT = 3, 0.05
#: How closely it follows what it learns from, of states and of symptoms, which are rarer: of 0.1 to 3.0 these were best
#: on mails that it did not learn from.
_CLOSENESS, _RARELY = 0.3, 1.0


@dataclass(frozen=True, slots=True)
class Sample:
    """The terms of what one mail tells of one asset, and what that is."""

    terms: frozenset[str]
    status: SignalStatus
    symptoms: frozenset[Symptom] = frozenset()


class BuiltIn:
    """The `StatusClassifier` that comes with Fieldpost, read when it is first asked."""

    def judge(self, terms: Collection[str]) -> Judgement:
        """Return how likely each state and symptom is."""
        return built_in().judge(terms)


def chosen(name: str) -> StatusClassifier | None:
    """Return who judges: "built-in", nobody for "rules", or the model of a file. Raises `UserError` for a bad file."""
    if name == "rules":
        return None
    return BuiltIn() if name == "built-in" else load(Path(name))


@cache
def built_in() -> WordModel:
    """Return the model that comes with Fieldpost; read once, since it takes 0.2 s."""
    return read_model(files("pipeline.adapters").joinpath("status_words.json").read_bytes())


def load(path: Path) -> WordModel:
    """Return the model of a file. Raises `UserError` for what cannot be read, is not ours, or was changed."""
    try:
        with path.open("rb") as file:
            said = file.read(_LARGEST_FILE + 1)
        if len(said) > _LARGEST_FILE:
            raise UserError(f"FIELDPOST_STATUS_MODEL: {path} is too large for a model")
        return read_model(said)
    except OSError as error:
        raise UserError(f"FIELDPOST_STATUS_MODEL: {path} cannot be read: {error.strerror}; {_ELSE}") from error
    except NotOurs as error:
        raise UserError(f"FIELDPOST_STATUS_MODEL: {path} {error}; make one with `fieldpost triage train`") from error


def train(samples: Sequence[Sample]) -> WordModel:
    """Return a model of samples. Raises `UserError` without scikit-learn, or for too few samples.

    The same samples in the same order make the same model.
    """
    states = tuple(sorted({sample.status for sample in samples}))
    if len(samples) < LEAST_TELLINGS or len(states) < 2:
        raise UserError(f"a model is made of {LEAST_TELLINGS} labels or more, of two states at least")
    library = _library("sklearn")
    terms = _common([sample.terms for sample in samples])
    if not terms:
        raise UserError("no word stands in three of the mails: nothing can be learned of them")
    vectorizing = _library("sklearn.feature_extraction").DictVectorizer(sort=True)
    vectors = vectorizing.fit_transform([dict.fromkeys(sorted(one.terms & terms), 1.0) for one in samples])
    symptoms = tuple(one for one in Symptom if 0 < sum(one in sample.symptoms for sample in samples) < len(samples))
    learned = [_learned(vectors, [sample.status.value for sample in samples], _CLOSENESS)]
    learned += [_learned(vectors, [one in sample.symptoms for sample in samples], _RARELY) for one in symptoms]
    made_by = {"rules": str(RULES_VERSION), "scikit-learn": str(library.__version__), "labels": str(len(samples))}
    return _model(vectorizing.get_feature_names_out().tolist(), states, symptoms, learned, made_by)


def _common(tellings: Sequence[Collection[str]]) -> set[str]:
    counts = Counter(term for terms in tellings for term in terms)
    common = [term for term, count in counts.items() if count >= _LEAST_TELLINGS_OF_A_TERM]
    return set(sorted(common, key=lambda term: (-counts[term], term))[:MOST_TERMS])


def _learned(vectors: Any, labels: Sequence[Any], closeness: float) -> tuple[list[list[int]], list[int]]:
    """Return the weights of each outcome, and what it starts from; of yes and no, yes alone."""
    learning = _library("sklearn.linear_model").LogisticRegression(C=closeness, max_iter=2_000)
    learning.fit(vectors, labels)
    weights, starts = learning.coef_.tolist(), learning.intercept_.tolist()
    if len(weights) == 1 and not isinstance(labels[0], bool):
        # Of two states, scikit-learn keeps the weights of the second alone.
        weights, starts = [[0.0] * len(weights[0]), weights[0]], [0.0, starts[0]]
    return [[_units(weight) for weight in row] for row in weights], [round(start / UNIT) for start in starts]


def _units(weight: float) -> int:
    return 0 if abs(weight) < _LEAST_WEIGHT else round(weight / UNIT)


def _model(
    terms: Sequence[str],
    states: Sequence[SignalStatus],
    symptoms: Sequence[Symptom],
    learned: Sequence[tuple[list[list[int]], list[int]]],
    made_by: dict[str, str],
) -> WordModel:
    columns = [column for weights, _ in learned for column in weights]
    starts = [start for _, own in learned for start in own]
    rows = {
        term: tuple(number for at, column in enumerate(columns) if column[row] for number in (at, column[row]))
        for row, term in enumerate(terms)
    }
    return WordModel(
        dict(zip(states, starts[: len(states)], strict=True)),
        dict(zip(symptoms, starts[len(states) :], strict=True)),
        {term: row for term, row in rows.items() if row},
        made_by,
    )


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError("this needs scikit-learn: install Fieldpost with its extra, `fieldpost[learn]`") from error
