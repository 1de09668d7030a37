"""The table of stages: printed for people as it stands in the golden file, and refused when it is wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline import table
from pipeline.commands import desk
from pipeline.stage import Stage
from pipeline.stages import fetch
from pipeline.table import STAGES, as_text

GOLDEN = Path(__file__).with_name("table.txt")
COMMANDS_GOLDEN = Path(__file__).with_name("commands.txt")
PAGE = Path(__file__).resolve().parents[1] / "docs" / "commands.md"


def test_the_table_is_printed_as_it_stands_in_the_golden_file():
    """After a wanted change: `python -c "from pipeline import table; print(table.as_text())" > tests/table.txt`."""
    assert as_text() + "\n" == GOLDEN.read_text(encoding="utf-8")


def test_the_table_reads_along_the_chain_from_mail_to_work_orders():
    chain = ["fetch", "parse", "stitch", "routing", "triage", "dispatch"]
    assert [name for name in STAGES if name in chain] == chain
    beside = {
        "backfill", "history", "reconcile", "watch", "acknowledge",
        "send", "index", "reprocess", "clocks", "notify", "erase", "forget", "lapse", "invite",
        "push", "judge", "resume", "retriage", "settle",
    }  # fmt: skip
    assert set(STAGES) == {*chain, *beside}


def test_every_step_leads_to_a_stage_and_only_walks_weeks_a_stale_fetch_and_what_is_in_doubt_lead_to_themselves():
    assert {target for stage in STAGES.values() for target in stage.emits} <= set(STAGES)
    assert {name for name, stage in STAGES.items() if name in stage.emits} == {
        "clocks", "backfill", "history", "reconcile", "reprocess", "fetch", "send", "erase", "forget", "push", "judge",
        "retriage",
    }  # fmt: skip


def test_the_table_cannot_be_changed_by_a_program():
    with pytest.raises(TypeError):
        STAGES["another"] = STAGES["fetch"]  # type: ignore[index]


@pytest.mark.parametrize("stage", STAGES.values(), ids=lambda stage: stage.name)
def test_a_lease_outlives_a_beat_of_the_worker_and_retries_are_bounded(stage: Stage[object, object]):
    assert stage.lease.total_seconds() >= 20
    assert stage.backoff <= stage.backoff_cap
    assert 1 <= stage.attempts <= 25
    assert 1 <= stage.batch <= 500
    assert timedelta(0) < stage.promise.live <= stage.promise.repair <= stage.promise.backfill
    assert stage.longest_run > stage.lease


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "other"}, "must hold STAGE"),
        ({"emits": ("nowhere",)}, "emits nowhere"),
        ({"about": ""}, "needs an `about`"),
        ({"batch": 0}, "batch and attempts of at least 1"),
        ({"attempts": 0}, "batch and attempts of at least 1"),
    ],
)
def test_a_wrong_table_does_not_start(changes: dict[str, object], said: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fetch, "STAGE", replace(fetch.STAGE, **changes))
    with pytest.raises(table.BadTable, match=said):
        table.read_stages()


def test_the_commands_are_printed_as_they_stand_in_the_golden_file_and_in_the_documentation():
    """After a wanted change: `python -c "from pipeline import table; print(table.commands_as_text())"`, and so on."""
    assert table.commands_as_text() + "\n" == COMMANDS_GOLDEN.read_text(encoding="utf-8")
    assert f"\n{table.commands_as_page()}\n" in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"about": ""}, "needs an `about`"),
        ({"name": "update"}, "a name like"),
        ({"kind": None}, "needs the kind of state"),
        ({"from_states": None}, "the states it starts from"),
        ({"moves": frozenset({("new", "nowhere")})}, "names nowhere, which is no state"),
        ({"from_states": frozenset({"NEW"})}, "names NEW, which is no state"),
        ({"name": "ticket.note"}, "each name once"),
    ],
)
def test_a_wrong_command_does_not_start(changes: dict[str, object], said: str, monkeypatch: pytest.MonkeyPatch):
    wrong = replace(desk.UPDATE, **changes)  # type: ignore[arg-type]
    monkeypatch.setattr(desk, "COMMANDS", (wrong, desk.ADD_NOTE))
    with pytest.raises(table.BadTable, match=said):
        table.read_commands()


def test_a_file_without_its_stage_does_not_start(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(fetch, "STAGE")
    with pytest.raises(table.BadTable, match="fetch"):
        table.read_stages()
