"""What a deployment costs a month: what it used in the last 30 days, at list prices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from gimel import metrics

from .existing import Existing
from .names import STAGE, TRACK, Names

DAYS = 30
DAY_S = 86_400

PRICES_OF = "us-east-1, 2026"
"""AWS' list prices without free tier, from the price pages of API Gateway, Lambda, CloudWatch and SQS."""


@dataclass(frozen=True)
class Price:
    """US dollars for so many of a unit."""

    dollars: float
    units: float
    unit: str

    def __str__(self) -> str:
        return f"${self.dollars:.10f}".rstrip("0").ljust(5, "0") + f" per {self.unit}"


REST_REQUESTS = Price(3.50, 1e6, "million")
HTTP_REQUESTS = Price(1.00, 1e6, "million")
INVOCATIONS = Price(0.20, 1e6, "million")
GB_SECONDS = {"arm64": Price(0.0000133334, 1, "GB-s"), "x86_64": Price(0.0000166667, 1, "GB-s")}
SNAPSHOTS = Price(0.0000015046, 1, "GB-s")
QUEUE_REQUESTS = Price(0.40, 1e6, "million")
LOGS = Price(0.50, 1e9, "GB")
ALARMS = Price(0.10, 1, "alarm")
CUSTOM_METRICS = Price(0.30, 1, "metric")

QUEUE_METRICS = (
    *("NumberOfMessagesSent", "NumberOfMessagesReceived", "NumberOfMessagesDeleted"),
    "NumberOfEmptyReceives",
)

NOT_INCLUDED = (
    "the free tier; Lambda's INIT time, which no metric has (see the REPORT lines in the log); transfer to the "
    "internet; logs that are kept; Redis"
)


@dataclass(frozen=True)
class Row:
    """One item of the bill."""

    what: str
    quantity: float
    price: Price

    @property
    def dollars(self) -> float:
        """Its cost in US dollars."""
        return self.quantity / self.price.units * self.price.dollars


@dataclass(frozen=True)
class _Metric:
    """A metric of CloudWatch, and which of its statistics to add up."""

    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...]
    statistic: str = "Sum"


def estimate(client: Any, names: Names, existing: Existing, now: datetime) -> list[Row]:
    """The costs of the last 30 days. `client` is CloudWatch's; raises its errors."""
    used = _read(client, [*_metrics(names, existing)], now)
    return [row for row in _rows(names, existing, used) if row.quantity]


def as_text(rows: Sequence[Row], region: str) -> str:
    """The costs as a table."""
    lines = [f"What the last {DAYS} days cost, at list prices ({PRICES_OF}{_elsewhere(region)}):", ""]
    lines += [f"{row.what:<34}{row.quantity:>18,.0f}  {row.price!s:<24}{row.dollars:>10.2f}" for row in rows]
    lines += [f"{'total, US$':<78}{sum(row.dollars for row in rows):>10.2f}", "", f"Not included: {NOT_INCLUDED}."]
    return "\n".join(lines)


def as_dict(rows: Sequence[Row]) -> dict[str, Any]:
    """The costs for programs, in US dollars."""
    listed = [{"what": row.what, "quantity": row.quantity, **asdict(row.price), "cost": row.dollars} for row in rows]
    return {"days": DAYS, "prices": PRICES_OF, "rows": listed, "total": sum(row.dollars for row in rows)}


def _elsewhere(region: str) -> str:
    return "" if region == "us-east-1" else f"; those of {region} may differ"


def _metrics(names: Names, existing: Existing) -> Iterator[_Metric]:
    yield _rest(names)
    if existing.http_api:
        yield _http(existing.http_api.id)
    for function in existing.functions:
        yield _function(function, "Invocations")
        yield _function(function, "Duration")
    for group in existing.log_groups:
        yield _ingested(group)
    for queue in existing.queues:
        yield from (_queue(queue, name) for name in QUEUE_METRICS)
    yield from _custom(names)


def _rows(names: Names, existing: Existing, used: Mapping[_Metric, float]) -> Iterator[Row]:
    yield Row("requests to the REST API", used[_rest(names)], REST_REQUESTS)
    if existing.http_api:
        yield Row("requests to the HTTP API", used[_http(existing.http_api.id)], HTTP_REQUESTS)
    functions = existing.functions
    yield Row("runs of functions", sum(used[_function(name, "Invocations")] for name in functions), INVOCATIONS)
    for architecture, price in GB_SECONDS.items():
        gb_s = sum(
            used[_function(name, "Duration")] / 1000 * _gb(found.latest)
            for name, found in functions.items()
            if architecture in found.latest.get("Architectures", ["x86_64"])
        )
        yield Row(f"time of functions ({architecture})", gb_s, price)
    snapshots = [
        version
        for found in functions.values()
        for version in found.versions.values()
        if (version.get("SnapStart") or {}).get("ApplyOn") == "PublishedVersions"
    ]
    yield Row("SnapStart's snapshots, as they are", sum(map(_gb, snapshots)) * DAYS * DAY_S, SNAPSHOTS)
    messages = sum(used[_queue(queue, name)] for queue in existing.queues for name in QUEUE_METRICS)
    yield Row("requests to the queues, at most", messages, QUEUE_REQUESTS)
    yield Row("logs, bytes", sum(used[_ingested(group)] for group in existing.log_groups), LOGS)
    yield Row("alarms", len(existing.alarms), ALARMS)
    yield Row("embedded metrics", sum(used[metric] > 0 for metric in _custom(names)), CUSTOM_METRICS)


def _gb(configuration: Mapping[str, Any]) -> float:
    return float(configuration.get("MemorySize", 128)) / 1024


def _rest(names: Names) -> _Metric:
    return _Metric("AWS/ApiGateway", "Count", (("ApiName", names.base), ("Stage", STAGE)), "SampleCount")


def _http(api: str) -> _Metric:
    return _Metric("AWS/ApiGateway", "Count", (("ApiId", api),), "SampleCount")


def _function(name: str, metric: str) -> _Metric:
    return _Metric("AWS/Lambda", metric, (("FunctionName", name),))


def _ingested(group: str) -> _Metric:
    return _Metric("AWS/Logs", "IncomingBytes", (("LogGroupName", group),))


def _queue(queue: str, metric: str) -> _Metric:
    return _Metric("AWS/SQS", metric, (("QueueName", queue),))


def _custom(names: Names) -> list[_Metric]:
    """The metrics that functions write: the events of this deployment, and the limits that were reached."""
    own, track = ((metrics.DIMENSION, names.deployment),), (("FunctionName", names.function(TRACK)),)
    limits = _Metric(metrics.NAMESPACE, metrics.LIMIT_REACHED, track, "SampleCount")
    return [*(_Metric(metrics.NAMESPACE, name, own, "SampleCount") for name in metrics.UNITS), limits]


def _read(client: Any, wanted: Sequence[_Metric], now: datetime) -> dict[_Metric, float]:
    """The total of each metric in the last 30 days."""
    queries = [
        {
            "Id": f"m{number}",
            "MetricStat": {
                "Metric": {
                    "Namespace": metric.namespace,
                    "MetricName": metric.name,
                    "Dimensions": [{"Name": name, "Value": value} for name, value in metric.dimensions],
                },
                "Period": DAY_S,
                "Stat": metric.statistic,
            },
        }
        for number, metric in enumerate(wanted)
    ]
    totals = dict.fromkeys(wanted, 0.0)
    begin = now - timedelta(days=DAYS)
    pages = client.get_paginator("get_metric_data").paginate(MetricDataQueries=queries, StartTime=begin, EndTime=now)
    for page in pages:
        for result in page["MetricDataResults"]:
            totals[wanted[int(result["Id"][1:])]] += sum(result["Values"])
    return totals
