"""The checks of `fieldpost doctor`: settings, tables, keys, clocks, broker, blob store, disk, workers."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import unquote, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from models import row_security, schema
from models.enums import BlobKind
from models.queries import queue
from models.queries.summary import database_time
from ops_api.cli.session import Runtime
from pipeline.adapters import fcm_tokens
from pipeline.adapters.blobs import open_blob_store
from pipeline.adapters.wiring import CREDENTIALS
from pipeline.commands.device_keys import sealings_of_devices
from pipeline.commands.keys import Standing, sealings
from pipeline.runtime.errors import FieldpostError, UserError
from pipeline.runtime.secrets import Secrets

_SKEW_SECONDS = 2.0
_FREE_BYTES = 1_000_000_000


class Grade(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report; `advice` says what to do about it."""

    name: str
    grade: Grade
    text: str
    advice: str = ""


def settings_check(*, has_no_key: bool, is_production: bool) -> Check:
    """Say whether the settings can be worked with."""
    if has_no_key and is_production:
        return Check("settings", Grade.FAIL, "no FIELDPOST_SECRET_KEY", "set it to a long random text and keep it")
    return Check("settings", Grade.OK, "understood")


def _migrations(runtime: Runtime) -> Iterator[Check]:
    with runtime.db.begin() as connection:
        current, newest, differences = schema.current(connection), schema.newest(), schema.drift(connection)
    if current != newest and schema.is_usable(current):
        text = f"at {current}, which a newer version made"
        yield Check("migrations", Grade.WARN, text, "update Fieldpost on this host")
    elif current != newest:
        text = f"at {current}, this version needs {newest}"
        yield Check("migrations", Grade.FAIL, text, "run `fieldpost migrate`")
    elif differences:
        text = f"{len(differences)} differences from the migrations, such as {differences[0]}"
        yield Check("migrations", Grade.WARN, text[:300], "somebody changed the tables by hand: change them back")
    else:
        yield Check("migrations", Grade.OK, f"at {current}, nothing differs")


def _barrier(runtime: Runtime) -> Iterator[Check]:
    with runtime.db.begin() as connection:
        is_up = row_security.is_ready(connection)
    if is_up:
        yield Check("row security", Grade.OK, "requests see the rows of their own organization alone")
        return
    advice = f"give the database user CREATEROLE, or GRANT {row_security.ROLE} to it, then run `fieldpost migrate`"
    yield Check("row security", Grade.WARN, "the barrier between organizations is not up", advice)


def _clock(runtime: Runtime) -> Iterator[Check]:
    with runtime.db.begin() as connection:
        database_time(connection)
        before = runtime.clock.now()
        theirs = database_time(connection)
        after = runtime.clock.now()
    skew = abs((theirs - (before + (after - before) / 2)).total_seconds())
    if skew < _SKEW_SECONDS:
        yield Check("clock", Grade.OK, f"{skew:.3f} s from the database's")
    else:
        advice = "set both clocks by NTP: the schedule and what people read go by them"
        yield Check("clock", Grade.FAIL, f"{skew:.1f} s from the database's", advice)


def _broker(runtime: Runtime) -> Iterator[Check]:
    url = runtime.settings.redis_url
    assert url is not None
    try:
        retry = Retry(NoBackoff(), 0)
        with redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=2, retry=retry) as client:
            client.ping()
    except (RedisError, ValueError) as error:
        advice = "start it or correct FIELDPOST_REDIS_URL; until then work goes on by polling"
        yield Check("broker", Grade.FAIL, f"does not answer: {error}", advice)
        return
    yield Check("broker", Grade.OK, "answers")


def _blobs(runtime: Runtime) -> Iterator[Check]:
    url = runtime.settings.blob_url
    assert url is not None
    content = b"written by fieldpost doctor"
    name = hashlib.sha256(content).hexdigest()
    try:
        store = open_blob_store(url)
        store.put(BlobKind.RAW, {name: content})
        found = store.get(BlobKind.RAW, [name])
    except FieldpostError as error:
        yield Check("blob store", Grade.FAIL, str(error), "correct FIELDPOST_BLOB_URL or its permissions")
        return
    if found.get(name) != content:
        yield Check("blob store", Grade.FAIL, "does not give back what was written", "check the store")
        return
    yield Check("blob store", Grade.OK, "writes and reads")


def _keys(runtime: Runtime) -> Iterator[Check]:
    """Tell of mailboxes that cannot be read because their credentials do not open here."""
    if runtime.settings.secret_key is None:
        return
    with runtime.db.begin() as connection:
        secrets = Secrets.of(runtime.settings)
        found, devices = sealings(connection, secrets, CREDENTIALS), sealings_of_devices(connection, secrets)
    yield from _device_keys(devices)
    unknown = Counter(each.key_id for each in found if each.standing is Standing.UNKNOWN_KEY)
    unreadable = [each.address for each in found if each.standing is Standing.UNREADABLE]
    for key_id, count in sorted(unknown.items(), key=str):
        text = f"{count} mailboxes are sealed with the key {key_id}, which is not known here"
        advice = "put that key into FIELDPOST_PREVIOUS_SECRET_KEYS and restart: they wait; or connect them again"
        yield Check("secret keys", Grade.FAIL, text, advice)
    if unreadable:
        text = f"the credentials of {len(unreadable)} mailboxes do not open, such as {unreadable[0]}"
        yield Check("secret keys", Grade.WARN, text, "connect them again with `fieldpost mailbox add`")
    if not unknown and not unreadable:
        yield Check("secret keys", Grade.OK, f"open the credentials of {len(found)} mailboxes")


def _device_keys(devices: Counter[tuple[Standing, str | None]]) -> Iterator[Check]:
    """Tell of devices whose tokens wait for a key."""
    lost = {key_id: count for (standing, key_id), count in devices.items() if standing is Standing.UNKNOWN_KEY}
    for key_id, count in sorted(lost.items(), key=str):
        text = f"{count} devices get no pushes: their tokens are sealed with the key {key_id}, which is not known here"
        advice = "put that key into FIELDPOST_PREVIOUS_SECRET_KEYS and restart; or wait until their apps start again"
        yield Check("device keys", Grade.WARN, text, advice)


def _pushes(runtime: Runtime) -> Iterator[Check]:
    """Tell whether the account that pushes are sent by can be read; whether Firebase takes it, a push shows."""
    path = runtime.settings.fcm_credentials_file
    if path is None:
        yield Check("pushes", Grade.OK, "off: people see notifications when they look")
        return
    try:
        project = fcm_tokens.load(path).project
    except UserError as error:
        advice = "correct the file, then replay the dead letters of the stage push: docs/runbooks/pushes.md"
        yield Check("pushes", Grade.FAIL, str(error), advice)
        return
    yield Check("pushes", Grade.OK, f"to the devices of the Firebase project {project}")


def _disk(runtime: Runtime) -> Iterator[Check]:
    parts = urlsplit(runtime.settings.blob_url or "")
    folders = {"data folder": runtime.data.path}
    if parts.scheme == "file":
        folders["blob folder"] = Path(unquote(parts.path))
    for name, folder in folders.items():
        if not os.path.isdir(folder):  # noqa: PTH112 - Path.is_dir raises where a parent is closed
            continue
        free = shutil.disk_usage(folder).free
        text = f"{free / 1e9:.1f} GB free for the {name} {folder}"
        if free < _FREE_BYTES:
            yield Check("disk", Grade.WARN, text, "free some space: without it nothing more is fetched")
        else:
            yield Check("disk", Grade.OK, text)


def _workers(runtime: Runtime) -> Iterator[Check]:
    with runtime.db.begin() as connection:
        live, oldest = queue.live_workers(connection), queue.oldest_ready(connection)
    if live:
        yield Check("workers", Grade.OK, f"{len(live)} live on {len({worker.host for worker in live})} machines")
    else:
        yield Check("workers", Grade.WARN, "none is alive", "run `fieldpost up` or `fieldpost worker`")
    if oldest is None:
        yield Check("queue", Grade.OK, "nothing is due")
    else:
        yield Check("queue", Grade.OK, f"the oldest due job waits {oldest.seconds:.1f} s (lane {oldest.lane})")


#: What can be asked of a database that answers; what stands still is told after it (`doctor_silence`).
RUNTIME_CHECKS: Sequence[Callable[[Runtime], Iterator[Check]]] = (
    _migrations, _barrier, _keys, _clock, _broker, _blobs, _pushes, _disk, _workers
)  # fmt: skip
