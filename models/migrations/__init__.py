"""Alembic migrations: the only way the schema comes about."""
