"""`python -m tests.gmail_server`: the server as a process of its own."""

from __future__ import annotations

import argparse
import gc
import signal
import sys
import threading

from tests.gmail_server.quota import QuotaProfile
from tests.gmail_server.server import GmailServer


def main() -> int:
    """Serve until SIGTERM or SIGINT; 0 after a clean end, 2 when a file or the port cannot be had."""
    options = _options()
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    server = GmailServer(
        options.host, options.port, seed=options.seed, speed=options.speed, require_auth=not options.no_auth
    )
    server.quota.profile = QuotaProfile(options.quota_profile)
    server.quota.enforce = options.enforce_quota
    server.quota.max_concurrent = options.max_concurrent
    server.quota.latency = options.latency
    try:
        _fill(server, options)
        server.start()
    except OSError as error:
        print(f"gmail_server: {error}", file=sys.stderr)
        return 2
    print(f"ready {server.url}", flush=True)
    done.wait()
    server.stop()
    return 0


def _fill(server: GmailServer, options: argparse.Namespace) -> None:
    for address in options.address:
        server.mailbox(address)
        for path in options.mbox:
            ids = server.load_mbox(path, address)
            if not options.quiet:
                print(f"{address}: {len(ids)} messages from {path}", file=sys.stderr)
    # What was loaded stays: keep the collector from walking it during every benchmark.
    gc.collect()
    gc.freeze()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.gmail_server", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free port (default)")
    parser.add_argument("--address", action="append", default=[], help="a mailbox; may be repeated")
    parser.add_argument("--mbox", action="append", default=[], help="mbox or mbox.gz put into every --address")
    parser.add_argument("--seed", type=int, default=0, help="decides ids, history steps and faults")
    parser.add_argument("--speed", type=float, default=1.0, help="how fast the server's clock runs")
    parser.add_argument("--quota-profile", default="since_2026_05", choices=[str(profile) for profile in QuotaProfile])
    parser.add_argument("--enforce-quota", action="store_true", help="refuse calls above the profile's limits")
    parser.add_argument("--max-concurrent", type=int, help="calls in flight per user before 429")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds every API call takes")
    parser.add_argument(
        "--no-auth", action="store_true", help="serve calls without a token when the path names the user"
    )
    parser.add_argument("--quiet", action="store_true", help="print nothing but the ready line")
    options = parser.parse_args()
    if options.mbox and not options.address:
        parser.error("--mbox needs an --address to put the mail into")
    return options


if __name__ == "__main__":
    sys.exit(main())
