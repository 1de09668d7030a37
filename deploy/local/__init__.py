"""Embedded PostgreSQL and Valkey under a small supervisor."""
