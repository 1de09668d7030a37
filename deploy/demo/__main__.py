"""`python -m deploy.demo`: writes a scenario into a folder so that people can look at it."""

from __future__ import annotations

import argparse
import json
import mailbox
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from deploy.demo.scenario import build
from deploy.demo.specs import Mail, Scenario

_START = datetime(2026, 1, 5, 6, 0, tzinfo=UTC)


def write(scenario: Scenario, folder: Path) -> None:
    """Write `<mailbox>.mbox` for each mailbox and `scenario.json` into `folder`; what was there before is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    mails = (*scenario.initial, *scenario.later)
    for address in scenario.mailboxes:
        _write_mbox(folder / f"{address}.mbox", (mail for mail in mails if mail.mailbox == address))
    facts = {name: value for name, value in asdict(scenario).items() if name not in {"initial", "later"}}
    (folder / "scenario.json").write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _write_mbox(path: Path, mails: Iterable[Mail]) -> None:
    path.unlink(missing_ok=True)
    box = mailbox.mbox(path)
    try:
        for mail in mails:
            box.add(f"From MAILER-DAEMON {mail.at:%a %b %d %H:%M:%S %Y}\n".encode("ascii") + mail.raw)
    finally:
        box.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Build, write and tell what there is."""
    parser = argparse.ArgumentParser(prog="python -m deploy.demo", description="Write a demonstration mailbox.")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--size", type=int, default=3000)
    parser.add_argument("--start", type=datetime.fromisoformat, default=_START, help="ISO 8601 with an offset")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    try:
        scenario = build(options.seed, options.size, options.start)
    except ValueError as error:
        parser.error(str(error))
    write(scenario, options.out)
    for kind, count in scenario.expected.messages_by_kind.items():
        sys.stdout.write(f"{kind:12} {count:6}\n")
    sys.stdout.write(f"{'threads':12} {scenario.expected.threads:6}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
