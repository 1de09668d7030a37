"""What a delivery report means for a mail of ours."""

from __future__ import annotations

import pytest

from pipeline.core.bounces import judge
from pipeline.core.reports import Delivery

OURS = ("Ann@customer.example", "bob@customer.example")


def said(recipient: str | None = "ann@customer.example", action: str = "failed", status: str = "5.1.1") -> Delivery:
    return Delivery(recipient, action, status, "no such user")


def test_a_failure_for_whom_we_wrote_to_counts_with_its_reason():
    bounce = judge([said(), said("bob@customer.example", "delivered", "2.0.0")], OURS)
    assert bounce is not None
    assert (bounce.has_failed, bounce.recipients, bounce.reason) == (
        True, ("ann@customer.example",), "5.1.1 no such user",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("deliveries", "has_failed"),
    [
        ([said(action="delayed", status="4.4.1")], False),
        ([said(action="", status="4.4.1")], False),
        ([said(action="", status="5.2.2")], True),
        ([said(action="", status="")], True),
        ([said(None)], True),
        ([], True),  # an old mail system that only returns the mail
        ([said("ann@customer.example", "delayed", "4.4.1"), said("bob@customer.example")], True),
    ],
)
def test_what_is_late_is_told_apart_from_what_failed(deliveries: list[Delivery], *, has_failed: bool):
    bounce = judge(deliveries, OURS)
    assert bounce is not None
    assert bounce.has_failed is has_failed
    assert bounce.reason


@pytest.mark.parametrize(
    "deliveries",
    [
        [said("eve@elsewhere.example")],
        [said("eve@elsewhere.example"), said(None)],
        [said(action="delivered", status="2.0.0")],
        [said(action="relayed", status="2.0.0")],
        [said(action="expanded", status="2.0.0")],
    ],
)
def test_a_report_about_others_or_of_success_changes_nothing(deliveries: list[Delivery]):
    assert judge(deliveries, OURS) is None
