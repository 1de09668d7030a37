"""Tests of the ops API: the real app behind a real server on 127.0.0.1, over a real PostgreSQL."""
