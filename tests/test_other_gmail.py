"""Whether the independent Gmail is on this machine; without it its tests are not collected, and this one says why."""

from __future__ import annotations

import pytest

from tests.other_gmail import why_not


def test_mailboxes_are_read_from_an_independent_gmail_too() -> None:
    reason = why_not()
    if reason:
        pytest.skip(reason)
