"""What holds for any input, tried on many."""

import json

import fakeredis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gimel
from gimel import config, connection
from gimel.keyspace import escape, unescape

from .calls import make_http_event, make_rest_event, taking_part
from .clusters import nodes_of

names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=200)
tricky = st.text("%3A25:ab{}", min_size=1, max_size=20) | st.sampled_from(["counter_keys", "counter%5Fkeys"])
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10)
fields = st.sampled_from(["experiment", "uuid", "variant", "event", "namespace", "scope"])
anything = st.text(st.characters(), max_size=20)
almost_events = st.dictionaries(fields, names | values)
bodies = st.one_of(
    (values | almost_events | st.lists(almost_events)).map(json.dumps), st.text(), st.text('[]{}",:0123456789eE.-')
)


def fresh() -> None:
    connection.use(config.Config(), fakeredis.FakeRedis())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(experiment=names | tricky, goal=names | tricky, variant=names | tricky, uuid=names)
def test_any_valid_names_survive_the_round_trip(real, experiment, goal, variant, uuid):
    for node in nodes_of(real):
        node.flushall()
    query = {"experiment": experiment, "event": goal, "variant": variant, "uuid": uuid}
    assert gimel.track(make_http_event(query=query))["body"] == "null"
    (item,) = gimel.all({})[1:]
    assert item["experiment"] == experiment
    if goal == "participate":
        assert taking_part(item) == {variant: 1}
    else:
        (found,) = item["goals"]
        (result,) = found["results"]
        assert (found["goal"], result["label"], result["successes"]) == (goal, variant, 1)


@given(one=names | tricky, other=names | tricky)
def test_two_names_are_never_written_alike(one, other):
    assert unescape(escape(one)) == one
    assert (escape(one) == escape(other)) == (one == other)


@settings(max_examples=300)
@given(body=bodies, kind=st.sampled_from(["application/json", "text/plain", "application/x-www-form-urlencoded", ""]))
def test_any_body_is_answered_200_or_400(body, kind):
    fresh()
    headers = {"content-type": kind}
    raw = body.encode("utf-8", "surrogatepass")
    for event in (
        make_rest_event("POST", body=body, headers=headers),
        make_http_event("POST", body=raw, headers=headers),
    ):
        answer = gimel.track(event)
        assert answer["statusCode"] in (200, 400)
        json.loads(answer["body"])


@given(raw=st.binary(max_size=50))
def test_any_bytes_are_answered_200_or_400(raw):
    fresh()
    assert gimel.track(make_http_event("POST", body=raw))["statusCode"] in (200, 400)


@given(query=st.dictionaries(fields | st.text(), names | anything), raw=st.text(st.characters(max_codepoint=255)))
def test_any_query_is_answered_200_or_400(query, raw):
    fresh()
    for entry in (gimel.track, gimel.experiment, gimel.all):
        assert entry(make_rest_event(query=query))["statusCode"] in (200, 400)
        assert entry(make_http_event(raw_query=raw))["statusCode"] in (200, 400)
