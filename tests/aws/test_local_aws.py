"""On a local AWS that runs the zip: the real Alephbet in Chromium sends events to the URL that deploy.py prints."""

from __future__ import annotations

import gzip
import hashlib
import hmac
import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from click.testing import CliRunner

from gimel import histories
from gimel.events import MAX_EVENTS
from gimel.keyspace import LAST_SNAPSHOT_KEY, history_key
from gimel.ops.aws import bundle
from gimel.ops.commands.main import main
from tests.parts import ROOT, RedisServer, wait_for
from tests.test_notices import Receiver

from .ministack import Ministack

pytestmark = pytest.mark.slow

QUEUE = 'JSON.parse(JSON.parse(localStorage.getItem("alephbet") || "{}")["_alephbet_queue"] || "[]").length'


class Person:
    """A user at a shell, with a config.json."""

    def __init__(self, folder: Path, ministack: Ministack, redis_port: int) -> None:
        self.folder = folder
        self.redis = {"host": "127.0.0.1", "port": redis_port}
        self.other: dict[str, object] = {}
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PYTHONPATH": str(ROOT),
            "GIMEL_CACHE": str(ROOT / ".cache" / "wheels"),
            "AWS_ENDPOINT_URL": ministack.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "eu-west-1",
        }

    def configure(self, **aws: object) -> None:
        # ministack runs functions on this Python: with another runtime, each start would compile the sources.
        aws = {"runtime": f"python{sys.version_info.major}.{sys.version_info.minor}", **aws}
        (self.folder / "config.json").write_text(json.dumps({"redis": self.redis, "aws": aws, **self.other}))

    def types(self, *command: str, answer: str = "") -> str:
        done = self.tries(*command, answer=answer)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def tries(self, *command: str, answer: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command in this process, which is quicker; but deploy.py in one of its own, as a person does."""
        if command[0] == "deploy.py":
            return subprocess.run(
                [sys.executable, str(ROOT / "deploy.py"), *command[1:]],
                cwd=self.folder,
                env=self.environ,
                input=answer,
                capture_output=True,
                text=True,
                timeout=120,
            )
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            # Most of the time goes into the zip, nearly always of the same files.
            patch.setattr(bundle, "_compiled", _compiled)
            patch.setattr(bundle, "_zip", _zip)
            done = CliRunner(env={**dict.fromkeys(os.environ), **self.environ}).invoke(
                main, list(command), input=answer
            )
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return subprocess.CompletedProcess(command, done.exit_code, done.stdout, done.stderr)


def remembered(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, which does the same work only once."""
    known: dict[str, Any] = {}

    def call(*given: object) -> Any:
        key = hashlib.sha256(repr(given).encode()).hexdigest()
        if key not in known:
            known[key] = function(*given)
        return known[key]

    return call


_compiled, _zip = remembered(bundle._compiled), remembered(bundle._zip)


@pytest.fixture
def person(tmp_path, ministack, redis_server) -> Person:
    made = Person(tmp_path, ministack, redis_server.port)
    made.configure()
    return made


@pytest.fixture(scope="module")
def deployed(tmp_path_factory, ministack) -> Iterator[tuple[Person, str]]:
    """A person and what their deploy printed, for tests that only send events to it."""
    server = RedisServer(tmp_path_factory.mktemp("redis")).start()
    person = Person(tmp_path_factory.mktemp("person"), ministack, server.port)
    person.configure(name="cheap")
    yield person, person.types("deploy", "--yes")
    server.stop()


def url_in(output: str, label: str = "Track URL:") -> str:
    return next(line.split()[-1] for line in output.splitlines() if line.startswith(label))


def base_in(output: str) -> str:
    """The base URL of the reports."""
    return url_in(output, "Report URL:").removesuffix("/experiments")


def ask(url: str, key: str = "", method: str = "GET") -> tuple[int, dict[str, str], str]:
    request = urllib.request.Request(url, method=method, headers={"x-api-key": key} if key else {})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, dict(answer.headers), answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read().decode()


def test_from_deploy_to_a_report_of_a_browsers_events_to_destroy(person, browser, shop, redis_server):
    output = person.types("deploy.py", "--yes")
    track = url_in(output)
    base = base_in(output)
    assert f'new AlephBet.AlephbetAdapter("{track}"' in output
    assert person.types("snippet") in output

    page = browser.new_context().new_page()
    page.goto(shop(track))
    variant = page.evaluate("document.body.dataset.variant")
    page.evaluate("buy.complete(); buy.complete(); view.complete(); view.complete()")
    wait_for(lambda: page.evaluate(QUEUE) == 0, "an empty queue")
    page.context.close()

    key = person.types("api-key").strip()
    report = json.loads(person.types("report", "--url", base, "--api-key", key, "--format", "json"))
    (item,) = report
    reached = {
        (goal["goal"], result["label"]): (result["successes"], result["trials"])
        for goal in item["goals"]
        for result in goal["results"]
    }
    assert reached["buy", variant] == (1, 1)
    assert reached["page: view 100%", variant] == (2, 1)

    assert "no changes" in person.types("deploy", "--yes")
    status, headers, _ = ask(f"{base}/experiments", method="OPTIONS")
    assert (status, headers["Access-Control-Allow-Headers"]) == (204, "content-type, x-api-key")
    assert ask(f"{base}/delete?experiment=button+color", key, "DELETE")[0] == 200
    assert json.loads(ask(f"{base}/experiments", key)[2])[1:] == []

    redis_server.client().set("kept", "yes")
    refused = person.tries("destroy", "--name", "another")
    assert (refused.returncode, ask(track)[0]) == (1, 400)
    person.types("destroy", answer="gimel\n")
    assert ask(track)[0] == 404
    assert redis_server.client().get("kept") == "yes"
    assert "nothing of gimel to delete" in person.types("destroy")


def post(url: str, body: bytes, kind: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    request = urllib.request.Request(url, body, {"Content-Type": kind, **headers})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.status, dict(answer.headers), answer.read()


def test_the_http_api_takes_what_browsers_send(deployed, browser, shop):
    person, output = deployed
    track = url_in(output)
    assert "/_aws/execute-api/" in track
    assert f'new AlephBet.AlephbetAdapter("{track}"' in output

    page = browser.new_context().new_page()
    page.goto(shop(track))
    variant = page.evaluate("document.body.dataset.variant")
    page.evaluate("buy.complete(); view.complete()")
    wait_for(lambda: page.evaluate(QUEUE) == 0, "an empty queue")
    # Needs a preflight, unlike what Alephbet sends.
    event = {"experiment": "e", "uuid": "1", "variant": "red", "event": "seen"}
    send = "([url, body]) => fetch(url, {method: 'POST', headers: {'content-type': 'application/json'}, body})"
    assert page.evaluate(f"{send}.then(found => found.json())", [track, json.dumps(event)]) is None
    beacon = "([url, body]) => navigator.sendBeacon(url, body)"
    assert page.evaluate(beacon, [track, json.dumps([{**event, "uuid": "2"}, {**event, "uuid": "3"}])])
    assert page.evaluate(beacon, [f"{track}?{urlencode({**event, 'uuid': '4'})}", ""])

    report = reports_of(person, output)
    wait_for(lambda: successes(report(), "e", "red") == 4, "four visitors")
    assert successes(report(), "button color", variant) == 1
    form = urlencode({**event, "uuid": "5"}).encode()
    cookies = {"Cookie": "a=1; b=2", "Origin": "https://shop.example"}
    status, headers, body = post(track, form, "application/x-www-form-urlencoded", **cookies)
    assert (status, headers["Access-Control-Allow-Origin"], body) == (200, "*", b"null")
    # Of a repeated parameter, the last one counts, as on the REST API.
    assert ask(f"{track}?variant=blue&{urlencode({**event, 'uuid': '6'})}")[0] == 200
    assert successes(report(), "e", "red") == 6
    assert ask(f"{track.removesuffix('/e')}/experiments")[0] == 404


def test_a_team_opens_the_dashboard_at_the_apis_root_and_each_key_does_what_it_may(deployed, browser):
    person, output = deployed
    base, track = base_in(output), url_in(output)
    event = {"experiment": "team", "uuid": "1", "variant": "red", "event": "participate"}
    assert ask(f"{track}?{urlencode(event)}")[0] == 200
    keys = {kind: person.types("api-key", *option).strip() for kind, option in (("write", []), ("read", ["--read"]))}
    named = urlencode({"experiment": "team"})
    assert [ask(f"{base}/experiments", key)[0] for key in ("", "guess", *keys.values())] == [403, 403, 200, 200]
    status, headers, text = ask(f"{base}/delete?{named}", keys["read"], "DELETE")
    assert (status, json.loads(text)["error"]) == (403, "this API key can only read")
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert ask(f"{base}/experiment", keys["read"], "PUT")[0] == 403

    about = json.loads(ask(f"{base}/?about=1")[2])
    assert about["track_url"] == track
    assert track in about["snippet"]["html"]
    status, headers, text = ask(f"{base}/")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    unchanged = urllib.request.Request(f"{base}/", headers={"If-None-Match": headers["ETag"]})
    with pytest.raises(urllib.error.HTTPError, match="304"):
        urllib.request.urlopen(unchanged, timeout=30)
    page = browser.new_context().new_page()
    problems: list[str] = []
    page.on("console", lambda told: problems.append(told.text) if told.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    for address in (base, f"{base}/"):
        page.goto(f"{address}#key={keys['read']}")
        page.get_by_text("team", exact=True).first.wait_for()
        assert page.url.startswith(f"{base}/")
        assert keys["read"] not in page.url
    assert problems == []
    page.context.close()
    assert ask(f"{base}/delete?{named}", keys["write"], "DELETE")[0] == 200


def test_the_http_api_sends_compressed_answers_as_bytes(deployed):
    track = url_in(deployed[1])
    wrong = json.dumps([{}] * MAX_EVENTS).encode()
    request = urllib.request.Request(
        track, wrong, {"Accept": "*/*", "Accept-Encoding": "gzip", "Content-Type": "text/plain"}
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=30)
    assert caught.value.headers["Content-Encoding"] == "gzip"
    assert json.loads(gzip.decompress(caught.value.read()))["counted"] == 0


def test_a_domain_leads_to_both_apis_whichever_takes_the_events(person, ministack):
    own = {"domain": "events.example.com", "certificate_arn": "arn:aws:acm:eu-west-1:000000000000:certificate/1"}
    event = "e?experiment=e&variant=red&event=seen&uuid="

    def ask_domain(path: str, key: str = "") -> str:
        # The emulator serves the domain by its name alone, without TLS.
        headers = {"Host": own["domain"], "x-api-key": key}
        with urllib.request.urlopen(urllib.request.Request(f"{ministack.url}/{path}", headers=headers)) as answer:
            return answer.read().decode()

    person.configure(name="own", **own)
    output = person.types("deploy", "--yes")
    assert url_in(output) == "https://events.example.com/e"
    assert 'AlephbetAdapter("https://events.example.com/e"' in output
    target = re.search(
        r"^DNS record: events.example.com CNAME (d-\w+\.execute-api\.eu-west-1\.amazonaws\.com)$", output, re.M
    )
    assert target, output
    key = person.types("api-key").strip()
    assert ask_domain(f"{event}1") == "null"
    person.configure(name="own", track_api="rest", **own)
    assert "only `gimel destroy` deletes it" in person.types("deploy", "--yes")
    assert ask_domain(f"{event}2") == "null"
    assert successes(json.loads(ask_domain("api/experiments", key))[1:], "e", "red") == 2
    assert "no changes" in person.types("deploy", "--yes")
    person.types("destroy", "--name", "own")
    for path in ("track", "api/experiments"):
        with pytest.raises(urllib.error.HTTPError):
            ask_domain(path)


def reports_of(person: Person, output: str) -> Callable[[], list[dict]]:
    """Reads the reports of the deployment that printed this, from its REST API."""
    key, url = person.types("api-key").strip(), url_in(output, "Report URL:")

    def read() -> list[dict]:
        # The first connection of a new function may take longer than its time limit.
        body = wait_for(lambda: (found := ask(url, key))[0] == 200 and found[2], "a report")
        return json.loads(str(body))[1:]

    return read


def successes(report: list[dict], experiment: str, variant: str) -> int:
    goals = next((item["goals"] for item in report if item["experiment"] == experiment), [])
    found = (result for goal in goals for result in goal["results"] if result["label"] == variant)
    return max((result["successes"] for result in found), default=0)


def test_the_whole_life_of_a_deployment(person, ministack, redis_server):
    """From an empty account over a change, a rollback and a new key to nothing, with alarms, a queue, both APIs and a
    webhook."""
    hook = Receiver(503, 200)
    notify = {"url": hook.url, "on": ["split"], "secret": "open sesame", "allow_private": True}
    person.other = {"notify": notify, "experiments": {"e": {"weights": {"red": 1, "blue": 1}}}}
    options = {"name": "shop", "track_api": "http", "alarms": {"email": "ops@example.com"}}
    assert marked(ministack) == set()
    person.configure(**options)
    first = person.tries("deploy", "--yes")
    assert first.returncode == 0, first.stderr
    assert "3 events were counted, read back and deleted" in first.stderr
    assert {"gimel-shop", "gimel-shop-track", "gimel-shop-5xx"} <= marked(ministack)
    event = f"{url_in(first.stdout)}?experiment=e&uuid=1&variant=red&event=participate"
    assert ask(event)[0] == 200
    report = reports_of(person, first.stdout)
    assert [item["experiment"] for item in report()] == ["e"]
    assert person.tries("deploy", "--dry-run", "--exit-code").returncode == 0

    state = json.loads(person.types("status", "--format", "json"))
    assert (state["healthy"], state["drift"], state["redis"]["counters"]) == (True, [], 1)
    assert state["redis"]["address"] == f"redis://127.0.0.1:{redis_server.port}/0"
    assert state["queue"] == {"waiting": 0, "in_flight": 0, "dead_letters": 0}
    assert all(name.startswith("gimel-shop-") for name in state["alarms"])

    uneven = [{"experiment": "e", "uuid": str(one), "variant": "red", "event": "participate"} for one in range(200)]
    assert post(url_in(first.stdout), json.dumps(uneven).encode(), "application/json")[0] == 200
    redis_server.client().set(LAST_SNAPSHOT_KEY, histories.now() - 60)
    schedule = ministack.client("events")
    schedule.put_rule(Name="gimel-shop-snapshot", ScheduleExpression="rate(1 minute)")
    wait_for(lambda: redis_server.client().exists(history_key("alephbet", "e")), "a history of e")
    wait_for(lambda: len(hook.received) == 2, "a notice, tried again")
    schedule.disable_rule(Name="gimel-shop-snapshot")
    told = hook.received[1]
    assert (told.told["experiment"], told.told["kind"]) == ("e", "split")
    signed = f"{told.headers['X-Gimel-Timestamp']}.".encode() + told.body
    signature = hmac.new(b"open sesame", signed, "sha256").hexdigest()
    assert told.headers["X-Gimel-Signature"] == f"sha256={signature}"
    hook.site.shutdown()
    hook.site.server_close()
    (item,) = report()
    assert item["first_seen"] <= item["last_seen"]
    shown = person.types("status")
    assert re.search(r"^Snapshots:   the schedule is disabled; the last one 20[-: 0-9]+ UTC$", shown, re.M), shown
    assert "update schedule gimel-shop-snapshot: ScheduleExpression, State" in shown

    person.other = {"allowed_experiments": ["another"]}
    person.configure(**options)
    assert person.tries("deploy", "--dry-run", "--exit-code").returncode == 2
    changed = person.tries("deploy", "--yes")
    assert (url_in(changed.stdout), "3 events" in changed.stderr) == (url_in(first.stdout), True)
    assert ask(event)[1]["X-Gimel-Ignored"] == "experiment"

    assert "as the functions do now" in person.types("rollback", "--yes")
    assert "X-Gimel-Ignored" not in ask(event)[1]
    rolled_back = json.loads(person.types("status", "--format", "json"))
    assert rolled_back["releases"]["live"] == state["releases"]["live"]
    assert rolled_back["releases"]["rolled_back"] != []
    assert "a rollback is in effect" in person.types("deploy", "--dry-run")
    key = person.types("api-key").strip()
    rotated = person.types("api-key", "--rotate", "--yes")  # which deploys
    assert re.search(r"^The old key is valid until 20[-:T0-9+]+\. The new one: gimel api-key$", rotated, re.M), rotated
    assert [ask(url_in(first.stdout, "Report URL:"), one)[0] for one in (key, person.types("api-key").strip())] == [
        200,
        200,
    ]
    assert ask(event)[1]["X-Gimel-Ignored"] == "experiment"
    assert json.loads(person.types("status", "--format", "json"))["releases"]["rolled_back"] == []

    person.types("destroy", "--name", "shop")
    assert ask(event)[0] == 404
    assert marked(ministack) == set()
    assert redis_server.client().exists("alephbet:counters:e:participate:red")


def marked(ministack: Ministack) -> set[str]:
    """What there is in the account whose name is that of a deployment named shop."""
    lists = (
        ("lambda", "list_functions", "Functions", "FunctionName"),
        ("lambda", "list_event_source_mappings", "EventSourceMappings", "EventSourceArn"),
        ("apigateway", "get_rest_apis", "items", "name"),
        ("apigateway", "get_api_keys", "items", "name"),
        ("apigateway", "get_usage_plans", "items", "name"),
        ("apigatewayv2", "get_apis", "Items", "Name"),
        ("iam", "list_roles", "Roles", "RoleName"),
        ("logs", "describe_log_groups", "logGroups", "logGroupName"),
        ("events", "list_rules", "Rules", "Name"),
        ("sns", "list_topics", "Topics", "TopicArn"),
        ("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName"),
    )
    found = set(ministack.client("sqs").list_queues().get("QueueUrls", []))
    for service, call, kind, name in lists:
        client = ministack.client(service)
        found |= {item[name] for item in getattr(client, call)()[kind]}
    return {name for name in found if "gimel-shop" in name}


def test_a_large_report_is_compressed_for_those_who_take_it_and_posted_lists_are_counted(deployed):
    person, output = deployed
    track = url_in(output)
    events = [
        {"experiment": "large", "uuid": str(number), "variant": f"v{number % 5}", "event": f"goal {number % 10}"}
        for number in range(100)
    ]
    posted = urllib.request.Request(track, json.dumps(events).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(posted, timeout=30) as answer:
        assert (answer.status, answer.read()) == (200, b"null")
    base, key = base_in(output), person.types("api-key").strip()
    plain = ask(f"{base}/experiments", key)[2]
    # What a browser's script sends.
    headers = {"x-api-key": key, "Accept": "*/*", "Accept-Encoding": "gzip, deflate, br"}
    asked = urllib.request.Request(f"{base}/experiments", headers=headers)
    with urllib.request.urlopen(asked, timeout=30) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(answer.read()).decode() == plain
    assert "goal 9" in person.types("report", "--url", base, "--api-key", key)


def test_the_password_is_read_from_the_parameter_store_at_cold_start(person, tmp_path, ministack):
    (tmp_path / "guarded").mkdir()
    server = RedisServer(tmp_path / "guarded", "--requirepass", "open sesame").start()
    try:
        ssm = ministack.client("ssm")
        ssm.put_parameter(Name="/gimel/redis", Value="open sesame", Type="SecureString")
        person.redis = {"host": "127.0.0.1", "port": server.port, "password": "ssm:/gimel/redis"}
        person.configure(name="guarded")
        track = url_in(person.types("deploy", "--yes"))
        assert ask(f"{track}?experiment=e&uuid=1&variant=red&event=participate")[0] == 200
        person.types("destroy", "--name", "guarded")
    finally:
        server.stop()
