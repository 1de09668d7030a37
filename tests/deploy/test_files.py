"""The deployment files: each checked by its linter where that is installed, and by its shape always."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
import pytest
import yaml
import yamllint.config
import yamllint.linter

from models.queries.silence import Why
from models.queries.strands import Kind
from ops_api.probes import LedgerCollector
from ops_api.silence import Expected
from pipeline.adapters.clock import SystemClock
from pipeline.runtime.db import Database
from pipeline.runtime.metrics import Metrics

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
YAML_FILES = sorted(path for path in DEPLOY.rglob("*.y*ml") if "demo" not in path.parts)
UNITS = sorted((DEPLOY / "systemd").iterdir())
ROLES = {"migrate", "api", "worker", "schedule", "up", "backup"}
METRICS = {
    "fieldpost_runs_total": {"stage", "outcome"},
    "fieldpost_run_seconds_bucket": {"stage", "outcome", "le"},
    "fieldpost_queue_age_seconds": {"stage", "lane"},
    "fieldpost_queue_jobs": {"stage", "lane", "state"},
    "fieldpost_dead_letters_open": {"stage", "cause"},
    "fieldpost_quarantine_open": {"cause"},
    "fieldpost_outbound": {"state"},
    "fieldpost_outbound_age_seconds": set(),
    "fieldpost_overdue_jobs": {"stage", "lane", "why"},
    "fieldpost_strands": {"kind"},
    "fieldpost_mailbox_unsynced_seconds": {"mailbox"},
    "fieldpost_stranded_occurrences": set(),
    "fieldpost_workers_alive": set(),
    "fieldpost_database_up": set(),
    "fieldpost_gauges_unreadable": {"family"},
    "fieldpost_backup_slot_active": {"slot"},
    "fieldpost_backup_slot_lost": {"slot"},
    "fieldpost_mailbox_up": {"mailbox"},
    "fieldpost_sync_lag_seconds": {"mailbox"},
    "fieldpost_provider_calls_total": {"method", "status"},
    "fieldpost_mailbox_state": {"mailbox", "state"},
    "fieldpost_gaps_unfilled": {"mailbox"},
    "fieldpost_missing_found": {"mailbox"},
    "fieldpost_comparison_age_seconds": {"mailbox"},
    "fieldpost_watch_expires_seconds": {"mailbox"},
    "fieldpost_watch_silent": {"mailbox"},
    "fieldpost_watch_state": {"mailbox", "state"},
    "fieldpost_dispatch_alerts": {"alert"},
    "fieldpost_dispatch_queue": {"standing"},
    "up": {"job", "instance"},
}
FUNCTIONS = {"max", "min", "sum", "rate", "increase", "delta", "deriv", "histogram_quantile", "absent", "vector"}
WORDS = {"by", "on", "and", "or", "unless"}
LINT = """
extends: default
rules:
  line-length: {max: 120}
  document-start: disable
  braces: {max-spaces-inside: 1}
"""


def linter(name: str, *arguments: str | Path) -> str:
    """What an installed linter says; empty when it is content, or not on this machine (the shape is checked anyway)."""
    program = shutil.which(name) or shutil.which(name, path=sysconfig.get_path("scripts"))
    if program is None:
        return ""
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=60)
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.mark.parametrize("path", YAML_FILES, ids=lambda path: path.name)
def test_yaml_is_clean(path: Path) -> None:
    config = yamllint.config.YamlLintConfig(LINT)
    assert [str(problem) for problem in yamllint.linter.run(path.read_text(), config)] == []


class Strict(pydantic.BaseModel):
    """A shape that knows all its names; text may hold variables."""

    model_config = pydantic.ConfigDict(extra="forbid")


class Healthcheck(Strict):
    """How a service is asked whether it is well."""

    test: list[str] | None = None
    disable: bool = False
    interval: str | None = None
    timeout: str | None = None
    start_period: str | None = None
    retries: int | None = None


class Condition(Strict):
    """What must have happened to another service first."""

    condition: Literal["service_started", "service_healthy", "service_completed_successfully"]


class Build(Strict):
    """Where an image comes from."""

    context: str
    dockerfile: str


class Service(Strict):
    """The part of the Compose specification that is used."""

    image: Annotated[str, pydantic.Field(pattern=r"^[a-z0-9/-]+:[a-z0-9.-]+$")]
    build: Build | None = None
    command: list[str]
    environment: dict[str, str] = {}
    volumes: list[Annotated[str, pydantic.Field(pattern=r"^[a-z]+:/\S+$")]] = []
    tmpfs: list[str] = []
    ports: list[Annotated[str, pydantic.Field(pattern=r"^127\.0\.0\.1:\d+:\d+$")]] = []
    read_only: bool = False
    cap_drop: list[str] = []
    security_opt: list[str] = []
    shm_size: str | None = None
    restart: Literal["no", "always", "on-failure", "unless-stopped"]
    stop_grace_period: str | None = None
    depends_on: dict[str, Condition] = {}
    healthcheck: Healthcheck | None = None


class Compose(pydantic.BaseModel):
    """A compose file; `x-` keys hold shared parts."""

    model_config = pydantic.ConfigDict(extra="allow")
    name: str
    services: dict[str, Service]
    volumes: dict[str, dict[str, Any]]


def compose() -> Compose:
    """The compose file, its shape checked."""
    return Compose.model_validate(yaml.safe_load((DEPLOY / "compose.yaml").read_text()))


def test_the_compose_file_has_the_specified_shape_and_refers_to_what_exists() -> None:
    found = compose()
    assert all(key.startswith("x-") for key in (found.model_extra or {}))
    for service in found.services.values():
        assert set(service.depends_on) <= set(found.services)
        assert {volume.split(":")[0] for volume in service.volumes} <= set(found.volumes)
        for name, condition in service.depends_on.items():
            if condition.condition == "service_healthy":
                assert found.services[name].healthcheck is not None
        if service.build:
            assert (DEPLOY / service.build.context / service.build.dockerfile).is_file()


def test_every_role_of_the_compose_file_is_a_subcommand_that_starts_after_the_migration() -> None:
    roles = {name: service for name, service in compose().services.items() if service.image.startswith("fieldpost:")}
    assert set(roles) == {"migrate", "api", "worker", "schedule"}
    for name, service in roles.items():
        assert service.command[0] == name
        assert service.read_only
        assert service.cap_drop == ["ALL"]
        if name != "migrate":
            assert service.depends_on["migrate"].condition == "service_completed_successfully"


def test_no_secret_of_the_compose_file_has_a_value() -> None:
    for service in compose().services.values():
        for name, value in service.environment.items():
            if "PASSWORD" in name or "SECRET" in name or "DATABASE" in name:
                assert re.search(r"\$\{FIELDPOST_[A-Z_]+:\?", value), name


def test_the_image_is_built_from_locked_hashes_and_runs_as_an_ordinary_user() -> None:
    path = DEPLOY / "Containerfile"
    assert linter("hadolint", path) == ""
    steps = re.sub(r"\\\n\s*", "", path.read_text()).splitlines()
    steps = [step for step in steps if step and not step.startswith("#")]
    known = {"FROM", "RUN", "ENV", "WORKDIR", "COPY", "USER", "VOLUME", "EXPOSE", "STOPSIGNAL"}
    assert {step.split()[0] for step in steps} <= known | {"HEALTHCHECK", "ENTRYPOINT", "CMD"}
    text = "\n".join(steps)
    assert "uv pip sync --require-hashes requirements.lock" in text
    assert "uv pip install --no-deps ." in text
    assert re.search(r"uv==\d", text)
    final = text[text.rindex("FROM ") :]
    assert final.index("USER 10001") < final.index("HEALTHCHECK") < final.index('ENTRYPOINT ["fieldpost"]')
    for step in steps:
        if step.startswith("COPY ") and "--from" not in step:
            assert all((ROOT / source).exists() for source in step.split()[1:-1]), step


def test_the_image_holds_every_package_of_the_project() -> None:
    text = (DEPLOY / "Containerfile").read_text()
    declared = re.search(r"^packages = \[(.*)\]$", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert declared is not None
    for package in re.findall(r'"(\w+)"', declared[1]):
        assert f"\nCOPY {package} {package}\n" in text


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_a_unit_has_its_parts_and_starts_a_subcommand_as_an_ordinary_user(unit: Path) -> None:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(unit)
    assert parser["Unit"]["Description"].startswith("Fieldpost")
    if unit.suffix == ".service":
        service = parser["Service"]
        program, role, *_ = service["ExecStart"].split()
        assert program == "/opt/fieldpost/bin/fieldpost"
        assert role in ROLES
        assert service["User"] == "fieldpost"
        assert service["NoNewPrivileges"] == "yes"
    for wanted in re.findall(r"fieldpost[\w-]*(?:@\w*)?\.(?:service|target)", unit.read_text()):
        assert (unit.parent / re.sub(r"@\w+", "@", wanted)).exists(), wanted


def test_units_satisfy_systemd(folder: Path) -> None:
    for unit in UNITS:
        text = unit.read_text().replace("/opt/fieldpost/bin/fieldpost", "/bin/true")
        (folder / unit.name).write_text(text)
    names = [folder / unit.name.replace("@.", "@live.") for unit in UNITS]
    said = linter("systemd-analyze", "verify", "--recursive-errors=one", "--man=no", *names)
    assert [line for line in said.splitlines() if "fieldpost" in line] == []


def rules() -> list[dict[str, Any]]:
    """Every alert."""
    groups = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_prometheus_accepts_its_files() -> None:
    folder = DEPLOY / "prometheus"
    assert linter("promtool", "check", "rules", folder / "alerts.yaml") == ""
    assert linter("promtool", "check", "config", folder / "prometheus.yaml") == ""
    config = yaml.safe_load((folder / "prometheus.yaml").read_text())
    assert all((folder / name).is_file() for name in config["rule_files"])
    assert [job["job_name"] for job in config["scrape_configs"]] == ["fieldpost", "fieldpost-workers"]


def test_alert_names_and_runbooks_are_unique() -> None:
    for values in ([rule["alert"] for rule in rules()], [rule["annotations"]["runbook"] for rule in rules()]):
        assert len(values) == len(set(values))


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_is_urgent_to_somebody_and_says_what_to_do(rule: dict[str, Any]) -> None:
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"]["severity"] in {"page", "ticket"}
    words = re.findall(r"[A-Z][a-z]+", rule["alert"].removeprefix("Fieldpost"))
    anchor = "-".join(words).lower() if len(words) > 1 else f"fieldpost-{words[0].lower()}"
    assert rule["annotations"]["runbook"] == f"docs/operations.md#{anchor}"
    assert rule["annotations"]["summary"]
    assert re.fullmatch(r"\d+[mh]", rule.get("for", "0m"))


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_expression_is_balanced_and_uses_known_metrics_with_their_labels(rule: dict[str, Any]) -> None:
    expression = rule["expr"]
    bare = re.sub(r'"[^"]*"', '""', expression)
    assert balanced(bare)
    used = set(re.findall(r"\b(?:fieldpost_\w+|up)\b", bare))
    assert used
    assert used <= set(METRICS)
    labels = {label for metric in used for label in METRICS[metric]}
    without_durations = re.sub(r"\[\d+[mh]\]", "", bare)
    names = set(re.findall(r"\b[a-z_]+\b", without_durations)) - used - FUNCTIONS - WORDS
    assert names <= labels
    in_summary = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
    kept = set(re.findall(r"\w+", " ".join(re.findall(r"(?:by|on) \(([^)]*)\)", expression)))) or labels
    assert in_summary <= kept


def test_every_metric_that_alerts_are_made_of_is_written_by_somebody(db: Database) -> None:
    registry = Metrics().registry
    registry.register(LedgerCollector(db, SystemClock(), Expected()))
    families = list(registry.collect())
    written = {family.name + end for family in families for end in ("", "_total", "_bucket")}
    assert set(METRICS) - written == {"up"}


def test_an_alert_of_silence_names_reasons_and_kinds_that_exist() -> None:
    known = {"why": set(Why), "kind": set(Kind)}
    for label, values in known.items():
        named = [one for rule in rules() for one in re.findall(rf'{label}=~?"([^"]*)"', rule["expr"])]
        told = [word for one in named for word in one.split("|")]
        assert len(told) == len(set(told))
        assert set(told) == {one.value for one in values}


@pytest.mark.parametrize(
    ("alert", "missing"),
    [("FieldpostDatabaseDown", "absent(fieldpost_database_up)"), ("FieldpostNoWorker", "or vector(0)")],
)
def test_an_alert_of_what_must_be_there_comes_too_when_nobody_can_tell(alert: str, missing: str) -> None:
    (rule,) = [rule for rule in rules() if rule["alert"] == alert]
    assert missing in rule["expr"]
    assert rule["labels"]["severity"] == "page"


def test_a_runbook_of_silence_says_what_it_means_how_to_look_and_what_to_do() -> None:
    guide = (ROOT / "docs" / "operations.md").read_text()
    for rule in rules():
        anchor = rule["annotations"]["runbook"].partition("#")[2]
        section = guide.partition(f"\n### {anchor}\n")[2].partition("\n### ")[0]
        assert section, anchor
        if "fieldpost_overdue" in rule["expr"] or "fieldpost_strand" in rule["expr"] or "unsynced" in rule["expr"]:
            assert re.findall(r"^\*\*(\w+)\*\*:", section, re.MULTILINE) == ["Means", "Look", "Do"], anchor


def balanced(text: str) -> bool:
    """Whether all brackets close in order."""
    pairs = {")": "(", "]": "[", "}": "{"}
    open_ones: list[str] = []
    for character in text:
        if character in pairs.values():
            open_ones.append(character)
        elif character in pairs and (not open_ones or open_ones.pop() != pairs[character]):
            return False
    return not open_ones


def test_unbalanced_text_is_noticed() -> None:
    assert [balanced(text) for text in ("(a[5m])", "(a", "a)", "(]")] == [True, False, False, False]


def test_the_short_guide_names_what_exists_and_fits_a_screen() -> None:
    text = (DEPLOY / "README.md").read_text()
    assert len(text.splitlines()) <= 40
    for name in re.findall(r"`((?:systemd|prometheus|local)/[\w.*-]*|compose\.yaml|Containerfile)`", text):
        assert list(DEPLOY.glob(name)), name
