"""The OpenAPI document: valid, complete, and true of what is answered."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

import gimel
from gimel import config, connection, turned_away
from gimel.events import MAX_EVENTS, MAX_NAME_LENGTH, REQUIRED, read_batch
from gimel.ops import openapi
from gimel.ops.commands.main import main
from gimel.ops.endpoints import ENDPOINTS, PAGE
from gimel.settings import ExperimentSettings

from .calls import EVENT, make_rest_event, post, read
from .parts import ROOT

URL = "https://api.example.com/prod"
REFRESH = f"gimel openapi --url {URL} > docs/openapi.json"
DOCUMENT = openapi.document(URL)


def validator(schema: Mapping[str, Any]) -> Draft202012Validator:
    return Draft202012Validator({**schema, "components": DOCUMENT["components"]})


def schema_of(path: str, method: str, status: int) -> Mapping[str, Any]:
    """The schema of this answer in the document."""
    answer = DOCUMENT["paths"][path][method.lower()]["responses"][str(status)]
    if "$ref" in answer:
        answer = DOCUMENT["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    return answer["content"]["application/json"]["schema"]


def resolved(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" in schema:
        return DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def undescribed(value: Any, schema: Mapping[str, Any], place: str = "") -> Iterator[str]:
    """The keys of an answer that the document does not have."""
    schemas = [resolved(each) for each in (*schema.get("allOf", ()), *schema.get("anyOf", ()), schema)]
    if isinstance(value, dict):
        properties = {name: each for one in schemas for name, each in one.get("properties", {}).items()}
        properties |= {
            name: each
            for one in schemas
            for part in one.get("allOf", ())
            for name, each in resolved(part).get("properties", {}).items()
        }
        others = next((one["additionalProperties"] for one in schemas if "additionalProperties" in one), None)
        if others:
            properties = dict.fromkeys(value, others) | properties
        yield from (f"{place}.{name}" for name in value.keys() - properties.keys())
        for name in value.keys() & properties.keys():
            yield from undescribed(value[name], properties[name], f"{place}.{name}")
    elif isinstance(value, list):
        for items in [one["items"] for one in schemas if "items" in one]:
            for position, item in enumerate(value):
                yield from undescribed(item, items, f"{place}[{position}]")


def test_the_document_is_valid_openapi():
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_the_copy_in_docs_is_this_document():
    shown = CliRunner().invoke(main, ["openapi", "--url", URL]).stdout
    assert (ROOT / "docs" / "openapi.json").read_text() == shown, f"refresh it: {REFRESH}"


def test_every_method_of_every_endpoint_is_described():
    paths = openapi.document(URL, "/track")["paths"]
    described = {(method.upper(), path) for path, found in paths.items() for method in found}
    table = {(method, endpoint.path) for endpoint in ENDPOINTS for method in (*endpoint.methods, "OPTIONS")}
    assert described == table - {("GET", PAGE), ("OPTIONS", PAGE)}


def test_the_second_path_of_events_is_described_like_the_first():
    def operations(document: dict, path: str) -> dict:
        found = {method: each for method, each in document["paths"][path].items() if method != "description"}
        return {method: {**each, "operationId": None} for method, each in found.items()}

    assert operations(DOCUMENT, "/e") == operations(DOCUMENT, "/track")
    assert operations(openapi.document(URL, "/counts"), "/counts") == operations(DOCUMENT, "/track")
    assert "/e" not in openapi.document(URL, "/track")["paths"]


def test_the_key_is_asked_for_where_it_is_needed():
    for endpoint in ENDPOINTS:
        for method in endpoint.methods if endpoint.path != PAGE else ():
            operation = DOCUMENT["paths"][endpoint.path][method.lower()]
            assert operation["security"] == ([{"api_key": []}] if endpoint.needs_key(method) else [])
            assert ("403" in operation["responses"]) == endpoint.needs_key(method)


def test_every_reason_to_ignore_an_event_is_in_the_documentation_of_both_kinds():
    page = (ROOT / "docs" / "http-api.md").read_text()
    table = page.partition("### What is ignored")[2].partition("###")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert {code for row in rows for code in re.findall("`([a-z]+)`", row)} == set(openapi.REASONS)


def test_every_figure_is_described():
    result = DOCUMENT["components"]["schemas"]["Result"]
    assert all("description" in each for each in result["properties"].values())


@pytest.fixture
def filled(fake):
    """Experiments in every state: with goals and without, repeated, lost, one-armed, unevenly split."""
    arms = {"red": (400, 60), "blue": (400, 20), "green": (0, 3)}
    for variant, (visitors, buyers) in arms.items():
        events = [("participate", n) for n in range(visitors)] + [("buy", n) for n in range(buyers)]
        events += [("view", n) for n in range(2 * visitors)]
        items = [{**EVENT, "variant": variant, "event": event, "uuid": uuid} for event, uuid in events]
        for first in range(0, len(items), MAX_EVENTS):
            gimel.track(post(items[first : first + MAX_EVENTS]))
    for name, variants in {"alone": ["a"], "uneven": ["a"] * 90 + ["b"] * 10}.items():
        for number, variant in enumerate(variants):
            gimel.track({**EVENT, "experiment": name, "variant": variant, "uuid": number})
    return fake


@pytest.mark.parametrize("query", [{}, {"control": "nobody"}, {"scope": "alone"}, {"namespace": "empty"}])
def test_reports_are_as_described(filled, query, monkeypatch):
    monkeypatch.setattr(turned_away, "_recorded", {})
    gimel.track(make_rest_event())
    weighted = ExperimentSettings(weights={"red": 1, "blue": 2, "never": 1})
    roles = {"goal": "buy", "guardrails": {"view": 0.02}, "variants": frozenset(("red", "blue"))}
    plans = [ExperimentSettings(planned_visitors=size, **roles) for size in (1000, 300)]
    for experiments in ({}, *({EVENT["experiment"]: settings} for settings in (weighted, *plans))):
        connection.use(config.Config(experiments=experiments), connection.client())
        for entry, path, more in (
            (gimel.all, "/experiments", {}),
            (gimel.experiment, "/experiment", EVENT),
            (gimel.history, "/history", EVENT),
        ):
            value = read(entry(make_rest_event(query={**more, **query})))
            schema = schema_of(path, "GET", 200)
            validator(schema).validate(value)
            assert list(undescribed(value, schema)) == []


@pytest.mark.parametrize(
    ("entry", "event"),
    [
        (gimel.track, make_rest_event(query=EVENT)),
        (gimel.track, make_rest_event()),
        (gimel.track, make_rest_event("DELETE")),
        (gimel.track, post([EVENT, {}])),
        (gimel.track, post([{}])),
        (gimel.track, {**post(EVENT), "headers": 5}),
        (gimel.experiment, make_rest_event()),
        (gimel.all, make_rest_event(query={"namespace": ":"})),
        (gimel.all, make_rest_event("POST")),
        (gimel.history, make_rest_event()),
        (gimel.history, make_rest_event(query=EVENT)),
        (gimel.plan, make_rest_event()),
        (gimel.plan, make_rest_event(query={"rate": "5%", "change": "10%", "per_day": "400", "weights": "9,1"})),
        (gimel.plan, make_rest_event(query={"rate": "20%", "change": "1%", "per_day": "400"})),
        (gimel.delete, make_rest_event("DELETE", query={"experiment": "e"})),
        (gimel.health, make_rest_event()),
    ],
)
def test_answers_are_as_described(fake, entry, event):
    answer = entry(event)
    path = next(endpoint.path for endpoint in ENDPOINTS if endpoint.entry is entry)
    method = event["httpMethod"] if answer["statusCode"] != 405 else entry.methods[0]
    schema = schema_of(path, method, answer["statusCode"])
    validator(schema).validate(read(answer))
    assert list(undescribed(read(answer), schema)) == []


def test_an_outage_is_as_described(redis_server):
    connection.use(config.Config(redis_settings=config.RedisSettings(url=redis_server.url)))
    redis_server.stop()
    answer = gimel.track(make_rest_event(query=EVENT))
    validator(schema_of("/track", "GET", 503)).validate(read(answer))
    assert "Retry-After" in DOCUMENT["components"]["responses"]["Outage"]["headers"]


@pytest.mark.parametrize(
    "change",
    [
        *({name: value} for name in REQUIRED for value in ("", None, [], True, "x" * (MAX_NAME_LENGTH + 1), "a\nb")),
        *({name: value} for name in REQUIRED for value in ("x", "x" * MAX_NAME_LENGTH, 5, -0.5, "a:b", "\U0001f3af")),
        *({"namespace": value} for value in ("", None, "x", 5, "a:b", [], "a\x7fb", "x" * (MAX_NAME_LENGTH + 1))),
    ],
)
def test_an_event_is_accepted_exactly_if_it_is_as_described(change):
    event = {**EVENT, **change}
    assert validator({"$ref": "#/components/schemas/Event"}).is_valid(event) == (not read_batch([event]).refused)


def test_a_list_is_accepted_exactly_if_it_is_as_described(fake):
    for size in (0, 1, MAX_EVENTS, MAX_EVENTS + 1):
        is_valid = validator({"$ref": "#/components/schemas/Events"}).is_valid([EVENT] * size)
        assert is_valid == (gimel.track(post([EVENT] * size))["statusCode"] == 200)


def test_the_document_is_json_that_others_can_read():
    assert json.loads(json.dumps(DOCUMENT)) == DOCUMENT
