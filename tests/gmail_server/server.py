"""`GmailServer`: the server as a test in the same process uses it."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.gmail_server import mbox
from tests.gmail_server.announcing import Announcer
from tests.gmail_server.clock import TimeSource
from tests.gmail_server.connection import Listener
from tests.gmail_server.faults import Faults
from tests.gmail_server.gateway import Gateway
from tests.gmail_server.oauth import Tokens
from tests.gmail_server.paging import PageTokens
from tests.gmail_server.quota import QuotaSettings
from tests.gmail_server.state import Mailbox
from tests.gmail_server.world import World

_MAX_BODY = 512 * 1024 * 1024


class GmailServer:
    """A Gmail on 127.0.0.1, in a thread of this process.

    `with GmailServer() as server:` starts and stops it; mailboxes outlive a stop, so a second `start` on a fixed
    port is an outage that ended. `seed` decides ids, history steps and faults; `speed` is the pace of its clock.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        seed: int = 0,
        speed: float = 1.0,
        require_auth: bool = True,
        max_body: int = _MAX_BODY,
    ) -> None:
        self.world = World(seed=seed, speed=speed, require_auth=require_auth)
        self._listener = Listener(Gateway(self.world), host, port, max_body)

    @property
    def url(self) -> str:
        """Base address, like http://127.0.0.1:40123; also the API endpoint for client options."""
        return self.world.url

    @property
    def token_uri(self) -> str:
        """The OAuth token endpoint."""
        return self.world.token_uri

    @property
    def batch_uri(self) -> str:
        """The batch endpoint, which clients do not derive from the API endpoint."""
        return f"{self.url}/batch/gmail/v1"

    @property
    def faults(self) -> Faults:
        """The faults in force."""
        return self.world.faults

    @property
    def quota(self) -> QuotaSettings:
        """Limits, latency and how refusals look; assign to its fields."""
        return self.world.quota.settings

    @property
    def clock(self) -> TimeSource:
        """The server's time."""
        return self.world.clock

    @property
    def announcer(self) -> Announcer:
        """What is published of watched mailboxes: set its `publish`; `is_limited`, `sent`, `dropped`."""
        return self.world.announcer

    @property
    def tokens(self) -> Tokens:
        """OAuth state: `issue`, `expire`, `revoke`, `restore`."""
        return self.world.tokens

    @property
    def page_tokens(self) -> PageTokens:
        """Page tokens: `expire()` and `lifetime`."""
        return self.world.page_tokens

    def start(self) -> Self:
        """Listen. OSError when the port is taken."""
        port = self._listener.start()
        self._listener.port = port
        self.world.url = f"http://{self._listener.host}:{port}"
        return self

    def stop(self) -> None:
        """Drop every connection and end the thread; harmless when stopped already."""
        self._listener.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def mailbox(self, address: str) -> Mailbox:
        """The mailbox of an address, made when it is new."""
        return self.world.mailbox(address)

    def load_mbox(self, path: Path | str, address: str, labels: tuple[str, ...] = ("INBOX", "UNREAD")) -> list[str]:
        """Add the mails of an mbox file (plain or gzip) to a mailbox; answers their ids."""
        return mbox.load(self.mailbox(address), Path(path).read_bytes(), labels)

    def access_token(self, address: str) -> str:
        """A bearer token for a user, for clients that do no OAuth."""
        return self.world.tokens.issue(self.mailbox(address).address)

    def authorized_user_file(self, path: Path | str, address: str) -> Path:
        """Write an `authorized_user` credentials file for a mailbox, its token_uri being this server."""
        content = self.world.tokens.authorized_user(self.mailbox(address).address, self.token_uri)
        return _written(path, content)

    def service_account_file(self, path: Path | str) -> Path:
        """Write a `service_account` key file that may act for every mailbox of this server."""
        return _written(path, self.world.tokens.service_account(self.token_uri))

    def stats(self) -> dict[str, object]:
        """Counts of `World.statistics` plus `connections`, the number accepted so far."""
        return self.world.statistics() | {"connections": self._listener.connections_opened}

    def reset_stats(self) -> None:
        """Begin counting again."""
        self.world.reset_statistics()


def _written(path: Path | str, content: dict[str, str]) -> Path:
    target = Path(path)
    target.write_text(json.dumps(content, indent=2), encoding="utf-8")
    return target
