"""Short private folders for data, new or with a database already made."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.probes import quick


@pytest.fixture
def folder() -> Iterator[Path]:
    """A 0700 folder with a short path, as `mktemp -d` makes it; gone afterwards."""
    path = Path(tempfile.mkdtemp(prefix="fp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def used() -> Iterator[Path]:
    """A data folder that earlier tests ran their servers in, stopped or crashed: what a warm start finds."""
    path = Path(tempfile.mkdtemp(prefix="fp"))
    with quick(path):
        pass
    yield path
    shutil.rmtree(path)
