"""`fieldpost triage`: how an organization tells "send somebody" from "ask first", and how well it does."""

from __future__ import annotations

import typer

from ops_api.cli import triage_backtest, triage_policy, triage_simulate, triage_train, triage_truth, triage_tune

app = typer.Typer(add_completion=False, no_args_is_help=True, help="See, change and measure how cases are triaged.")
app.add_typer(triage_policy.app, name="policy")
app.command()(triage_simulate.simulate)
app.command()(triage_tune.tune)
app.command()(triage_backtest.backtest)
app.command()(triage_truth.truth)
app.command()(triage_truth.calibrate)
app.command()(triage_train.train)
