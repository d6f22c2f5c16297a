"""Odd gateway envelopes: whatever their types, they are answered, and nothing is counted by mistake."""

from __future__ import annotations

import json
from typing import Any

import pytest

import gimel
from gimel.errors import BadRequest

from .calls import EVENT, make_http_event, make_queue_event, make_rest_event, participants, read

ODD: list[Any] = [5, -0.5, 10**4000, True, "x", "\ud800", "", [], [[5]], ["a", {}], {}, {"a": {"b": []}}, {"http": 5}]
DEEP: Any = []
for _ in range(5000):
    DEEP = [DEEP]
FIELDS = [
    *("httpMethod", "headers", "queryStringParameters", "requestContext", "body", "isBase64Encoded"),
    *("multiValueHeaders", "multiValueQueryStringParameters", "rawQueryString", "resource", "path", "version"),
]
HTTP_ENTRIES = [gimel.track, gimel.experiment, gimel.all, gimel.delete, gimel.health]


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", [*ODD, DEEP, None], ids=[*(repr(each)[:20] for each in ODD), "deep", "null"])
def test_a_field_of_any_type_is_answered_and_never_an_exception(fake, field, value):
    # Without `http` in its requestContext, an event is a flat one.
    is_flat = field == "requestContext" and (not value or (isinstance(value, dict) and "http" not in value))
    for method in ("GET", "POST", "DELETE", "OPTIONS"):
        events = [make_rest_event(method, EVENT), make_http_event(method, EVENT)]
        for event in events[:1] if is_flat else events:
            for entry in HTTP_ENTRIES:
                answer = entry({**event, field: value})
                assert answer["statusCode"] in (200, 204, 400, 405)
                assert answer["headers"]["Access-Control-Allow-Origin"] == "*"
                assert json.dumps(answer, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("httpMethod", 5, "httpMethod must be text"),
        ("httpMethod", "GE\ud800", "the method must be ASCII"),
        ("headers", ["a"], "headers must be an object"),
        ("headers", {"origin": ["https://a.example"]}, "the values of headers must be text"),
        ("queryStringParameters", "uuid=1", "queryStringParameters must be an object"),
        ("isBase64Encoded", "false", "isBase64Encoded must be true or false"),
        ("body", 5, "body must be text"),
    ],
)
def test_a_rest_event_of_the_wrong_shape_is_a_400_that_says_what_is_wrong(fake, field, value, problem):
    answer = gimel.track({**make_rest_event(query=EVENT), field: value})
    assert answer["statusCode"] == 400
    assert read(answer) == {"error": problem, "problems": [problem], "hint": "send an event as API Gateway does"}
    assert fake.dbsize() == 0


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("requestContext", "http", "requestContext must be an object"),
        ("requestContext", {"http": "GET"}, "http must be an object"),
        ("requestContext", {"http": {"method": ["GET"]}}, "method must be text"),
        ("rawQueryString", {"uuid": 1}, "rawQueryString must be text"),
    ],
)
def test_an_http_event_of_the_wrong_shape_is_a_400_that_says_what_is_wrong(fake, field, value, problem):
    answer = gimel.track({**make_http_event(query=EVENT), field: value})
    assert (answer["statusCode"], read(answer)["problems"]) == (400, [problem])
    assert fake.dbsize() == 0


def test_everything_wrong_is_named_at_once(fake):
    event = {"httpMethod": 1, "headers": 2, "queryStringParameters": 3, "body": 4, "isBase64Encoded": 5}
    assert len(read(gimel.track(event))["problems"]) == 5


def test_multi_value_fields_are_not_read(fake):
    event = {**make_rest_event(query=EVENT), "multiValueQueryStringParameters": {"variant": ["blue", "red"]}}
    assert gimel.track(event)["body"] == "null"
    assert participants(fake) == 1


def test_a_body_nested_too_deeply_is_a_400(fake):
    answer = gimel.track({**make_rest_event("POST"), "body": DEEP})
    # Python 3.13 can still write this as JSON, and finds no event in it.
    assert (answer["statusCode"], fake.dbsize()) == (400, 0)


def test_a_surrogate_in_a_body_is_a_400_that_says_so(fake):
    body = json.dumps({**EVENT, "variant": "\ud800"})
    assert read(gimel.track(make_rest_event("POST", body=body)))["problems"] == ["variant is not valid UTF-8"]
    answer = gimel.track(make_rest_event("POST", body=f'{{"variant": "{chr(0xD800)}"}}'))
    assert read(answer)["problems"] == ["the body is not valid UTF-8"]


@pytest.mark.parametrize("control", ["\ud800", ["a"], {"a": 1}, True])
@pytest.mark.parametrize("entry", [gimel.experiment, gimel.all])
def test_a_control_that_is_no_text_is_a_400(fake, entry, control):
    gimel.track(EVENT)
    answer = entry(make_rest_event(query={"experiment": EVENT["experiment"], "control": control}))
    assert (answer["statusCode"], read(answer)["hint"]) == (400, "send control=NAME")


@pytest.mark.parametrize("record", [5, None, "m1", [], {}, {"messageId": 5, "body": 5}, {"body": "{}"}, DEEP])
def test_a_message_without_an_id_makes_the_whole_batch_come_back_with_the_others_counted(fake, record):
    event = make_queue_event(json.dumps(EVENT))
    event["Records"].append(record)
    assert gimel.track(event) == {"batchItemFailures": [{"itemIdentifier": ""}]}
    assert participants(fake) == 1


@pytest.mark.parametrize("body", [5, None, {"uuid": 1}, ["x"], "\ud800", DEEP])
def test_a_message_whose_body_is_no_event_stays_in_the_queue(fake, body):
    event = {"Records": [{"messageId": "m0", "body": body}]}
    assert gimel.track(event) == {"batchItemFailures": [{"itemIdentifier": "m0"}]}


@pytest.mark.parametrize("event", [None, 5, "x", [], [EVENT], True, {"Records": 5}, {"requestContext": None}, {5: 5}])
def test_a_flat_event_of_any_type_is_a_bad_request(fake, event):
    with pytest.raises(BadRequest):
        gimel.track(event)


def test_a_message_id_that_is_not_utf8_can_be_logged(fake, caplog):
    gimel.track({"Records": [{"messageId": "\ud800", "body": "no JSON"}]})
    assert "message \\ud800 cannot be counted" in caplog.text.encode().decode()
