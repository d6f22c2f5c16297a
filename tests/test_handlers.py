import gimel
from tests.calls import EVENT, make_rest_event, read


def test_all_names_the_scope_and_reports_only_it(fake):
    for name in ("a", "b", "c"):
        gimel.track({**EVENT, "experiment": name})
    found = gimel.all({"scope": "c,a"})
    assert found[0] == {"meta": {"scope": "c,a"}}
    assert [item["experiment"] for item in found[1:]] == ["a", "c"]


def test_an_experiment_with_a_comma_in_its_name_can_be_asked_for(fake):
    for name in ("a", "a,b"):
        gimel.track({**EVENT, "experiment": name})
    assert [item["experiment"] for item in gimel.all({"scope": "a,b"})[1:]] == ["a,b"]


def test_an_unknown_experiment_is_an_empty_list(fake):
    assert gimel.experiment({"experiment": "nobody's"}) == []
    assert gimel.all({"scope": "nobody's"})[1:] == [{"experiment": "nobody's", "participants": [], "goals": []}]


def test_namespaces_are_kept_apart(fake):
    gimel.track(EVENT)
    gimel.track({**EVENT, "namespace": "staging"})
    gimel.delete({**EVENT, "namespace": "staging"})
    assert gimel.all({"namespace": "staging"})[1:] == []
    assert gimel.all({})[1]["participants"] == [{"label": "red", "trials": 1}]


def test_a_report_without_an_experiment_is_refused(fake):
    answer = gimel.experiment(make_rest_event())
    assert answer["statusCode"] == 400
    assert read(answer)["hint"] == "send experiment=NAME, and optionally namespace=NAME"


def test_a_deletion_is_answered_null(fake):
    gimel.track(EVENT)
    answer = gimel.delete(make_rest_event("DELETE", {"experiment": EVENT["experiment"]}))
    assert (answer["statusCode"], answer["body"]) == (200, "null")
    assert fake.dbsize() == 0
