"""The model of words: what training makes, a file brings back; files that are none; and the one that comes along."""

from __future__ import annotations

import json

import pytest
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LogisticRegression

from models.enums import SignalStatus
from pipeline.adapters import learned_status
from pipeline.adapters.learned_status import BuiltIn, Sample, train
from pipeline.core import learned_words
from pipeline.core.learned_words import UNIT, NotOurs, read_model, written
from pipeline.core.symptom_words import Symptom
from pipeline.runtime.errors import UserError

_NONE: frozenset[Symptom] = frozenset()
_SAID = (
    ("makes a melody and hums", SignalStatus.DEGRADED, frozenset({Symptom.NOISE})),
    ("shivers a little in the wind", SignalStatus.DEGRADED, _NONE),
    ("has left this world", SignalStatus.DOWN, _NONE),
    ("is as silent as a grave", SignalStatus.DOWN, frozenset({Symptom.NO_POWER})),
    ("purrs like a cat", SignalStatus.ONLINE, _NONE),
    ("does what it should", SignalStatus.ONLINE, _NONE),
)
SAMPLES = [
    Sample(frozenset([name, *said.split()]), status, symptoms)
    for said, status, symptoms in _SAID
    for name in ("it", "pump", "gate", "aus", "charger")
]


@pytest.fixture(scope="module")
def model():
    return train(SAMPLES)


def most_likely(model, terms):
    states = model.judge(terms).states
    return max(states, key=lambda one: states[one])


def test_a_trained_model_tells_what_it_learned_and_is_the_same_from_its_file(model):
    again = read_model(written(model))
    for sample in SAMPLES:
        judgement = again.judge(sample.terms)
        assert most_likely(again, sample.terms) is sample.status
        assert sum(judgement.states.values()) == pytest.approx(1)
        assert {one for one, chance in judgement.symptoms.items() if chance >= 0.4} == sample.symptoms
    assert again == model
    assert written(again) == written(model) == written(train(SAMPLES))


def test_its_likelihoods_are_those_of_the_library(model):
    vectorizing = DictVectorizer()
    vectors = vectorizing.fit_transform([dict.fromkeys(one.terms, 1.0) for one in SAMPLES])
    learning = LogisticRegression(C=learned_status._CLOSENESS, max_iter=2_000)
    learning.fit(vectors, [one.status.value for one in SAMPLES])
    terms = ("gate", "hums", "wind", "silent", "never heard of")
    asked = vectorizing.transform([dict.fromkeys(terms, 1.0)])
    expected = dict(zip(learning.classes_, learning.predict_proba(asked)[0], strict=True))
    for status, likelihood in model.judge(terms).states.items():
        # Odds of five terms, each off by a weight that was left out or by half a unit; of likelihoods, half of that.
        assert likelihood == pytest.approx(expected[status.value], abs=5 * (learned_status._LEAST_WEIGHT + UNIT) / 2)


def test_two_states_are_enough_and_one_is_not():
    two = [sample for sample in SAMPLES if sample.status is not SignalStatus.ONLINE]
    assert most_likely(train(two), ["hums", "melody"]) is SignalStatus.DEGRADED
    with pytest.raises(UserError, match="of two states at least"):
        train([sample for sample in two if sample.status is SignalStatus.DOWN] * 5)


def test_any_terms_have_an_answer(model):
    for terms in ([], ["\ud800"], ["x" * 10_000], SAMPLES[0].terms):
        assert sum(model.judge(terms).states.values()) == pytest.approx(1)


def test_a_file_that_is_not_ours_or_was_changed_is_refused(model, tmp_path):
    said = json.loads(written(model))
    path = tmp_path / "model.json"
    for change, why in (
        ({"form": "other"}, "no model of this form"),
        ({"states": [["down", 0], ["online", 1]]}, "checksum"),
        ({"checksum": ""}, "checksum"),
    ):
        path.write_text(json.dumps(said | change))
        with pytest.raises(UserError, match=why):
            learned_status.load(path)
    for content in (b"", b"\x80\x04pickle", b"[]", b"null"):
        path.write_bytes(content)
        with pytest.raises(UserError, match="fieldpost triage train"):
            learned_status.load(path)
    with pytest.raises(UserError, match=r'cannot be read: .*"built-in"'):
        learned_status.load(tmp_path / "none")


@pytest.mark.parametrize(
    "weights",
    [
        {"x": [1]}, {"x": [3, 2]}, {"x": [-1, 2]}, {"x": [0, "a"]}, {"x": [0, True]}, {"x": [0, 1.5]}, {"x": None}, [],
        # Sums of these are no numbers; this is larger than a weight can be.
        {"x": [0, float("nan")]}, {"x": [0, 10**400]}, {"x": [0, -(10**7)]},
    ],
)  # fmt: skip
def test_a_file_with_a_right_checksum_and_wrong_numbers_is_refused(weights):
    content = {"form": learned_words.FORM, "made_by": {}, "states": [["down", 0], ["online", 5]]}
    content |= {"symptoms": [["leak", -3]], "weights": {"x": [0, 4, 2, -7]}}
    signed = content | {"checksum": learned_words._checksum(content)}
    assert read_model(json.dumps(signed).encode()).weights == {"x": (0, 4, 2, -7)}
    content["weights"] = weights
    with pytest.raises(NotOurs):
        read_model(json.dumps(content | {"checksum": learned_words._checksum(content)}).encode())


@pytest.mark.parametrize(
    "said",
    [b"[" * 100_000, b'{"a":' * 900 + b"1" + b"}" * 900, rb'{"form":"%s","weights":{"\ud800":[1]}}', b"9" * 5_000],
)
def test_a_file_that_nothing_can_be_made_of_is_refused(said):
    with pytest.raises(NotOurs):
        read_model(said.replace(b"%s", learned_words.FORM.encode()))


def test_mails_that_share_no_word_teach_nothing():
    states = (SignalStatus.DOWN, SignalStatus.ONLINE)
    alone = [Sample(frozenset([letter]), states[at % 2]) for at, letter in enumerate("abcdefghijklmnopqrstuvwxyz")]
    with pytest.raises(UserError, match="no word stands in three"):
        train(alone)


def test_without_the_library_training_says_what_to_install(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(learned_status.importlib, "import_module", missing)
    with pytest.raises(UserError, match="fieldpost\\[learn\\]"):
        train(SAMPLES)


def test_the_setting_names_who_judges(model, tmp_path):
    path = tmp_path / "own.json"
    path.write_bytes(written(model))
    assert learned_status.chosen("rules") is None
    assert learned_status.chosen(str(path)) == model
    asked = learned_status.chosen("built-in")
    assert isinstance(asked, BuiltIn)
    assert set(asked.judge([]).states) == set(SignalStatus)
    assert set(asked.judge([]).symptoms) == set(Symptom)
