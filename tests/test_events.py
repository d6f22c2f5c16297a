import pytest

from gimel.errors import BadRequest
from gimel.events import HINT, Event, read_batch, read_event, read_experiment, read_namespace, read_scope

from .calls import EVENT


def problems_of(**changes) -> list[str]:
    with pytest.raises(BadRequest) as caught:
        read_event({**EVENT, **changes})
    return caught.value.problems


def test_an_event_is_read_as_it_was_sent():
    assert read_event({**EVENT, "namespace": "shop"}) == Event("shop", "button color", "participate", "red", "u1")


def test_numbers_are_taken_as_their_text():
    event = read_event({**EVENT, "uuid": 17, "variant": 1.5})
    assert (event.uuid, event.variant) == ("17", "1.5")


@pytest.mark.parametrize("given", [None, "", "undefined"])
def test_no_namespace_means_alephbet(given):
    assert read_event({**EVENT, "namespace": given}).namespace == "alephbet"
    assert read_namespace({"namespace": given}) == "alephbet"


def test_everything_that_is_wrong_is_named_at_once():
    with pytest.raises(BadRequest) as caught:
        read_event({"experiment": "", "variant": "x" * 201, "event": ["buy"], "namespace": "a:b"})
    assert caught.value.problems == [
        "experiment is empty",
        "variant has 201 characters; at most 200 are allowed",
        "event must be text, not a list",
        "uuid is missing",
        "namespace contains a colon",
    ]
    assert "send experiment, variant, event, uuid" in caught.value.hint


def test_a_name_may_be_wrong_in_more_than_one_way():
    assert problems_of(variant="\n\ud800" * 101, namespace=":" * 201) == [
        "variant has 202 characters; at most 200 are allowed",
        "variant contains a control character",
        "variant is not valid UTF-8",
        "namespace has 201 characters; at most 200 are allowed",
        "namespace contains a colon",
    ]


@pytest.mark.parametrize("text", ["a\x00b", "\n", "\x7f", "\x85"])
def test_control_characters_are_refused(text):
    assert problems_of(variant=text) == ["variant contains a control character"]


def test_lone_surrogates_are_refused():
    assert problems_of(event="\ud83d") == ["event is not valid UTF-8"]


def test_two_hundred_characters_of_any_script_are_accepted():
    assert read_event({**EVENT, "experiment": "🎯" * 200}).experiment == "🎯" * 200


@pytest.mark.parametrize(
    ("item", "kind"),
    [(None, "null"), ([], "a list"), ("text", "a single value"), (5, "a single value"), (True, "true or false")],
)
def test_only_an_object_is_an_event(item, kind):
    with pytest.raises(BadRequest) as caught:
        read_event(item)
    assert caught.value.problems == [f"an event must be an object, not {kind}"]
    assert caught.value.hint == HINT


@pytest.mark.parametrize(("value", "kind"), [(True, "true or false"), ({}, "an object"), ([], "a list")])
def test_only_text_and_numbers_are_names(value, kind):
    assert problems_of(uuid=value, namespace=value) == [
        f"uuid must be text, not {kind}",
        f"namespace must be text, not {kind}",
    ]


def test_a_namespace_with_a_colon_is_refused():
    with pytest.raises(BadRequest) as caught:
        read_namespace({"namespace": "a:b"})
    assert caught.value.problems == ["namespace contains a colon"]
    assert caught.value.hint == "a namespace is text without a colon"


def test_a_batch_keeps_the_good_and_says_where_the_bad_are():
    other = {**EVENT, "experiment": "other"}
    batch = read_batch([EVENT, {}, other, other], lambda event: "limit" if event.experiment == "other" else None)
    assert [event.experiment for event in batch.accepted] == ["button color"]
    assert batch.ignored == [(read_event(other), "limit")] * 2
    assert list(batch.refused) == [1]


def test_an_experiment_is_asked_for_by_name_and_namespace():
    assert read_experiment({"experiment": "e", "namespace": "n"}) == ("n", "e")
    with pytest.raises(BadRequest, match="experiment is missing; namespace contains a colon"):
        read_experiment({"namespace": "a:b"})


def test_what_an_older_gimel_named_can_still_be_asked_for():
    assert read_experiment({"experiment": "x" * 300 + "\n"})[1] == "x" * 300 + "\n"
    assert read_scope({"scope": "a\x00,b"}) == "a\x00,b"
    for read in (read_experiment, read_scope):
        with pytest.raises(BadRequest, match=r"is not valid UTF-8: send (experiment|scope)=NAME,"):
            read({"experiment": "\ud83d", "scope": "\udcff"})
