"""Tests of the one-machine runtime and of the deployment files."""
