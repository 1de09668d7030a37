"""`fieldpost triage train`: a model of mails that people labelled, and lines that are none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Command

_SAID = (("hums softly", "degraded noise"), ("left us", "down"), ("purrs", "online"), ("is blue", "unknown"))


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    path = tmp_path / "mails.jsonl"
    mails = [
        {"subject": name, "text": f"Hello, EV-{number} {said}.", "assets": {f"EV-{number}": label}}
        for number, name in enumerate(("pump", "gate", "door", "lift", "charger"))
        for said, label in _SAID
    ]
    path.write_text("\n".join(map(json.dumps, mails)))
    return path


def test_states_and_symptoms_are_learned_from_files_of_mails(fieldpost: Command, labelled: Path, tmp_path: Path):
    model = tmp_path / "model.json"
    told = fieldpost("triage", "train", "--labelled", labelled, "--labelled", labelled, "--out", model, "--json").json
    assert (told["labels"], told["labels down"], told["right of its own labels"]) == (40, 10, "100.0 %")
    made = json.loads(model.read_bytes())
    assert (made["form"], [name for name, _ in made["symptoms"]]) == ("fieldpost-status-words-2", ["noise"])


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"subject": "x", "text": "EV-1 is dead", "assets": {"EV-1": "fine"}}', "line 1: write a mail such as"),
        ('{"subject": "x", "text": "EV-1 is dead", "assets": {"EV-2": "down"}}', "the mail does not name 'EV-2'"),
        ('{"subject": "x", "text": "EV-1 is dead", "assets": {"EV-1": "down gloomy"}}', "symptoms: no_power"),
        ('{"subject": "x", "text": "EV-1 is dead", "assets": {"EV-1": ""}}', "line 1: write"),
        ('{"text": "EV-1 is dead", "assets": {"EV-1": "down"}}', "line 1: write"),
        ("[]", "line 1: write"),
        ("{", "line 1: write"),
        ("", "a model is made of 20 labels or more"),
    ],
)
def test_a_line_that_is_no_labelled_mail_is_told_by_its_place(fieldpost: Command, tmp_path: Path, line: str, why: str):
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text(line)
    refused = fieldpost("triage", "train", "--labelled", wrong, "--out", tmp_path / "model.json")
    assert (refused.code, why in refused.err) == (2, True), refused.err
    assert not (tmp_path / "model.json").exists()
