"""Tests of dlq."""
