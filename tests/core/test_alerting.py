"""Alerts: raised from their thresholds on, each with a page that says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core.alerting import RUNBOOKS, Alert, AlertPolicy, Signal, raised
from pipeline.core.policies import OrganizationPolicy

ROOT = Path(__file__).resolve().parents[2]


def test_an_alert_is_raised_from_its_threshold_on() -> None:
    policy = AlertPolicy()
    assert list(policy.thresholds.values()) == [5, 3, 2, 5]
    below = {one: Signal(least - 1) for one, least in policy.thresholds.items()}
    assert raised(below, policy) == raised({}, policy) == []
    at = {one: Signal(least) for one, least in policy.thresholds.items()}
    assert [one.alert for one in raised(at, policy)] == list(Alert)


def test_an_organization_may_set_its_own_and_none_below_one() -> None:
    stored = {"alert_stuck_scheduling": 1, "alert_window_minutes": 5, "alert_stuck_minutes": 7}
    policy = OrganizationPolicy.read(stored).alerts
    assert (policy.stuck_scheduling, policy.window.seconds, policy.stuck_after.seconds) == (1, 300, 420)
    with pytest.raises(ValueError, match="alert_auth_failures must be between"):
        OrganizationPolicy.read({"alert_auth_failures": 0})


@pytest.mark.parametrize("alert", Alert)
def test_an_alert_has_a_runbook_that_says_what_it_means_how_to_look_and_what_to_do(alert: Alert) -> None:
    page = (ROOT / RUNBOOKS[alert]).read_text(encoding="utf-8")
    assert f"`{alert.value}`" in page
    assert [line[3:] for line in page.splitlines() if line.startswith("## ")] == ["Means", "Look", "Do"]
