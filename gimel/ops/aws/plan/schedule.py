"""Steps for the schedule: a rule of EventBridge that invokes the function that takes snapshots, once an hour."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gimel.ops.aws.desired import Desired
from gimel.ops.aws.existing import Existing
from gimel.ops.aws.names import LIVE, SNAPSHOT, Names, marker
from gimel.ops.aws.wiring import SCHEDULE

from . import functions
from .steps import Step, Target

STATEMENT = "gimel-schedule"
INVOCATION = {"Action": "lambda:InvokeFunction", "Principal": "events.amazonaws.com"}

RETRY = {"MaximumRetryAttempts": 0}
"""By default, EventBridge tries for a day to hand an event to Lambda; but the next hour's snapshot stands in for this
one. If the function itself fails, Lambda runs it twice more within minutes."""


def schedule(desired: Desired, existing: Existing) -> Iterator[Step]:
    """The right to invoke the function, the rule and its target as desired. Other targets of the rule stay."""
    names, found = desired.names, existing.schedule
    name, function = names.schedule, names.function(SNAPSHOT)
    known = existing.functions.get(function)
    granted = known.permissions.get(STATEMENT) if known else None
    if granted != names.schedule_arn:
        if granted is not None:
            yield functions.remove_permission(function, STATEMENT)
        params: dict[str, Any] = {**INVOCATION, "SourceArn": names.schedule_arn}
        description = f"add permission: the schedule may invoke {function}"
        yield functions.permission(function, STATEMENT).step("add_permission", description, params)
    wanted = {"ScheduleExpression": SCHEDULE, "State": "ENABLED", "Description": marker(desired.settings.name)}
    tags = [{"Key": key, "Value": value} for key, value in desired.tags.items()]
    rule = Target("events", {"Name": name})
    if not found:
        yield rule.step("put_rule", f"create schedule {name}, once an hour", {**wanted, "Tags": tags})
    else:
        changed = [key for key, value in wanted.items() if found.configuration.get(key) != value]
        if changed:
            yield rule.step("put_rule", f"update schedule {name}: {', '.join(changed)}", wanted)
        if not desired.is_tagged(found.tags):
            tagged = Target("events", {"ResourceARN": names.schedule_arn})
            yield tagged.step("tag_resource", f"tag schedule {name}", {"Tags": tags})
    own, arn = (found.targets.get(LIVE, {}) if found else {}), names.live_arn(function)
    if own.get("Arn") != arn or not RETRY.items() <= own.get("RetryPolicy", {}).items():
        description = f"have schedule {name} invoke alias {LIVE} of {function}"
        target = {"Targets": [{"Id": LIVE, "Arn": arn, "RetryPolicy": RETRY}]}
        yield _targets(names).step("put_targets", description, target)


def delete(names: Names, existing: Existing) -> Iterator[Step]:
    """Delete the rule, but first its targets, because EventBridge deletes no rule that has some."""
    found, name = existing.schedule, names.schedule
    if not found:
        return
    if found.targets:
        ids = {"Ids": sorted(found.targets)}
        yield _targets(names).remove("remove_targets", f"remove the targets of schedule {name}", ids)
    yield Target("events", {"Name": name}).remove("delete_rule", f"delete schedule {name}")


def _targets(names: Names) -> Target:
    return Target("events", {"Rule": names.schedule})
