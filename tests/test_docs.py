"""What the documents tell people to type is there: settings, commands with their options, and HTTP addresses."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from ops_api.access_rows import ROWS
from ops_api.cli.lazy import COMMANDS
from pipeline.runtime.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
RUNBOOKS = tuple(f"docs/runbooks/{page.name}" for page in sorted((ROOT / "docs" / "runbooks").glob("*.md")))
DOCUMENTS = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/guide.md", "docs/operations.md", *RUNBOOKS)
_VARIABLE = re.compile(r"FIELDPOST_[A-Z0-9]+(?:_[A-Z0-9]+)*\b(?!_)")
#: A command stands alone on a line of a listing, or between backquotes; what follows two spaces is about it.
_TYPED = re.compile(r"^(?:\$ |\.venv/bin/)?(fieldpost [a-z][^\n`]*?)(?:  |$)|`(fieldpost [a-z][^`]*)`", re.MULTILINE)
_OPTION = re.compile(r"(?<!\S)--[a-z][a-z-]*")
_ADDRESS = re.compile(r"\b(GET|POST|PUT|PATCH|DELETE) (/[a-z][\w/{}-]*)")


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@cache
def command(name: str) -> Any:
    return get_command(importlib.import_module(f"ops_api.cli.{COMMANDS[name].module}").app)


def typed(document: str) -> Iterator[str]:
    for alone, quoted in _TYPED.findall(read(document)):
        for one in re.split(r" && | \| ", alone or " ".join(quoted.split())):
            if one.startswith("fieldpost "):
                yield one


def wrong(line: str) -> str | None:
    """Return what of a command there is not."""
    first, *words = line.split()[1:]
    found = []
    for name in first.split("|"):
        if name not in COMMANDS:
            return f"no command {name}"
        found.append(command(name))
    while words and re.fullmatch(r"[a-z-]+(?:\|[a-z-]+)*", words[0]) and hasattr(found[0], "commands"):
        names = words.pop(0).split("|")
        if missing := [name for name in names if name not in found[0].commands]:
            return f"no command {missing[0]}"
        found = [found[0].commands[name] for name in names]
    known = {option for one in found for parameter in one.params for option in parameter.opts} | {"--help"}
    return next((f"no option {option}" for option in _OPTION.findall(line) if option not in known), None)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_setting_that_is_named_is_one(document: str) -> None:
    known = {f"FIELDPOST_{name.upper()}" for name in Settings.model_fields}
    assert set(_VARIABLE.findall(read(document))) - known == set()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_that_is_shown_can_be_typed(document: str) -> None:
    assert {line: said for line in typed(document) if (said := wrong(line))} == {}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_address_that_is_named_is_served(document: str) -> None:
    def plain(path: str) -> str:
        return re.sub(r"{\w+}", "{}", path).rstrip("/")

    served = {(row.method, plain(row.path)) for row in ROWS}
    named = {(method, plain(path)) for method, path in _ADDRESS.findall(read(document))}
    assert named - served == set()


def test_the_checks_see_what_is_not_there() -> None:
    lines = [
        "fieldpost nothing",
        "fieldpost dlq nothing",
        "fieldpost status --nothing",
        "fieldpost people list|nothing",
    ]
    assert [wrong(line) for line in lines] == [
        "no command nothing",
        "no command nothing",
        "no option --nothing",
        "no command nothing",
    ]
    assert sum(1 for document in DOCUMENTS for _ in typed(document)) > 100
    everything = "".join(read(document) for document in DOCUMENTS)
    assert len(set(_VARIABLE.findall(everything))) > 20
    assert len(set(_ADDRESS.findall(everything))) > 20
    assert _VARIABLE.findall("FIELDPOST_NOTHING=1, FIELDPOST_RATE_...") == ["FIELDPOST_NOTHING"]


def test_every_runbook_is_listed_and_says_what_it_means_how_to_look_and_what_to_do() -> None:
    listed = re.findall(r"\]\(([\w-]+\.md)\)", read("docs/runbooks/README.md"))
    pages = {Path(name).name for name in RUNBOOKS} - {"README.md"}
    assert set(listed) == pages
    for page in sorted(pages):
        heads = [line[3:] for line in read(f"docs/runbooks/{page}").splitlines() if line.startswith("## ")]
        assert heads == ["Means", "Look", "Do"], page


def test_decisions_are_numbered_without_gaps_and_their_titles_say_the_number() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    assert [page.name for page in pages if not page.read_text("utf-8").startswith(f"# {int(page.name[:4])}. ")] == []
