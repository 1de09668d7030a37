"""Labelled mails: what is said of which asset, by the rules alone and as the model judges (decision 51)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from models.enums import ExtractedBy
from pipeline.adapters.learned_status import built_in
from pipeline.core.asset_guesses import Alike, best_guess
from pipeline.core.asset_names import Asset, AssetIndex
from pipeline.core.asset_patterns import tag_pattern
from pipeline.core.signals import Known, read
from pipeline.core.tellings import Judge, Telling

FOLDER = Path(__file__).resolve().parents[1] / "labelled"
#: The rules of words were made with these.
TUNING = sorted(FOLDER.glob("tuning_*.yaml"))
#: 450 mails that neither the rules nor the model have seen, by three writers who knew what labels mean, no more.
UNSEEN = sorted(FOLDER.glob("unseen_*.yaml"))
#: 150 more, by a fourth writer: how sure a model must be was chosen by these.
CHOOSING = sorted(FOLDER.glob("choosing_*.yaml"))
#: 150 mails in free prose, unlike those that the model learned from: riddles for both.
PROSE = sorted(FOLDER.glob("prose_*.yaml"))
LEARNED = sorted((FOLDER / "learned").glob("*.jsonl"))
LEAST_PRECISION, LEAST_RECALL = 0.95, 0.85
#: Precision and recall as measured (decision 51), less 0.01. NOT the goals, which free prose misses.
PROSE_MEASURED = {"assets": (0.984, 0.972), "status": (0.897, 0.666), "symptoms": (0.954, 0.649)}
KINDS = ("assets", "status", "symptoms")
DENIALS = {
    "AUS_0123 is not down any more",
    "AUS_0123 isn't broken",
    "AUS_0123 is no longer offline",
    "AUS_0123 was down yesterday, works again",
    "PMP-07 does not leak any more",
    "PMP-07 has stopped leaking",
    "PMP-07 makes no noise any more",
    "the leak at PMP-07 has been fixed",
    "D-12 is no longer stuck",
    "EV-0301 is not slow any more",
    "HVAC-2 isn't overheating now",
    "no leaks and no noise at PMP-07",
}


@dataclass
class Counted:
    """What was rightly found, wrongly found, and missed."""

    right: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    told: list[str] = field(default_factory=list)
    mails: int = 0

    def add(self, kind: str, expected: set[Any], found: set[Any], subject: str) -> None:
        """Count one mail."""
        self.right[kind] += len(expected & found)
        self.wrong[kind] += len(found - expected)
        self.missed[kind] += len(expected - found)
        if expected != found:
            extra, lacking = sorted(found - expected), sorted(expected - found)
            self.told.append(f"{subject}: {kind}: found {extra} instead of {lacking}")

    def precision(self, kind: str) -> float:
        """How much of what was found is right."""
        return self.right[kind] / max(1, self.right[kind] + self.wrong[kind])

    def recall(self, kind: str) -> float:
        """How much of what is right was found."""
        return self.right[kind] / max(1, self.right[kind] + self.missed[kind])

    def together(self, *kinds: str) -> tuple[float, float]:
        """Return precision and recall of several kinds as one."""
        right, wrong, missed = (sum(counts[kind] for kind in kinds) for counts in (self.right, self.wrong, self.missed))
        return right / max(1, right + wrong), right / max(1, right + missed)


@cache
def registry() -> tuple[Known, dict[Any, str], dict[str, str]]:
    """What the mails are read with; the tag of each asset, and the names."""
    said = yaml.safe_load((FOLDER / "registry.yaml").read_text(encoding="utf-8"))
    assets = [Asset(one["tag"], one["tag"], one["name"], tuple(one.get("aliases", ()))) for one in said["assets"]]
    patterns = tuple(tag_pattern(one["pattern"], one["tag"]) for one in said["patterns"])
    names = {one["name"].lower(): one["tag"] for one in said["assets"]}
    return Known(AssetIndex(assets), patterns), {one.asset_id: one.tag for one in assets}, names


def trigrams(said: str) -> set[str]:
    """The trigrams of a text as pg_trgm makes them."""
    return {f"  {word} "[at : at + 3] for word in re.findall(r"[^\W_]+", said) for at in range(len(word) + 1)}


def likeness(one: str, other: str) -> float:
    """How alike pg_trgm says two texts are."""
    ours, theirs = trigrams(one), trigrams(other)
    return len(ours & theirs) / len(ours | theirs)


def meant(mail: dict[str, Any]) -> Sequence[Telling]:
    """Return what a mail tells, as the stage reads it; the database's part by its own formula."""
    known, _, names = registry()
    reading = read(mail["subject"], mail["body"], known)
    if reading is not None and not reading.mentions:
        alike = [
            Alike(tag, name, one.said, likeness(one.said, name))
            for one in reading.phrases
            for name, tag in names.items()
        ]
        guess = best_guess(alike)
        reading = None if guess is None else reading.meaning(guess.asset_id, ExtractedBy.FUZZY, guess.phrase)
    return [] if reading is None else reading.tellings()


def read_mail(mail: dict[str, Any], judge: Judge | None) -> tuple[dict[str, str], dict[str, set[str]]]:
    """Return status and symptoms by tag, as the model judges or by the rules alone."""
    tags = registry()[1]
    found = [one.extraction if judge is None else one.judged(judge) for one in meant(mail)]
    statuses = {tags[one.asset_id]: one.status.value for one in found}
    return statuses, {tags[one.asset_id]: {told.symptom.value for told in one.symptoms} for one in found}


def mails(path: Path) -> list[dict[str, Any]]:
    """Return the mails of a file."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def count(
    paths: Sequence[Path], judge: Judge | None, wanted: Callable[[dict[str, Any]], bool] = lambda _: True
) -> Counted:
    """Compare the labels of files with what is read: assets, states, symptoms. Unknown is no state that is told."""
    counted = Counted()
    for mail in (mail for path in paths for mail in mails(path) if wanted(mail)):
        counted.mails += 1
        expected = {tag: said.split() for tag, said in mail["expect"].items()}
        statuses, symptoms = read_mail(mail, judge)
        counted.add("assets", set(expected), set(statuses), mail["subject"])
        counted.add(
            "status",
            {(tag, said[0]) for tag, said in expected.items() if said[0] != "unknown"},
            {(tag, status) for tag, status in statuses.items() if status != "unknown"},
            mail["subject"],
        )
        counted.add(
            "symptoms",
            {(tag, one) for tag, said in expected.items() for one in said[1:]},
            {(tag, one) for tag, found in symptoms.items() for one in found},
            mail["subject"],
        )
    return counted


def test_450_mails_that_nothing_was_made_with_are_read_right():
    """States 0.953 and 0.895, symptoms 0.950 and 0.927, both together 0.952 and 0.905."""
    assert sum(len(mails(path)) for path in UNSEEN) == 450
    counted = count(UNSEEN, built_in().judge)
    tell("unseen", counted)
    for kind in KINDS:
        assert counted.precision(kind) >= LEAST_PRECISION
        assert counted.recall(kind) >= LEAST_RECALL


def test_mails_that_deny_something_are_read_as_right_as_others():
    counted = count(UNSEEN, built_in().judge, denying)
    tell("unseen, with words that deny", counted)
    assert counted.mails > 250
    assert counted.precision("status") >= LEAST_PRECISION
    assert counted.recall("status") >= LEAST_RECALL


def denying(mail: dict[str, Any]) -> bool:
    """Return whether a mail has a word that denies."""
    said = f"{mail['subject']} {mail['body']}".lower()
    return re.search(r"\b(?:not|no|never|nor|neither|cannot|without|longer|none|nothing)\b|n't\b", said) is not None


def test_the_rules_alone_read_the_mails_right_that_they_were_made_with():
    counted = count(TUNING, None)
    tell("tuning, rules alone", counted)
    for kind in KINDS:
        assert counted.precision(kind) >= LEAST_PRECISION
        assert counted.recall(kind) >= LEAST_RECALL


def test_free_prose_is_read_as_well_as_measured():
    counted = count(PROSE, built_in().judge)
    tell("free prose", counted)
    for kind, (precision, recall) in PROSE_MEASURED.items():
        assert counted.precision(kind) >= precision
        assert counted.recall(kind) >= recall


def test_no_mail_that_is_measured_by_is_one_that_the_model_learned_from():
    taught = [orjson.loads(line) for path in LEARNED for line in path.read_bytes().splitlines()]
    learned = {plain(one["text"], one["assets"]) for one in taught}
    assert len(learned) > 10_000
    asked = [mail for path in (*UNSEEN, *CHOOSING, *PROSE) for mail in mails(path)]
    assert [mail["subject"] for mail in asked if plain(mail["body"], mail["expect"]) in learned] == []


def plain(text: str, names: Iterable[str]) -> str:
    """Return a mail's words, whatever names stand in it."""
    for name in names:
        text = text.replace(name, "")
    return " ".join(re.findall(r"[^\W\d_]+", text.lower()))


@pytest.mark.parametrize("said", sorted(DENIALS))
@pytest.mark.parametrize("by", ["rules", "model"])
def test_what_is_denied_is_not_told(said: str, by: str):
    (telling,) = read("", said, registry()[0]).tellings()
    found = telling.extraction if by == "rules" else telling.judged(built_in().judge)
    assert (found.status.value, found.symptoms) == ("online", ())


def tell(name: str, counted: Counted) -> None:
    """Print the figures, and every mail that is read otherwise than its label says."""
    for kind in KINDS:
        print(f"{name} {kind}: precision {counted.precision(kind):.3f}, recall {counted.recall(kind):.3f}")
    print(f"{name} states and symptoms: {counted.together('status', 'symptoms')}")
    print("\n".join(counted.told))
