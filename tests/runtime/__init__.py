"""Tests of what is provided once: ledger, fairness, settings, secrets, database."""
