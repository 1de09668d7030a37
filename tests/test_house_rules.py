"""The rules of the house that no linter knows, checked over the product's code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("models", "pipeline", "dlq", "actors", "ops_api", "deploy")
MODULES = sorted(path.relative_to(ROOT).as_posix() for name in PACKAGES for path in (ROOT / name).rglob("*.py"))
_SQL = re.compile(r"\s*(?:SELECT\s|INSERT\s+INTO\s|UPDATE\s+\w+\s+SET\s|DELETE\s+FROM\s|WITH\s+\w+\s+AS\s)")


@cache
def tree(module: str) -> ast.Module:
    return ast.parse((ROOT / module).read_text(encoding="utf-8"), module)


def calls(module: str, name: str) -> Iterator[ast.Call]:
    """Yield the calls of a method of this name."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == name:
            yield node


def p90(numbers: list[int]) -> int:
    return sorted(numbers)[int(len(numbers) * 0.9)]


def test_there_is_code_to_check():
    assert len(MODULES) > 60


def test_only_the_boundary_and_the_proof_of_life_commit():
    allowed = {"pipeline/runtime/db.py", "actors/holdings.py"}
    assert [module for module in MODULES if module not in allowed and any(calls(module, "commit"))] == []


def test_one_place_alone_asks_for_a_normal_form_of_text():
    assert [module for module in MODULES if any(calls(module, "normalize"))] == ["pipeline/core/text.py"]


def test_routes_and_commands_of_the_terminal_hold_no_sql():
    def texts(module: str) -> Iterator[str]:
        for node in ast.walk(tree(module)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and _SQL.match(node.value):
                yield f"{module}:{node.lineno}"

    outside = [module for module in MODULES if module.startswith(("ops_api/routes/", "ops_api/cli/"))]
    assert [place for module in outside for place in texts(module)] == []


@pytest.mark.parametrize("module", MODULES)
def test_a_module_says_in_one_line_what_it_holds(module: str):
    said = ast.get_docstring(tree(module))
    assert said
    assert said.splitlines()[0].endswith((".", ":", ";")) or len(said.splitlines()) > 1


def test_nine_of_ten_functions_have_at_most_thirty_lines():
    lengths = [
        (node.end_lineno or node.lineno) - node.lineno + 1
        for module in MODULES
        if not module.startswith("models/migrations/")
        for node in ast.walk(tree(module))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert p90(lengths) <= 30


def test_nine_of_ten_files_have_at_most_three_hundred_lines():
    assert p90([len((ROOT / module).read_text(encoding="utf-8").splitlines()) for module in MODULES]) <= 300


def test_nobody_imports_by_a_relative_name_or_inside_a_function():
    relative = [
        f"{module}:{node.lineno}"
        for module in MODULES
        for node in ast.walk(tree(module))
        if isinstance(node, ast.ImportFrom) and node.level > 0
    ]
    inside = [
        f"{module}:{one.lineno}"
        for module in MODULES
        for node in ast.walk(tree(module))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for one in ast.walk(node)
        if isinstance(one, ast.Import | ast.ImportFrom)
    ]
    assert relative == []
    assert inside == []


def test_only_the_clock_reads_the_wall_clock():
    def reads(module: str) -> bool:
        wanted = {"now", "utcnow", "today"}
        return any(
            isinstance(node, ast.Attribute)
            and node.attr in wanted
            and isinstance(node.value, ast.Name | ast.Attribute)
            and (node.value.id if isinstance(node.value, ast.Name) else node.value.attr) in {"datetime", "date"}
            for node in ast.walk(tree(module))
        )

    assert [module for module in MODULES if reads(module)] == ["pipeline/adapters/clock.py"]


def test_only_the_settings_read_the_environment():
    def reads(module: str) -> bool:
        return any(
            isinstance(node, ast.Attribute)
            and node.attr in {"environ", "getenv"}
            and isinstance(node.value, ast.Name)
            and node.value.id == "os"
            for node in ast.walk(tree(module))
        )

    assert [module for module in MODULES if reads(module)] == ["pipeline/runtime/settings.py"]


def test_stages_know_neither_broker_logger_metric_nor_environment():
    runtime = ("logs", "metrics", "settings", "ledger")
    libraries = ("dramatiq", "structlog", "prometheus_client", "redis", "os", "time")
    forbidden = (*libraries, "pipeline.adapters", *(f"pipeline.runtime.{name}" for name in runtime))
    found = [
        f"{module}: {name}"
        for module in MODULES
        if module.startswith("pipeline/stages/")
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
        if name in forbidden or name.startswith(tuple(f"{one}." for one in forbidden))
    ]
    assert found == []
