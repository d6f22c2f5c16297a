"""`gimel status` and `gimel logs`: how a deployment is doing."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from gimel.errors import ConfigError
from gimel.ops.aws import cost, logs, selftest
from gimel.ops.aws import status as aws_status
from gimel.ops.aws.deployment import Deployment
from gimel.ops.aws.findings import Level

from .console import config_option, err, out, plain, show_finding
from .deployment import FORMATS, show_records

UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@click.command()
@config_option
@click.option("--format", "form", type=FORMATS, default="text", show_default=True, help="Output format.")
@click.option("--cost", "with_cost", is_flag=True, help="Estimate what the last 30 days cost on AWS.")
def status(config_file: Path | None, form: str, with_cost: bool) -> None:
    """Show how the deployment is doing, and test its URL.

    The exit code is 0 if events are counted, else 1.
    """
    deployment = Deployment.load(config_file)
    existing = deployment.observe()
    live, direct = deployment.live_at(existing), deployment.live_at(existing, direct=True)
    found = aws_status.describe(deployment, existing, live)
    costs = deployment.costs(existing) if with_cost else []
    if form == "text":
        for label, value in _lines(found):
            out.print(f"{label:<13}{plain(value)}", soft_wrap=True)
        out.print()
        if with_cost:
            click.echo(f"{cost.as_text(costs, deployment.account.region)}\n")
    findings = []
    for finding in selftest.check(deployment, live, direct):
        findings.append(finding)
        if form == "text":
            show_finding(finding, out)
    healthy = all(finding.level is Level.GOOD for finding in findings)
    if form == "json":
        checks = [{"level": one.level.name.lower(), "message": one.message, "hint": one.hint} for one in findings]
        click.echo(
            json.dumps(
                {"healthy": healthy, "checks": checks, **found, **({"cost": cost.as_dict(costs)} if with_cost else {})},
                indent=2,
                ensure_ascii=False,
            )
        )
    elif any(one.level is Level.ERROR for one in findings):
        out.print("Events are not counted. What the functions say: `gimel logs`")
    if not healthy:
        sys.exit(1)


def _lines(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    releases, queue = found["releases"], found["queue"]
    yield "Deployment:", f"{found['name']} in {found['region']} (account {found['account']})"
    yield "Track URL:", found["track_url"]
    yield "Report URL:", f"{found['reports_url']}/experiments"
    yield "Deployed:", _time(found["last_deploy"]) if found["last_deploy"] else "unknown"
    rolled_back = f" (rolled back from {', '.join(releases['rolled_back'])})" if releases["rolled_back"] else ""
    yield "Release:", ", ".join(releases["live"]) + rolled_back
    yield "Before it:", ", ".join(releases["before"]) or "none"
    label = "Functions:"
    for one in found["functions"]:
        size = f"{one['runtime']}, {one['memory_mb']} MB, {one['timeout_s']} s"
        yield label, f"{one['name']:<24} version {one['version']}, {size}, {one['state']}"
        label = ""
    yield "Redis:", _redis(found["redis"])
    depths = [f"{queue[key]:,} {key.replace('_', ' ')}" for key in queue] if queue else ["none"]
    yield "Queue:", ", ".join(depths)
    yield "Snapshots:", _snapshots(found)
    yield "Alarms:", ", ".join(f"{name} {state}" for name, state in found["alarms"].items()) or "none"
    if found["drift"] is None:
        yield "Drift:", f"unknown: {found['drift_problem']}"
        return
    yield "Drift:", f"{len(found['drift'])} steps, which `gimel deploy` would apply" if found["drift"] else "none"
    for description in found["drift"]:
        yield "", description


def _snapshots(found: dict[str, Any]) -> str:
    schedule = {True: "every hour", False: "the schedule is disabled", None: "there is no schedule"}[found["schedule"]]
    if "problem" in found["redis"]:
        return schedule
    last = found["redis"]["last_snapshot"]
    return f"{schedule}; {f'the last one {_time(last)}' if last else 'none so far'}"


def _time(text: str) -> str:
    return f"{text[:19].replace('T', ' ')} UTC"


def _redis(found: dict[str, Any]) -> str:
    if "problem" in found:
        return f"{found['address'] or 'unknown'}: {found['problem']}"
    counters, policy, fullest = found["counters"], found["eviction_policy"], found["fullest"]
    parts = (
        found["engine"],
        found["nodes"],
        _memory(found) + (f" (fullest node: {_memory(fullest)})" if fullest else ""),
        f"{counters:,} counter{'s' * (counters != 1)}",
        f"eviction policy {policy}" if policy else "",
        {True: "append-only file", False: "no append-only file", None: ""}[found["append_only_file"]],
    )
    return f"{found['address']}: {', '.join(filter(None, parts))}"


def _memory(found: dict[str, Any]) -> str:
    used, most = found["memory_bytes"], found["max_memory_bytes"]
    return "" if used is None else f"{used / 1e6:,.1f} MB" + (f" of {most / 1e6:,.1f} MB" if most else "")


@click.command("logs")
@config_option
@click.option("--since", default="1h", show_default=True, help="How far back: a number and s, m, h or d.")
@click.option("--function", "name", help="Only this function, such as track; default: all.")
@click.option("--all", "every", is_flag=True, help="Everything, not only what failed.")
def logs_command(config_file: Path | None, since: str, name: str | None, every: bool) -> None:
    """Show what the functions wrote to their logs about failures. Times are in UTC."""
    since_s = _seconds(since)
    deployment = Deployment.load(config_file)
    functions = _functions(deployment, name)
    records = logs.read(deployment, functions, since_s, every)
    show_records(records, out)
    if not records:
        what, place = "Nothing" if every else "No failures", "log" if name else "logs"
        err.print(f"{what} in the last {since} in the {place} of {', '.join(functions)}.", soft_wrap=True)


def _seconds(since: str) -> int:
    found = re.fullmatch(r"(\d{1,6})([smhd])", since)
    if not found:
        raise click.BadParameter(f"{since!r} is not a period such as 30m, 1h or 2d", param_hint="--since")
    return int(found[1]) * UNITS_S[found[2]]


def _functions(deployment: Deployment, name: str | None) -> list[str]:
    """All functions, or the one with this name, with or without that of the deployment. Raises ConfigError."""
    known = {one.removeprefix(f"{deployment.names.base}-"): one for one in sorted(deployment.functions)}
    found = [one for short, one in known.items() if name in (None, short, one)]
    if not found:
        raise ConfigError(f"there is no function {name}", f"use one of {', '.join(known)}")
    return found
