"""Lets `python -m ops_api.cli` be the `fieldpost` command; child processes are started this way."""

from __future__ import annotations

from ops_api.cli.main import main

main()
