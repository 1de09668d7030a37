"""Tests of commands: what they do, and how the executor takes them through its checks."""
