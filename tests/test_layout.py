"""The layout: what may import what."""

from __future__ import annotations

import subprocess
import sys
from graphlib import TopologicalSorter

import grimp
import pytest

# From the top down: a module may import those of lower lines only, and none of its own line.
LAYERS = [
    {"handlers"},
    {"snapshots"},
    {"notices"},
    {"reports", "analysis.series", "page"},
    {"lives"},
    {"stopping"},
    {"analysis.report"},
    {"analysis.headline"},
    {"analysis.comparisons", "analysis.counting", "analysis.novelty", "analysis.planning", "analysis.sample_ratio"},
    {"analysis.verdicts"},
    {"analysis.past", "analysis.plan", "analysis.strata", "analysis.variants", "analysis.sequential"},
    {"analysis.wording", "analysis.proportions"},
    {"analysis.distributions"},
    {"frozen", "turned_away"},
    {"histories"},
    {"namespaces", "plans"},
    {"counters", "gateway"},
    {"access", "bots", "connection", "packing", "limits", "snippet"},
    {"cluster", "config", "outage_log", "overflow"},
    {"metrics", "outages", "settings", "stopped"},
    {"round_trip"},
    {"breaker", "events", "keyspace", "passwords", "replies", "timed_connection", "validation"},
    {"client", "deadline", "errors", "hyperloglog", "lean_redis"},
]
OPS_LAYERS = [
    {"commands.main"},
    {"commands.plan"},
    {"commands.experiment", "commands.queue", "commands.status"},
    {
        "commands.backup",
        "commands.bundle",
        "commands.configure",
        "commands.dashboard",
        "commands.deployment",
        "commands.report",
        "commands.serve",
        "commands.snapshot",
    }
    | {"commands.openapi", "commands.snippet"},
    {"commands.console", "commands.store"},
    {
        "aws.logs",
        "aws.preflight",
        "aws.selftest",
        "aws.status",
        "server.local",
        "server.proxy",
        "server.demo",
        "server.wsgi",
    },
    {"aws.by_hand", "aws.deployment", "server.hourly", "server.spool"},
    {"aws.plan.deploy", "aws.plan.undo", "server.app", "server.redis_process"},
    {"aws.plan.alarms", "aws.plan.api_key", "aws.plan.domain", "aws.plan.schedule"},
    {"aws.plan.gateway", "aws.plan.role", "aws.client", "aws.observe"},
    {"aws.plan.functions", "aws.plan.queues", "server.folder", "server.tokens"},
    {"aws.plan.http_api"},
    {"aws.plan.steps"},
    {"aws.desired"},
    {"aws.bundle", "aws.wiring", "aws.cost"},
    {"aws.settings", "aws.policies", "aws.existing", "aws.dead_letters", "aws.redis_address"},
    {"aws.names", "aws.errors", "aws.findings", "aws.history"},
    {"backup", "history_formats", "openapi", "plan_formats"},
    {"backup_file", "endpoints", "nodes", "formats", "api_client", "known_bots", "resources", "addresses"},
    {"text_plot"},
]


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("gimel", include_external_packages=True, cache_dir=None)


def code(graph: grimp.ImportGraph) -> set[str]:
    """The modules that hold code: no packages."""
    return {name for name in graph.modules if name.startswith("gimel.") and not graph.find_children(name)}


def test_no_module_imports_itself_through_others(graph):
    imports = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    TopologicalSorter(imports).prepare()  # raises CycleError, which names the modules


def test_imports_lead_from_upper_to_lower_layers_only(graph):
    layers = [{f"gimel.ops.{name}" for name in layer} for layer in OPS_LAYERS]
    layers += [{f"gimel.{name}" for name in layer} for layer in LAYERS]
    height = {name: number for number, layer in enumerate(layers) for name in layer}
    assert set(height) == code(graph), "each module stands on one line of LAYERS or OPS_LAYERS"
    backward = [
        f"{name} imports {imported}"
        for name in height
        for imported in graph.find_modules_directly_imported_by(name)
        if imported in height and height[imported] <= height[name]
    ]
    assert backward == []


def test_what_ships_to_lambda_needs_only_redis_and_the_standard_library(graph):
    shipped = [name for name in code(graph) if not name.startswith("gimel.ops")]
    imported = {found for name in shipped for found in graph.find_modules_directly_imported_by(name)}
    others = {name.partition(".")[0] for name in imported} - sys.stdlib_module_names
    # boto3 is imported where a password is looked up in AWS, and only then.
    assert others == {"gimel", "redis", "boto3", "botocore"}
    assert not [name for name in imported if name.startswith("gimel.ops")]


def test_tracking_an_event_loads_no_statistics():
    names = "[name for name in sys.modules if name.startswith(('gimel.analysis', 'boto'))]"
    loaded = f"import sys; from gimel import track; print(*{names})"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.split() == []


def test_the_client_for_servers_needs_nothing_but_the_standard_library(graph):
    assert graph.find_modules_directly_imported_by("gimel.client") <= sys.stdlib_module_names
    # -S hides redis and whatever else is installed.
    loaded = "import sys, gimel.client; print(*[name for name in sys.modules if name.startswith('gimel')])"
    done = subprocess.run([sys.executable, "-S", "-c", loaded], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.split() == ["gimel", "gimel.client"]
