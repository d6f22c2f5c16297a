"""Event in, whole answer out, one class for each shape."""

import json
from urllib.parse import urlencode

import fakeredis
import pytest

import gimel
from gimel import config, connection, keyspace
from gimel.errors import BadRequest
from gimel.events import HINT
from gimel.gateway import FORM, Answer, Entry, to_json
from gimel.settings import ExperimentSettings

from .calls import EVENT, make_http_event, make_queue_event, make_rest_event, participants, plain, post, read

HEADERS = {
    "Content-Type": "application/json",
    "Cache-Control": "no-cache, no-store, must-revalidate",
    "Pragma": "no-cache",
    "Access-Control-Expose-Headers": "Retry-After, X-Gimel-Ignored",
    "Access-Control-Allow-Origin": "*",
}
ACCEPTED = {"statusCode": 200, "headers": HEADERS, "body": "null", "isBase64Encoded": False}

META = {
    "meta": {
        "scope": None,
        "ignored": {},
        "namespaces": ["alephbet"],
        "next": None,
        "archived": [],
        "turned_away": [],
        "access": "write",
    }
}
"""The first item of a report without ignored requests."""


class Broken(fakeredis.FakeRedis):
    """A Redis that fails in an unexpected way."""

    def __init__(self) -> None:
        super().__init__()
        self.connection_pool.get_connection = self.fail

    def fail(self):
        raise ZeroDivisionError("secret")


class TestRestApi:
    def test_a_get_is_accepted_with_null(self, real):
        assert gimel.track(make_rest_event(query=EVENT), None) == ACCEPTED
        assert participants(real) == 1

    def test_a_post_of_one_event_is_accepted(self, real):
        assert gimel.track(post(EVENT), None) == ACCEPTED
        assert participants(real) == 1

    @pytest.mark.parametrize("content_type", ["text/plain;charset=UTF-8", "application/json; charset=utf-8", "", FORM])
    def test_json_is_taken_whatever_it_is_called(self, real, content_type):
        assert gimel.track(post(EVENT, content_type), None) == ACCEPTED
        assert gimel.track(post([EVENT], content_type), None) == ACCEPTED

    def test_a_handler_sees_the_variables_of_the_stage(self):
        told = Entry(lambda request: Answer(request.stage.get("track_url")), {"GET": None})
        event = make_rest_event()
        assert (
            told({**event, "stageVariables": {"track_url": "https://e.example/e"}})["body"] == '"https://e.example/e"'
        )
        assert told({**event, "stageVariables": None})["body"] == "null"

    def test_white_space_before_json_does_not_make_it_a_form(self, real):
        body = f"\n {json.dumps(EVENT)}"
        assert gimel.track(make_rest_event("POST", body=body, headers={"content-type": FORM}), None) == ACCEPTED

    @pytest.mark.parametrize("content_type", [FORM, f"{FORM}; charset=UTF-8", FORM.upper()])
    def test_a_form_is_accepted(self, real, content_type):
        headers = {"Content-Type": content_type}
        form = urlencode({**EVENT, "experiment": "größer & +"})
        assert gimel.track(make_rest_event("POST", body=form, headers=headers), None) == ACCEPTED
        assert real.smembers("alephbet:experiments") == {"größer & +"}

    def test_a_post_without_a_body_has_its_event_in_the_query(self, real):
        assert gimel.track(make_rest_event("POST", query=EVENT), None) == ACCEPTED
        assert participants(real) == 1

    def test_the_body_of_a_get_is_not_read(self, real):
        assert gimel.track(make_rest_event(query=EVENT, body="nonsense"), None) == ACCEPTED
        assert participants(real) == 1

    def test_numbers_keep_the_text_they_were_sent_as(self, real):
        for uuid in ("1e400", "9" * 200):
            body = f'{{"experiment": "numbers", "uuid": {uuid}, "variant": 1.50, "event": -0}}'
            assert gimel.track(make_rest_event("POST", body=body), None) == ACCEPTED
        assert real.pfcount("alephbet:counters:numbers:-0:1.50") == 2

    def test_nothing_at_all_is_a_400_that_names_all_that_is_missing(self, real):
        answer = gimel.track(make_rest_event(), None)
        assert answer["statusCode"] == 400
        assert answer["headers"] == HEADERS
        assert read(answer)["problems"] == [f"{name} is missing" for name in ("experiment", "variant", "event", "uuid")]

    def test_a_bad_event_is_a_400_that_says_what_to_send(self, real):
        answer = gimel.track(post({**EVENT, "uuid": "", "variant": None}), None)
        assert answer["statusCode"] == 400
        problems = ["variant is missing", "uuid is empty"]
        assert read(answer) == {"error": "; ".join(problems), "problems": problems, "hint": HINT}

    def test_a_number_that_json_lacks_is_a_400(self, real):
        body = json.dumps({**EVENT, "uuid": float("nan")})
        answer = gimel.track(make_rest_event("POST", body=body), None)
        assert answer["statusCode"] == 400
        assert read(answer)["problems"] == ["the body is neither JSON nor a form"]
        assert read(answer)["hint"] == f"{HINT}; or a list of such events"

    def test_an_empty_field_of_a_form_is_not_missing_but_empty(self, real):
        body = urlencode({**EVENT, "uuid": ""})
        answer = gimel.track(make_rest_event("POST", body=body, headers={"content-type": FORM}), None)
        assert read(answer)["problems"] == ["uuid is empty"]

    @pytest.mark.parametrize("body", ["{", "[NaN]", "Infinity", '"\ud800"', "[" * 100_000, "nonsense"])
    def test_what_is_not_json_is_a_400(self, real, body):
        assert gimel.track(make_rest_event("POST", body=body), None)["statusCode"] == 400

    def test_a_list_counts_the_good_and_names_the_bad(self, real):
        answer = gimel.track(post([EVENT, {"uuid": "x"}, {**EVENT, "uuid": "u2"}]), None)
        assert answer["statusCode"] == 200
        missing = [f"{name} is missing" for name in ("experiment", "variant", "event")]
        assert read(answer) == {
            "error": "1 of 3 events refused",
            "counted": 2,
            "refused": [{"item": 1, "problems": missing}],
            "hint": HINT,
        }
        assert participants(real) == 2

    def test_a_list_of_good_events_is_answered_null(self, real):
        assert gimel.track(post([EVENT, EVENT]), None) == ACCEPTED

    def test_a_list_of_bad_events_is_a_400(self, real):
        answer = gimel.track(post([{}, 5]), None)
        assert answer["statusCode"] == 400
        assert [one["item"] for one in read(answer)["refused"]] == [0, 1]

    def test_a_list_has_1_to_500_events(self, real):
        assert gimel.track(post([EVENT]), None) == ACCEPTED
        assert gimel.track(post([EVENT] * 500), None) == ACCEPTED
        assert gimel.track(post([]), None)["statusCode"] == 400
        too_many = gimel.track(post([EVENT] * 501), None)
        assert too_many["statusCode"] == 400
        assert read(too_many)["hint"] == "send 1 to 500 events at a time"

    def test_a_list_that_is_partly_ignored_and_partly_bad_must_not_come_back(self, real):
        connection.use(config.Config(allowed_experiments=frozenset({"other"})), connection.client())
        answer = gimel.track(post([EVENT, {}, {}]), None)
        assert (answer["statusCode"], read(answer)["counted"]) == (200, 0)
        assert read(answer)["error"] == "2 of 3 events refused"
        assert answer["headers"]["X-Gimel-Ignored"] == "experiment"

    def test_a_hundred_and_one_names_in_a_form_are_a_400(self, real):
        form = "&".join(f"n{number}=1" for number in range(101))
        headers = {"content-type": FORM}
        answer = gimel.track(make_rest_event("POST", body=form, headers=headers), None)
        assert read(answer)["problems"] == ["more than 100 parameters"]
        assert read(answer)["hint"] == HINT

    def test_a_body_that_is_an_object_already_is_taken(self, real):
        assert gimel.track(make_rest_event("POST", body=EVENT), None) == ACCEPTED

    def test_options_is_answered_for_the_preflight(self, real):
        answer = gimel.delete(make_rest_event("OPTIONS"), None)
        assert (answer["statusCode"], answer["body"]) == (204, "")
        assert answer["headers"] == HEADERS | {
            "Access-Control-Allow-Methods": "DELETE, OPTIONS",
            "Access-Control-Allow-Headers": "content-type, x-api-key",
            "Access-Control-Max-Age": "86400",
        }

    def test_other_methods_do_nothing(self, real):
        gimel.track(make_rest_event(query=EVENT), None)
        answer = gimel.delete(make_rest_event("GET", query=EVENT), None)
        assert answer["statusCode"] == 405
        assert answer["headers"]["Allow"] == "DELETE, OPTIONS"
        assert read(answer) == {"error": "method GET is not allowed", "hint": "use DELETE"}
        assert gimel.track(make_rest_event("PUT"), None)["headers"]["Allow"] == "GET, POST, OPTIONS"
        assert participants(real) == 1

    def test_only_configured_origins_are_allowed(self, real):
        connection.use(config.Config(cors_origins=("https://a.example", "https://b.example")), connection.client())
        for origin, allowed in [
            ("https://b.example", "https://b.example"),
            ("https://evil.example", "https://a.example"),
        ]:
            answer = gimel.track(make_rest_event(query=EVENT, headers={"Origin": origin}), None)
            assert answer["headers"]["Access-Control-Allow-Origin"] == allowed
            assert answer["headers"]["Vary"] == "Origin"

    def test_an_experiment_that_is_not_allowed_is_ignored_for_good(self, real):
        connection.use(config.Config(allowed_experiments=frozenset({"other"})), connection.client())
        answer = gimel.track(make_rest_event(query=EVENT), None)
        assert (answer["statusCode"], answer["body"]) == (200, "null")
        assert answer["headers"]["X-Gimel-Ignored"] == "experiment"
        assert list(real.scan_iter()) == [keyspace.ignored_key()]

    def test_the_reasons_why_events_are_ignored_are_named_together(self, real):
        own = ExperimentSettings(variants=frozenset({"red"}), goals=frozenset({"buy"}))
        connection.use(config.Config(experiments={EVENT["experiment"]: own}), connection.client())
        answer = gimel.track(post([EVENT, {**EVENT, "variant": "blue"}, {**EVENT, "event": "view"}]), None)
        assert (answer["statusCode"], answer["body"]) == (200, "null")
        assert answer["headers"]["X-Gimel-Ignored"] == "goal, variant"
        assert participants(real) == 1

    def test_an_unexpected_failure_is_a_500_that_says_nothing_of_it(self, real, caplog):
        connection.use(config.Config(), Broken())
        answer = gimel.track(make_rest_event(query=EVENT), None)
        assert answer["statusCode"] == 500
        assert answer["headers"] == HEADERS
        assert read(answer) == {"error": "internal error", "hint": "see the log for the cause"}
        assert caplog.messages == ["secret"]

    def test_a_missing_configuration_is_a_500_with_cors(self, tmp_path, monkeypatch, caplog):
        monkeypatch.chdir(tmp_path)
        answer = gimel.all(make_rest_event(), None)
        assert answer["statusCode"] == 500
        assert answer["headers"]["Access-Control-Allow-Origin"] == "*"
        assert "GIMEL_REDIS_URL" in caplog.text

    def test_a_broken_configuration_is_a_500_that_every_page_can_read(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "config.json").write_text("{")
        answer = gimel.track(make_rest_event(query=EVENT, headers={"origin": "https://a.example"}), None)
        assert answer["statusCode"] == 500
        assert answer["headers"]["Access-Control-Allow-Origin"] == "*"


class TestHttpApi:
    def test_a_get_is_accepted_with_null(self, real):
        assert gimel.track(make_http_event(query=EVENT), None) == ACCEPTED
        assert participants(real) == 1

    def test_a_base64_body_is_decoded(self, real):
        assert gimel.track(make_http_event("POST", body=json.dumps(EVENT).encode()), None) == ACCEPTED
        assert participants(real) == 1

    def test_a_value_with_a_comma_is_one_value(self, real):
        gimel.track(make_http_event(query={**EVENT, "experiment": "a,b"}), None)
        assert real.smembers("alephbet:experiments") == {"a,b"}

    def test_a_call_without_a_method_is_a_get(self, real):
        event = make_http_event(query=EVENT)
        del event["requestContext"]["http"]["method"]
        assert gimel.track(event, None) == ACCEPTED

    @pytest.mark.parametrize(
        ("event", "problem"),
        [
            (make_http_event(raw_query="experiment=%FF"), "a value is not valid UTF-8"),
            (make_http_event("POST", body=b'{"experiment": "\xff"}'), "the body is not valid UTF-8"),
            ({**make_http_event("POST", body=b"x"), "body": "%%%"}, "the body is not valid base64"),
            ({**make_http_event("POST", body=b"x"), "body": "e30=%"}, "the body is not valid base64"),
        ],
    )
    def test_what_cannot_be_decoded_is_a_400_that_says_so(self, real, event, problem):
        answer = gimel.track(event, None)
        assert answer["statusCode"] == 400
        assert read(answer) == {"error": problem, "problems": [problem], "hint": HINT}


class TestQueue:
    def test_a_batch_is_counted_and_nothing_comes_back(self, real):
        event = make_queue_event(json.dumps(EVENT), json.dumps([{**EVENT, "uuid": "u2"}, EVENT]))
        assert gimel.track(event, None) == {"batchItemFailures": []}
        assert participants(real) == 2

    def test_only_bad_messages_stay_in_the_queue(self, real, caplog):
        event = make_queue_event(json.dumps(EVENT), "not json", json.dumps([{**EVENT, "uuid": "u2"}, {}]))
        failures = gimel.track(event, None)["batchItemFailures"]
        assert failures == [{"itemIdentifier": "m1"}, {"itemIdentifier": "m2"}]
        assert participants(real) == 2
        unread, refused = caplog.messages
        stays = "cannot be counted, and stays in its queue"
        assert unread == f"message m1 {stays}: the body is neither JSON nor a form"
        assert refused.startswith(f"message m2 {stays}: experiment is missing; ")

    def test_each_message_with_a_bad_event_is_named_once(self, real, caplog):
        failures = gimel.track(make_queue_event("[{}, {}]", json.dumps(EVENT), "{}"), None)["batchItemFailures"]
        assert failures == [{"itemIdentifier": "m0"}, {"itemIdentifier": "m2"}]
        assert [message.partition(" cannot")[0] for message in caplog.messages] == ["message m0", "message m2"]

    def test_messages_that_cannot_be_read_reach_no_handler(self, real):
        connection.use(config.Config(), Broken())
        failures = gimel.track(make_queue_event("not json", "[]"), None)["batchItemFailures"]
        assert failures == [{"itemIdentifier": "m0"}, {"itemIdentifier": "m1"}]

    def test_an_outage_keeps_every_message_in_the_queue(self, real, caplog):
        connection.use(config.Config(), Broken())
        event = make_queue_event(json.dumps(EVENT), "not json", json.dumps(EVENT))
        failures = gimel.track(event, None)["batchItemFailures"]
        assert sorted(failure["itemIdentifier"] for failure in failures) == ["m0", "m1", "m2"]
        assert caplog.messages[0] == "no message of this batch was counted: secret"
        assert caplog.records[0].exc_info[0] is ZeroDivisionError


class TestFlat:
    def test_plain_in_plain_out(self, real):
        assert gimel.track(EVENT, None) is None
        assert gimel.track({**EVENT, "event": "buy", "namespace": ""}, None) is None
        assert plain(gimel.experiment({"experiment": "button color"})) == [
            {"goal": "buy", "results": [{"label": "red", "successes": 1, "trials": 1}]}
        ]
        assert gimel.all({"scope": ""})[0] == META
        assert gimel.delete({"experiment": "button color", "namespace": "alephbet"}) is None
        assert gimel.all({}) == [META]

    @pytest.mark.parametrize("event", [{}, {**EVENT, "uuid": ""}, None, []])
    def test_a_mistake_fails_the_invocation(self, real, event):
        with pytest.raises(BadRequest, match=r"uuid|an event must be an object"):
            gimel.track(event, None)

    def test_an_event_that_is_no_object_has_no_parameters(self, real):
        assert gimel.all(None, None) == gimel.all([], None) == [META]

    def test_a_mistake_is_described_in_json(self, real):
        with pytest.raises(BadRequest) as caught:
            gimel.track({**EVENT, "uuid": ""}, None)
        assert json.loads(str(caught.value)) == {"error": "uuid is empty", "problems": ["uuid is empty"], "hint": HINT}


def test_an_answer_is_compact_json_in_any_script():
    assert to_json({"name": ["größer", 1, None]}) == '{"name":["größer",1,null]}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json(float("nan"))
