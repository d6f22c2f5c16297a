"""Versions are published, moved, pruned and rolled back together."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gimel.ops.aws.errors import NothingToRollBack
from gimel.ops.aws.existing import Existing
from gimel.ops.aws.names import release_of
from gimel.ops.aws.plan import functions, undo
from gimel.ops.aws.plan.steps import Plan

from .account import FUNCTIONS, apply, descriptions

pytestmark = pytest.mark.slow


def live(account) -> dict[str, dict]:
    client = account.client("lambda")
    found = {}
    for name in FUNCTIONS:
        version = client.get_alias(FunctionName=name, Name="live")["FunctionVersion"]
        found[name] = client.get_function_configuration(FunctionName=name, Qualifier=version)
        del found[name]["ResponseMetadata"]
    return found


def memories(account) -> list[int]:
    return [configuration["MemorySize"] for configuration in live(account).values()]


def releases(account) -> set[str | None]:
    return {release_of(configuration["Description"]) for configuration in live(account).values()}


def versions(account, name: str = "gimel-track") -> list[int]:
    listed = account.client("lambda").list_versions_by_function(FunctionName=name)["Versions"]
    return sorted({int(item["Version"]) for item in listed if item["Version"].isdigit()})


def test_rollback_moves_every_function_to_its_previous_version(account, gimel_at):
    apply(gimel_at(memory_mb=256))
    before = live(account)
    apply(gimel_at(memory_mb=512))
    assert memories(account) == [512] * len(FUNCTIONS)
    apply(gimel_at(), gimel_at().plan_rollback())
    assert live(account) == before


def test_a_change_of_one_function_releases_all_so_that_they_roll_back_together(account, gimel_at):
    apply(gimel_at(memory_mb=256))
    first = releases(account)
    apply(gimel_at(memory_mb=512))
    apply(gimel_at(memory_mb=512, functions={"gimel-track": {"memory_mb": 1024}}))
    assert len(releases(account)) == 1
    apply(gimel_at(), gimel_at().plan_rollback())
    assert memories(account) == [512] * len(FUNCTIONS)
    apply(gimel_at(), gimel_at().plan_rollback())
    assert releases(account) == first


@pytest.mark.parametrize("done", [min, max], ids=["before any function ran it", "before the last one did"])
def test_an_interrupted_deploy_is_not_a_release_to_roll_back_to(account, gimel_at, done):
    apply(gimel_at(memory_mb=256))
    broken = gimel_at(memory_mb=300).plan()
    published = next(i for i, step in enumerate(broken.steps, 1) if step.call == "publish_version")
    moved = len(broken.steps) - 1
    assert broken.steps[moved].call == "update_alias"
    apply(gimel_at(), type(broken)(broken.steps[: done(published, moved)], broken.values))
    apply(gimel_at(memory_mb=512))
    apply(gimel_at(), gimel_at().plan_rollback())
    assert memories(account) == [256] * len(FUNCTIONS)


def test_rollback_to_a_named_release_can_also_go_forward(account, gimel_at):
    apply(gimel_at(memory_mb=256))
    apply(gimel_at(memory_mb=512))
    (newest,) = releases(account)
    apply(gimel_at(), gimel_at().plan_rollback())
    apply(gimel_at(), gimel_at().plan_rollback(newest))
    assert memories(account) == [512] * len(FUNCTIONS)
    with pytest.raises(NothingToRollBack, match="of release nonsense"):
        gimel_at().plan_rollback("nonsense")


def test_a_note_says_that_a_deploy_ends_a_rollback(account, gimel_at):
    apply(gimel_at(memory_mb=256))
    apply(gimel_at(memory_mb=512))
    apply(gimel_at(), gimel_at().plan_rollback())
    plan = gimel_at(memory_mb=512).plan()
    assert descriptions(plan)[0] == "point alias live of gimel-track to version 2 (now version 1)"
    assert len(plan.steps) == len(FUNCTIONS)
    assert any("a rollback is in effect" in note for note in plan.notes)


def test_a_function_newer_than_the_release_stays_as_it_is(account, gimel_at):
    extra = {
        "lambda": {"FunctionName": "cart", "Handler": "gimel.track"},
        "api_gateway": {"pathPart": "cart", "method": {"httpMethod": "GET"}},
    }
    apply(gimel_at())
    (release,) = releases(account)
    apply(gimel_at({"extra_wiring": [extra]}, memory_mb=512))
    plan = gimel_at({"extra_wiring": [extra]}).plan_rollback()
    assert any("cart has no version of release" in note and "stays as it is" in note for note in plan.notes)
    apply(gimel_at(), plan)
    assert memories(account) == [256] * len(FUNCTIONS)
    apply(gimel_at({"extra_wiring": [extra]}, memory_mb=512))
    apply(gimel_at({"extra_wiring": [extra]}, memory_mb=600))
    apply(gimel_at(), gimel_at().plan_rollback(release))
    with pytest.raises(NothingToRollBack, match="earlier release"):
        gimel_at().plan_rollback()  # not to what cart alone was before


def test_a_release_deployed_again_is_rolled_back_to_what_was_live_in_between(account, gimel_at):
    for memory in (256, 512, 256):
        apply(gimel_at(memory_mb=memory))
    assert versions(account) == [1, 2]
    assert notes_about_a_rollback(gimel_at().plan()) == []
    apply(gimel_at(), gimel_at().plan_rollback())
    assert memories(account) == [512] * len(FUNCTIONS)
    apply(gimel_at(), gimel_at().plan_rollback())
    assert memories(account) == [256] * len(FUNCTIONS)


def notes_about_a_rollback(plan) -> list[str]:
    return [note for note in plan.notes if "a rollback is in effect" in note]


def test_a_second_rollback_goes_one_release_further_back_and_a_deploy_begins_anew(account, gimel_at):
    for memory in (256, 300, 400):
        apply(gimel_at(memory_mb=memory))
    (newest,) = releases(account)
    for memory in (300, 256):
        apply(gimel_at(), gimel_at().plan_rollback())
        assert memories(account) == [memory] * len(FUNCTIONS)
        (note,) = notes_about_a_rollback(gimel_at().plan())
        assert newest in note
    with pytest.raises(NothingToRollBack, match="no version of an earlier release"):
        gimel_at().plan_rollback()
    apply(gimel_at(memory_mb=500))
    assert notes_about_a_rollback(gimel_at().plan()) == []
    apply(gimel_at(), gimel_at().plan_rollback())
    assert memories(account) == [256] * len(FUNCTIONS)


def test_a_deploy_of_what_a_rollback_made_live_ends_the_rollback(account, gimel_at):
    apply(gimel_at(memory_mb=256))
    apply(gimel_at(memory_mb=512))
    apply(gimel_at(), gimel_at().plan_rollback())
    apply(gimel_at(memory_mb=256))
    plan = gimel_at(memory_mb=256).plan()
    assert (plan.steps, notes_about_a_rollback(plan)) == ((), [])


def test_a_rollback_interrupted_after_any_step_goes_on_to_the_same_release(account, gimel_at):
    for memory in (256, 300, 400):
        apply(gimel_at(memory_mb=memory))
    for _ in FUNCTIONS:
        plan = gimel_at().plan_rollback()
        apply(gimel_at(), Plan(plan.steps[:1]))
    assert memories(account) == [300] * len(FUNCTIONS)


def test_after_an_interrupted_deploy_a_rollback_undoes_what_it_did(account, gimel_at):
    apply(gimel_at(memory_mb=256))
    apply(gimel_at(memory_mb=300))
    plan = gimel_at(memory_mb=400).plan()
    moved = next(i for i, step in enumerate(plan.steps, 1) if step.call == "update_alias")
    apply(gimel_at(), Plan(plan.steps[:moved], plan.values))
    assert sorted(memories(account)) == [*[300] * (len(FUNCTIONS) - 1), 400]
    apply(gimel_at(), gimel_at().plan_rollback())
    assert memories(account) == [300] * len(FUNCTIONS)


def test_without_a_record_of_releases_their_versions_tell_the_order(account, gimel_at):
    for memory in (256, 300, 400):
        apply(gimel_at(memory_mb=memory))
    for name in FUNCTIONS:
        account.client("lambda").update_alias(FunctionName=name, Name="live", Description="")
    apply(gimel_at(), gimel_at().plan_rollback())
    assert memories(account) == [300] * len(FUNCTIONS)


def test_restoring_brings_back_what_was_live_and_says_that_it_is_a_rollback(account, gimel_at):
    apply(gimel_at(memory_mb=256))
    before, live_before = gimel_at().observe(), live(account)
    assert undo.restore(before, before).steps == ()
    apply(gimel_at(memory_mb=512))
    (left,) = releases(account)
    apply(gimel_at(), undo.restore(before, gimel_at().observe()))
    assert live(account) == live_before
    (note,) = notes_about_a_rollback(gimel_at(memory_mb=512).plan())
    assert left in note
    apply(gimel_at(memory_mb=512))
    apply(gimel_at(), undo.restore(before))
    assert live(account) == live_before
    assert notes_about_a_rollback(gimel_at(memory_mb=512).plan())


def test_without_an_earlier_release_a_rollback_is_an_error(account, gimel_at):
    with pytest.raises(NothingToRollBack, match="nothing to roll back"):
        gimel_at().plan_rollback()
    apply(gimel_at())
    with pytest.raises(NothingToRollBack, match="earlier release"):
        gimel_at().plan_rollback()


def test_the_newest_five_versions_are_kept(account, gimel_at):
    for memory in range(256, 264):
        apply(gimel_at(memory_mb=memory))
        assert descriptions(gimel_at(memory_mb=memory).plan()) == []
    assert versions(account) == [4, 5, 6, 7, 8]
    assert memories(account) == [263] * len(FUNCTIONS)


def snap_started(existing: Existing, *numbers: int) -> Existing:
    """The state with SnapStart for these versions of gimel-track, which moto ignores."""
    track = existing.functions["gimel-track"]
    on = {number: {**track.versions[number], "SnapStart": {"ApplyOn": "PublishedVersions"}} for number in numbers}
    changed = replace(track, versions={**track.versions, **on})
    return replace(existing, functions={**existing.functions, "gimel-track": changed})


def pruned(deployment, existing: Existing) -> list[str]:
    texts = [step.description for step in functions.prune(deployment.desired, existing)]
    return [text for text in texts if "gimel-track" in text]


def test_two_versions_with_snapshots_are_kept_because_each_costs(account, gimel_at):
    for memory in (256, 257, 258, 259):
        apply(gimel_at(memory_mb=memory))
    existing = snap_started(gimel_at().observe(), 1, 2, 3, 4)
    older = [f"delete version {number} of gimel-track" for number in (1, 2)]
    assert pruned(gimel_at(memory_mb=260), existing) == older  # SnapStart was just switched off
    on = gimel_at(memory_mb=260, snap_start=True, runtime="python3.13")
    assert pruned(on, existing) == [*older, "delete version 3 of gimel-track"]
    # Versions without a snapshot cost nothing.
    assert pruned(on, snap_started(gimel_at().observe(), 4)) == []


def test_the_releases_that_were_live_last_are_kept_rather_than_the_newest_versions(account, gimel_at):
    for memory in (256, 257, 258, 259, 260, 256, 261):
        apply(gimel_at(memory_mb=memory))
    assert versions(account) == [1, 3, 4, 5, 6]


def test_up_to_five_versions_are_kept(account, gimel_at):
    apply(gimel_at(memory_mb=256))
    apply(gimel_at(memory_mb=257))
    assert versions(account) == [1, 2]


def test_a_version_with_an_alias_is_never_deleted(account, gimel_at):
    apply(gimel_at(memory_mb=256))
    account.client("lambda").create_alias(FunctionName="gimel-track", FunctionVersion="1", Name="canary")
    for memory in range(257, 264):
        apply(gimel_at(memory_mb=memory))
    assert versions(account) == [1, 4, 5, 6, 7, 8]
    assert descriptions(gimel_at(memory_mb=263).plan()) == []


def test_the_version_that_a_rollback_left_live_survives_the_next_deploy(account, gimel_at):
    for memory in range(256, 261):
        apply(gimel_at(memory_mb=memory))
    (oldest,) = (release for number, release in releases_of(gimel_at) if number == 1)
    apply(gimel_at(), gimel_at().plan_rollback(oldest))
    apply(gimel_at(memory_mb=300))
    assert 1 in versions(account)
    assert memories(account) == [300] * len(FUNCTIONS)


def releases_of(gimel_at):
    return gimel_at().observe().functions["gimel-track"].releases.items()
