"""Which licences the packages of this environment have, and whether we allow them (`[tool.fieldpost.supply]`)."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_LOCKED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Allowed:
    """The licences that we allow, each in the words of the packages that have it."""

    #: Of what is installed where Fieldpost runs.
    shipped: frozenset[str]
    #: More, of tools that only developers run.
    tools: frozenset[str]
    #: Packages that do not say their licence where it is looked for, and which it is.
    told: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Found:
    """One installed package."""

    name: str
    version: str
    licence: str
    is_shipped: bool


def read_allowed(pyproject: Path) -> Allowed:
    """Return what the project allows."""
    said: dict[str, Any] = tomllib.loads(pyproject.read_text(encoding="utf-8"))["tool"]["fieldpost"]["supply"]
    told = {_canonical(name): licence for name, licence in said["told"].items()}
    return Allowed(frozenset(said["licences"]), frozenset(said["tool-licences"]), told)


def locked(lock: Path) -> frozenset[str]:
    """Return the names of the packages that a lock file pins."""
    return frozenset(_canonical(name) for name in _LOCKED.findall(lock.read_text(encoding="utf-8")))


def found(rows: Iterable[Mapping[str, str]], shipped: frozenset[str], allowed: Allowed) -> list[Found]:
    """Return the packages of a list of pip-licenses, in its order."""
    return [
        Found(
            row["Name"],
            row["Version"],
            allowed.told.get(_canonical(row["Name"]), row["License"]),
            _canonical(row["Name"]) in shipped,
        )
        for row in rows
    ]


def refused(packages: Iterable[Found], allowed: Allowed) -> list[Found]:
    """Return the packages whose licence we do not allow; several licences of one count when all are allowed."""
    return [
        package
        for package in packages
        if not _parts(package.licence) <= (allowed.shipped if package.is_shipped else allowed.shipped | allowed.tools)
    ]


def _parts(licence: str) -> set[str]:
    return {part.strip() for part in licence.split(";")}


def _canonical(name: str) -> str:
    """Return a package's name as it is compared (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
