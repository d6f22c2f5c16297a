"""Steps for the queue where events wait while Redis cannot take them, its dead letters, and its mapping to `track`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from gimel.ops.aws import policies
from gimel.ops.aws.desired import Desired
from gimel.ops.aws.existing import Existing
from gimel.ops.aws.names import LIVE, TRACK, Names
from gimel.ops.aws.settings import MAX_TIMEOUT_S

from .steps import Step, Target

RETENTION_S = 14 * 86400  # the most that SQS allows
VISIBILITY_S = 6 * MAX_TIMEOUT_S  # AWS advises at least six times the function's timeout
MAX_RECEIVES = 1000
"""The most that SQS allows, which is 46 hours of attempts. `track` itself moves what can never be counted."""

MAPPING = {
    "BatchSize": 10,
    "FunctionResponseTypes": ["ReportBatchItemFailures"],
    # Draining leaves most of Redis, and of the account's concurrency, to visitors.
    "ScalingConfig": {"MaximumConcurrency": 5},
}


def queues(desired: Desired, existing: Existing) -> Iterator[Step]:
    """Both queues as desired; the dead letters first, because the other one names them."""
    if not desired.settings.durable:
        return
    for name, attributes in _attributes(desired.names).items():
        found, target = existing.queues.get(name), _target(desired.names, name)
        if not found:
            params = {"QueueName": name, "Attributes": attributes, "tags": desired.tags}
            yield Target("sqs").step("create_queue", f"create queue {name}", params)
            continue
        changed = {
            key: value
            for key, value in attributes.items()
            if _normal(key, found.attributes.get(key)) != _normal(key, value)
        }
        if found.attributes.get("Policy"):
            changed["Policy"] = ""  # it would let others in: the role needs none
        if changed:
            description = f"update queue {name}: {', '.join(changed)}"
            yield target.step("set_queue_attributes", description, {"Attributes": changed})
        if not desired.is_tagged(found.tags):
            yield target.step("tag_queue", f"tag queue {name}", {"Tags": desired.tags})


def mapping(desired: Desired, existing: Existing) -> Iterator[Step]:
    """Exactly one mapping: a second one could take messages and lose those that are not counted."""
    if not desired.settings.durable:
        return
    names = desired.names
    function = names.function(TRACK)
    live = names.live_arn(function)
    own = next((found for found in existing.mappings if found["FunctionArn"] == live), None)
    if not own:
        params = {"EventSourceArn": names.queue_arn(names.queue), "FunctionName": live, **MAPPING}
        description = f"map queue {names.queue} to alias {LIVE} of {function}"
        yield Target("lambda").step("create_event_source_mapping", description, params)
    else:
        changed = {key: value for key, value in MAPPING.items() if own.get(key) != value}
        if str(own.get("State")).startswith("Disabl"):
            changed["Enabled"] = True
        if (own.get("FilterCriteria") or {}).get("Filters"):
            changed["FilterCriteria"] = {}  # what a filter leaves out is deleted
        if changed:
            description = f"update mapping of queue {names.queue}: {', '.join(changed)}"
            yield _mapping(own).step("update_event_source_mapping", description, changed)
    for other in existing.mappings:
        if other is not own:
            yield _unmap(names, other)


def keeps_queues(desired: Desired, existing: Existing) -> bool:
    """Whether the queues are wanted, or have messages and are kept until those are counted."""
    return desired.settings.durable or any(queue.messages for queue in existing.queues.values())


def remove(desired: Desired, existing: Existing) -> Iterator[Step]:
    """Delete the queues if they are no longer wanted, and empty."""
    if not keeps_queues(desired, existing):
        yield from delete(desired.names, existing)


def notes(desired: Desired, existing: Existing) -> Iterator[str]:
    """Why the queues are kept although they are no longer wanted."""
    if desired.settings.durable or not keeps_queues(desired, existing):
        return
    for name, queue in existing.queues.items():
        if queue.messages and name == desired.names.queue:
            yield (
                f"queue {name} is kept because about {queue.messages:,} messages wait in it; they are counted when "
                "Redis can take them; then rerun `gimel deploy`"
            )
        elif queue.messages:
            yield (
                f"queue {name} is kept because of about {queue.messages:,} dead letters; see `gimel queue`, send them "
                f"back with `gimel queue redrive` or delete them with `aws sqs purge-queue --queue-url "
                f"{desired.names.queue_url(name)}`, then rerun `gimel deploy`"
            )


def delete(names: Names, existing: Existing) -> Iterator[Step]:
    """Delete the mapping, then the queues, even if there are messages in them."""
    for found in existing.mappings:
        yield _unmap(names, found)
    # The dead letters last, because the other queue names them.
    for name, queue in sorted(existing.queues.items(), reverse=True):
        lost = f" with about {queue.messages:,} messages that are not counted yet" if queue.messages else ""
        yield _target(names, name).remove("delete_queue", f"delete queue {name}{lost}")


def _attributes(names: Names) -> dict[str, dict[str, str]]:
    common = {"MessageRetentionPeriod": str(RETENTION_S), "SqsManagedSseEnabled": "true"}
    redrive = {"deadLetterTargetArn": names.queue_arn(names.dead_letters), "maxReceiveCount": MAX_RECEIVES}
    own = {"VisibilityTimeout": str(VISIBILITY_S), "RedrivePolicy": policies.as_text(redrive)}
    return {names.dead_letters: common, names.queue: {**common, **own}}


def _normal(key: str, value: str | None) -> Any:
    # SQS may return the number as text.
    return {name: str(item) for name, item in json.loads(value or "{}").items()} if key == "RedrivePolicy" else value


def _target(names: Names, name: str) -> Target:
    return Target("sqs", {"QueueUrl": names.queue_url(name)})


def _mapping(found: Mapping[str, Any]) -> Target:
    return Target("lambda", {"UUID": found["UUID"]})


def _unmap(names: Names, found: Mapping[str, Any]) -> Step:
    function = found["FunctionArn"].partition(":function:")[2]
    description = f"delete mapping of queue {names.queue} to {function}"
    return _mapping(found).remove("delete_event_source_mapping", description)
