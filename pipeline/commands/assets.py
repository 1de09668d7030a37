"""Commands on the registry: assets are entered, changed and imported, and so are the patterns of their tags.

Every one of them tells mail to be read anew with what there is (`asset_rows.touch`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row

from models.permissions import Permission
from models.queries import assets as queries
from models.queries.assets import AssetRow, PatternRow
from pipeline.command import Ask, Command, Effect, Locked, Refused, Target, refusing_twins
from pipeline.commands.asset_arguments import AssetChange, AssetImport, NewAsset, NewTagPattern, TagPatternChange
from pipeline.core.asset_files import first_of
from pipeline.core.asset_patterns import MOST_PATTERNS, tag_pattern
from pipeline.core.refusing import Because, Refusal
from pipeline.core.written import plain, read_id
from pipeline.runtime import asset_editing, asset_rows

_PART_ONLY = Refusal("FORBIDDEN", "this is for people who reach the whole organization", Because.FORBIDDEN)
_NO_ASSET = Refusal("ASSET_NOT_FOUND", "your organization has no such asset", Because.MISSING)
_NO_PATTERN = Refusal("PATTERN_NOT_FOUND", "your organization has no such pattern", Because.MISSING)
_TAG_TAKEN = Refusal("TAG_TAKEN", "an asset has this tag already")
_PATTERN_TAKEN = Refusal("PATTERN_TAKEN", "this pattern is there already; change that one")
_TOO_MANY = Refusal("TOO_MANY_PATTERNS", f"mail is searched for at most {MOST_PATTERNS} patterns: disable one first")
_NO_SITE = Refusal("INVALID_REQUEST", "site_id: your organization has no such site", Because.INVALID)

Find = Callable[[Connection, UUID, UUID], "Row[Any] | None"]


def _new(kind: str, missing: Refusal) -> Target[Any, None]:
    """Return the target of a command that makes a thing of a kind."""

    def lock(connection: Connection, ask: Ask[Any]) -> Locked[None]:
        asset_rows.alone(connection, ask.principal.org_id)
        return Locked(str(ask.principal.org_id), None, 0, ask.principal.scope.is_whole)

    return Target(kind, lock, missing, unreached=_PART_ONLY)


def _one(kind: str, find: Find, missing: Refusal) -> Target[Any, Row[Any]]:
    """Return the target of a command on one thing of a kind; the registry is locked before its rows."""

    def lock(connection: Connection, ask: Ask[Any]) -> Locked[Row[Any]] | None:
        one_id = read_id(ask.target or "")
        if one_id is None:
            return None
        asset_rows.alone(connection, ask.principal.org_id)
        asset_rows.touch(connection, ask.principal.org_id)
        found = find(connection, ask.principal.org_id, one_id)
        return None if found is None else Locked(str(one_id), found, 0, ask.principal.scope.is_whole)

    return Target(kind, lock, missing, unreached=_PART_ONLY)


def _add(connection: Connection, ask: Ask[NewAsset], _: None) -> Effect:
    org_id, values = ask.principal.org_id, ask.arguments.columns()
    _check(connection, org_id, values)
    asset_rows.touch(connection, org_id)
    with refusing_twins(_TAG_TAKEN):
        made = asset_editing.add(connection, org_id, values)
    return _asset_said(connection, org_id, made, status=201, details={"asset_id": str(made), "new": values["tag"]})


def _change(connection: Connection, ask: Ask[AssetChange], asset: Row[Any]) -> Effect:
    org_id, values = ask.principal.org_id, ask.arguments.columns()
    _check(connection, org_id, values, asset.id)
    with refusing_twins(_TAG_TAKEN):
        asset_editing.change(connection, asset.id, values)
    return _asset_said(connection, org_id, asset.id, details={"fields": sorted(values), "old": asset.tag})


def _import(connection: Connection, ask: Ask[AssetImport], _: None) -> Effect:
    org_id, asked = ask.principal.org_id, ask.arguments
    asset_rows.touch(connection, org_id)
    done = asset_editing.import_rows(connection, org_id, asked.columns, asked.rows)
    if isinstance(done, list):
        said = "; ".join(first_of(done))
        raise Refused(Refusal("INVALID_REQUEST", f"nothing was imported: {said}", Because.INVALID))
    same = len(asked.rows) - done.added - done.changed
    counts = {"added": done.added, "changed": done.changed, "unchanged": same}
    return Effect(counts, details={"added": done.added, "changes": done.changed})


def _asset_said(connection: Connection, org_id: UUID, asset_id: UUID, **more: Any) -> Effect:
    found = queries.asset(connection, org_id, asset_id)
    assert found is not None
    return Effect(_described(found), **more)


def _described(found: AssetRow | PatternRow) -> dict[str, Any]:
    return {name: plain(one) if isinstance(one, UUID | datetime) else one for name, one in asdict(found).items()}


def _check(connection: Connection, org_id: UUID, values: Mapping[str, Any], asset_id: UUID | None = None) -> None:
    """Refuse a site of nobody, and a tag that nobody could tell from another."""
    site_id = values.get("site_id")
    if site_id is not None and not asset_editing.is_site(connection, org_id, site_id):
        raise Refused(_NO_SITE)
    if "tag" in values:
        other = asset_editing.spelt_alike(connection, org_id, values["tag"], asset_id)
        if other == values["tag"]:
            raise Refused(_TAG_TAKEN)
        if other is not None:
            said = f"{values['tag']} is another spelling of {other}, which is there: mail could not tell them apart"
            raise Refused(Refusal("TAG_TAKEN", said))


def _add_pattern(connection: Connection, ask: Ask[NewTagPattern], _: None) -> Effect:
    org_id, asked = ask.principal.org_id, ask.arguments
    _check_pattern(asked.pattern, asked.tag)
    if asked.is_enabled:
        _check_count(connection, org_id)
    asset_rows.touch(connection, org_id)
    made = asset_editing.add_pattern(connection, org_id, asked.model_dump(), ask.principal.actor_id)
    if made is None:
        raise Refused(_PATTERN_TAKEN)
    return _pattern_said(
        connection, org_id, made, status=201, details={"pattern_id": str(made), "pattern": asked.pattern}
    )


def _change_pattern(connection: Connection, ask: Ask[TagPatternChange], pattern: Row[Any]) -> Effect:
    org_id, values = ask.principal.org_id, ask.arguments.columns()
    _check_pattern(values.get("pattern", pattern.pattern), values.get("tag", pattern.tag))
    if values.get("is_enabled") and not pattern.is_enabled:
        _check_count(connection, org_id)
    with refusing_twins(_PATTERN_TAKEN):
        asset_editing.change_pattern(connection, pattern.id, values)
    return _pattern_said(connection, org_id, pattern.id, details={"changes": values})


def _check_pattern(pattern: str, tag: str) -> None:
    try:
        tag_pattern(pattern, tag)
    except ValueError as error:
        raise Refused(Refusal("INVALID_REQUEST", str(error), Because.INVALID)) from None


def _check_count(connection: Connection, org_id: UUID) -> None:
    if asset_editing.enabled_patterns(connection, org_id) >= MOST_PATTERNS:
        raise Refused(_TOO_MANY)


def _pattern_said(connection: Connection, org_id: UUID, pattern_id: UUID, **more: Any) -> Effect:
    found = queries.pattern(connection, org_id, pattern_id)
    assert found is not None
    return Effect(_described(found), **more)


def _command(name: str, about: str, arguments: Any, target: Any, effect: Any) -> Command[Any, Any]:
    return Command(name, about, arguments, Permission.ASSETS_CHANGE, target, effect)


_NEW_ASSET, _NEW_PATTERN = _new("asset", _NO_ASSET), _new("asset_pattern", _NO_PATTERN)
_ASSET = _one("asset", asset_editing.lock, _NO_ASSET)
_PATTERN = _one("asset_pattern", asset_editing.lock_pattern, _NO_PATTERN)

ADD = _command("asset.add", "Enters an asset, by a tag that no other is spelt like.", NewAsset, _NEW_ASSET, _add)
CHANGE = _command(
    "asset.change", "Changes what an asset is called, its kind or its place.", AssetChange, _ASSET, _change
)
IMPORT = _command(
    "asset.import", "Enters and changes many assets by their tags, all or none.", AssetImport, _NEW_ASSET, _import
)
ADD_PATTERN = _command(
    "asset.pattern_add", "Adds a pattern that finds tags in mail.", NewTagPattern, _NEW_PATTERN, _add_pattern
)
CHANGE_PATTERN = _command(
    "asset.pattern_change",
    "Changes a pattern of tags, or switches it on or off.",
    TagPatternChange,
    _PATTERN,
    _change_pattern,
)
#: What `pipeline.table` finds here.
COMMANDS = (ADD, CHANGE, IMPORT, ADD_PATTERN, CHANGE_PATTERN)
