"""`fieldpost collisions`: messages that share a fingerprint and were kept apart."""

from __future__ import annotations

from typing import Annotated

import typer

from models.queries.collisions import CollisionGroup, collision_groups
from ops_api.cli.options import AsJson, Data, Organization
from ops_api.cli.output import print_json, print_table, remark
from ops_api.cli.session import begin, open_runtime
from ops_api.wording import clock, counted
from pipeline.commands.collisions import Backfilled, backfill
from pipeline.commands.mailboxes import find_organization

app = typer.Typer(add_completion=False)


@app.command()
def collisions(
    mark: Annotated[bool, typer.Option("--backfill", help="First mark old messages that were never marked.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=200, help="At most so many groups.")] = 50,
    org: Organization = None,
    data: Data = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List groups of messages that look the same and are not quite: nothing merges them, a person may look.

    Example: fieldpost collisions --backfill

    Exit codes: 0 listed, 2 bad input or configuration.
    """
    settings, where = begin("collisions", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        org_id = find_organization(connection, org)
        done = backfill(connection, org_id) if mark else None
        found = collision_groups(connection, org_id, limit)
    if as_json:
        print_json({"backfill": None if done is None else _backfill(done), "groups": [_group(one) for one in found]})
        return
    rows = [
        (one.collision_group_id, one.message_count, clock(one.first_seen_at), clock(one.last_seen_at),
         ", ".join(map(str, one.sample_message_ids)))
        for one in found
    ]  # fmt: skip
    columns = ("group", "messages", "first", "last", "such as")
    print_table(columns, rows, empty="No messages collide.", wrapped=("such as",))
    if done is not None:
        remark(
            f"{counted(done.messages_updated, 'message')} marked, {done.fingerprints_scanned:,} fingerprints scanned"
        )


def _backfill(done: Backfilled) -> dict[str, int]:
    return {
        "fingerprints_scanned": done.fingerprints_scanned,
        "groups_updated": done.groups_updated,
        "messages_updated": done.messages_updated,
    }


def _group(group: CollisionGroup) -> dict[str, object]:
    return {
        "collision_group_id": str(group.collision_group_id),
        "message_count": group.message_count,
        "first_seen_at": group.first_seen_at,
        "last_seen_at": group.last_seen_at,
        "sample_message_ids": list(group.sample_message_ids),
    }
