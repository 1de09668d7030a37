"""`python -m deploy.supply`: what `make audit` checks. Exit codes: 0 in order, 1 not in order, 2 a tool is missing.

Advisories are asked of a service. When that cannot be reached, this says so and goes on: a build without a network
still has its bill of materials and its licences checked.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deploy.supply.licences import Found, found, locked, read_allowed, refused

_LOCK, _PROJECT = Path("requirements.lock"), Path("pyproject.toml")
_TOOLS = Path(sys.executable).parent
_PATIENCE_SECONDS = 300
#: What the last line names when the network is missing.
_UNREACHED = ("ConnectionError", "ConnectTimeout", "ReadTimeout", "ProxyError", "SSLError", "ServiceError")


def main(argv: Sequence[str] | None = None) -> int:
    """Check everything; say what was found."""
    parser = argparse.ArgumentParser(prog="python -m deploy.supply", description=__doc__)
    parser.add_argument("--into", type=Path, default=Path("dist/supply"), help="the folder for the reports")
    folder: Path = parser.parse_args(argv).into
    folder.mkdir(parents=True, exist_ok=True)
    problems = [*_materials(folder), *_licences(folder), *_advisories(folder)]
    for problem in problems:
        _say(f"not in order: {problem}")
    return 1 if problems else 0


def _materials(folder: Path) -> list[str]:
    """Write the bill of materials (CycloneDX) of what the lock file pins."""
    report = folder / "sbom.cdx.json"
    report.unlink(missing_ok=True)
    argv = ["requirements", str(_LOCK), "--pyproject", str(_PROJECT), "--output-reproducible", "-o", str(report)]
    ran = _run("cyclonedx-py", *argv)
    if not report.is_file():
        return [f"there is no bill of materials: {_last_line(ran.stderr)}"]
    components = json.loads(report.read_text(encoding="utf-8")).get("components", [])
    missing = locked(_LOCK) - {component["name"].lower().replace("_", "-") for component in components}
    _say(f"{report}: {len(components)} packages")
    return [f"the bill of materials lacks {', '.join(sorted(missing))}"] if missing else []


def _licences(folder: Path) -> list[str]:
    """Write the list of licences and hold it against the allowed ones."""
    report = folder / "licences.json"
    ran = _run("pip-licenses", "--format=json", "--with-urls")
    report.write_text(ran.stdout, encoding="utf-8")
    allowed = read_allowed(_PROJECT)
    packages = found(json.loads(ran.stdout or "[]"), locked(_LOCK), allowed)
    if not packages:
        return [f"there is no list of licences: {_last_line(ran.stderr)}"]
    _say(f"{report}: {len(packages)} packages, {len({package.licence for package in packages})} licences")
    return [f"{_named(package)} is under {package.licence!r}" for package in refused(packages, allowed)]


def _advisories(folder: Path) -> list[str]:
    """Ask for known vulnerabilities of what the lock file pins."""
    report = folder / "advisories.json"
    report.unlink(missing_ok=True)
    argv = ["-r", str(_LOCK), "--disable-pip", "--require-hashes", "-s", "osv", "--timeout", "20"]
    ran = _run("pip-audit", *argv, "--progress-spinner", "off", "-f", "json", "-o", str(report))
    if not report.is_file():
        if not is_unreached(ran.stderr):
            return [f"advisories could not be asked for: {_last_line(ran.stderr)}"]
        _say(f"advisories: not asked, the service cannot be reached: {_last_line(ran.stderr)}")
        return []
    known = vulnerable(json.loads(report.read_text(encoding="utf-8")))
    _say(f"{report}: {len(known)} vulnerable packages")
    return known


def is_unreached(said: str) -> bool:
    """Say whether a tool failed because of the network alone."""
    return any(word in _last_line(said) for word in _UNREACHED)


def vulnerable(report: dict[str, Any]) -> list[str]:
    """Return the vulnerable packages of a report of pip-audit, each with its advisories."""
    return [
        f"{package['name']} {package['version']} has {', '.join(one['id'] for one in package['vulns'])}"
        for package in report["dependencies"]
        if package.get("vulns")
    ]


def _run(tool: str, *argv: str) -> subprocess.CompletedProcess[str]:
    path = _TOOLS / tool
    if not path.is_file():
        sys.stderr.write(f"{tool} is not installed; run `make setup`\n")
        raise SystemExit(2)
    return subprocess.run(
        [path, *argv], capture_output=True, text=True, check=False, timeout=_PATIENCE_SECONDS, encoding="utf-8"
    )


def _named(package: Found) -> str:
    return f"{package.name} {package.version}{'' if package.is_shipped else ' (a tool)'}"


def _last_line(said: str) -> str:
    lines = said.strip().splitlines() or ["no words"]
    return lines[-1][:200]


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
