"""The one place that says whether the tests of IMAP against a real server can run."""

from __future__ import annotations

import pytest

from tests import dovecot


def test_a_real_imap_server_is_here_for_the_tests_of_imap() -> None:
    # Without it the modules named in tests/conftest.py are not collected at all.
    reason = dovecot.missing()
    if reason is not None:
        pytest.skip(reason)
    with dovecot.dovecot() as server:
        client = server.client("help@example.org")
        assert client.has_capability("CONDSTORE")
        client.logout()
