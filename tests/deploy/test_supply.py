"""What `make audit` refuses: a licence nobody allowed, a known vulnerability, a missing bill of materials."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from deploy.supply import __main__ as audit
from deploy.supply.licences import Allowed, found, locked, read_allowed, refused

_ALLOWED = Allowed(frozenset({"MIT", "BSD License"}), frozenset({"GPL-3.0-or-later"}), {"quiet-one": "MIT"})
_ROWS = [
    {"Name": "a", "Version": "1", "License": "MIT"},
    {"Name": "b", "Version": "1", "License": "BSD License; MIT"},
    {"Name": "c", "Version": "1", "License": "MIT; SSPL-1.0"},
    {"Name": "d", "Version": "1", "License": "GPL-3.0-or-later"},
    {"Name": "tool", "Version": "1", "License": "GPL-3.0-or-later"},
    {"Name": "Quiet_One", "Version": "1", "License": "UNKNOWN"},
    {"Name": "other", "Version": "1", "License": "UNKNOWN"},
]


def test_a_licence_that_nobody_allowed_is_refused() -> None:
    packages = found(_ROWS, frozenset({"a", "b", "c", "d", "quiet-one"}), _ALLOWED)
    assert [package.name for package in refused(packages, _ALLOWED)] == ["c", "d", "other"]


def test_names_are_read_from_a_lock_file(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.write_text("A_b.c==1.0 \\\n    --hash=sha256:00==\n# d==1\ne==2 ; sys_platform == 'x'\n")
    assert locked(lock) == {"a-b-c", "e"}


def test_the_project_names_what_it_allows() -> None:
    allowed = read_allowed(Path(__file__).parents[2] / "pyproject.toml")
    assert "MIT" in allowed.shipped
    assert not {"GPL-3.0-or-later", "UNKNOWN", "AGPL-3.0-only"} & allowed.shipped


def test_a_vulnerable_package_is_named_with_its_advisories() -> None:
    report = {
        "dependencies": [
            {"name": "a", "version": "1", "vulns": []},
            {"name": "b", "version": "2", "vulns": [{"id": "X-1"}, {"id": "X-2"}]},
            {"name": "c", "skip_reason": "not found"},
        ]
    }
    assert audit.vulnerable(report) == ["b 2 has X-1, X-2"]


_AWAY = "Traceback\nrequests.exceptions.ConnectionError: Failed to resolve\n"


def _tools(monkeypatch: pytest.MonkeyPatch, **said: str) -> None:
    """Let tools say these things and write nothing."""

    def run(tool: str, *argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([tool], 1, stdout=said.get("licences", "[]"), stderr=said.get(tool, ""))

    monkeypatch.setattr(audit, "_run", run)


def test_without_a_bill_of_materials_it_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _tools(monkeypatch, **{"pip-audit": _AWAY, "cyclonedx-py": "no space left"})
    assert audit.main(["--into", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "there is no bill of materials: no space left" in said
    assert "there is no list of licences" in said
    assert "the service cannot be reached" in said


def test_a_service_that_is_away_is_no_failure_and_any_other_is() -> None:
    assert audit.is_unreached(_AWAY)
    assert not audit.is_unreached("KeyError: 'x'")
    assert not audit.is_unreached("ConnectionError earlier\nValueError: a bad lock file")
