from gimel import report


def test_goals_and_labels_are_sorted_and_every_variant_is_in_every_goal():
    counts = {
        "participate": {"red": 10, "blue": 9},
        "view": {"red": 30},
        "buy": {"green": 1, "blue": 2},
    }
    assert report.experiment(counts)["goals"] == [
        {
            "goal": "buy",
            "results": [
                {"label": "blue", "successes": 2, "trials": 9},
                {"label": "green", "successes": 1, "trials": 0},
                {"label": "red", "successes": 0, "trials": 10},
            ],
        },
        {
            "goal": "view",
            "results": [
                {"label": "blue", "successes": 0, "trials": 9},
                {"label": "green", "successes": 0, "trials": 0},
                {"label": "red", "successes": 30, "trials": 10},
            ],
        },
    ]


def test_participants_are_there_before_any_goal_is_reached():
    found = report.experiment({"participate": {"red": 5, "blue": 4}})
    assert found["participants"] == [{"label": "blue", "trials": 4}, {"label": "red", "trials": 5}]
    assert found["goals"] == []


def test_an_unknown_experiment_is_empty():
    assert report.experiment({}) == {"participants": [], "goals": []}
