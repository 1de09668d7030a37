"""The policies that come with Fieldpost, by name: built-in, baseline, and the one that was tuned on simulated fleets.

`tuned_policy.json` beside this file was written by `MADE_BY`, and measured on `HELD_OUT`, which no try has seen.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from json import loads

from pipeline.core.triage_policy import BASELINE, BUILT_IN, TriagePolicy

#: Gives the same file again, whatever the machine: the search is seeded, and bounded by tries instead of time.
MADE_BY = "fieldpost triage tune --seeds 1-20 --report 1001-1020 --tries 24"
TUNED_ON, HELD_OUT = range(1, 21), range(1001, 1021)
NAMES = ("built-in", "baseline", "tuned")


def named(name: str) -> TriagePolicy | None:
    """Return a policy that comes with Fieldpost; None: there is none of this name."""
    if name == "tuned":
        return tuned()
    return {"built-in": BUILT_IN, "baseline": BASELINE}.get(name)


@cache
def tuned() -> TriagePolicy:
    """Return the tuned policy; what it does not say is as in the built-in one."""
    said = files("pipeline.core").joinpath("tuned_policy.json").read_text(encoding="utf-8")
    return TriagePolicy.change(BUILT_IN, loads(said))
