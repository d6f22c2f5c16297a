"""The order of releases survives being written into the description of an alias."""

from __future__ import annotations

from gimel.ops.aws.history import MAX_RELEASES, History

MOST = History(tuple(f"{number:012x}" for number in range(MAX_RELEASES)), "f" * 12)


def test_a_history_is_read_as_it_was_written():
    for history in (History(("a",)), History(("a", "b", "a")), History(("a", "b"), "c"), MOST):
        assert History.parse(str(history)) == history


def test_the_longest_history_fits_into_a_description():
    assert len(str(MOST)) <= 256
    assert len(MOST.deployed("another").releases) == MAX_RELEASES


def test_other_descriptions_record_nothing():
    for text in ("", "releases, newest first: ", "mine", "releases, newest first: a, b"):
        assert History.parse(text) == History()


def test_a_deploy_goes_in_front_unless_it_is_there_and_ends_a_rollback():
    assert History(("b", "a")).deployed("a") == History(("a", "b", "a"))
    assert History(("b", "a")).deployed("b") == History(("b", "a"))
    assert History(("a",), "b").deployed("a") == History(("a",))


def test_a_rollback_drops_what_came_after_and_remembers_what_it_left():
    once = History(("c", "b", "a")).rolled_back_to("b")
    assert once == History(("b", "a"), "c")
    assert once.rolled_back_to("a") == History(("a",), "c")
    assert once.rolled_back_to("c") == History(("c", "b", "a"))
