"""`gimel queue`, as a user runs it."""

from __future__ import annotations

import pytest

from gimel.ops.aws import dead_letters

from .account import apply
from .test_drift import disabled_mapping, queue_url

pytestmark = pytest.mark.slow


@pytest.fixture
def send(account, gimel_at, monkeypatch):
    """Sends messages to a queue of a deployment, whose mapping is off: moto would take each delivery for a success."""
    apply(gimel_at())
    disabled_mapping(account)
    monkeypatch.setattr(dead_letters, "EMPTY_AFTER_S", 0)  # moto has no servers that could be skipped

    def send(name: str, *bodies: str, reason: str = "") -> None:
        attributes = {"reason": {"DataType": "String", "StringValue": reason}} if reason else {}
        for body in bodies:
            url = queue_url(account, name)
            account.client("sqs").send_message(QueueUrl=url, MessageBody=body, MessageAttributes=attributes)

    return send


def bodies(account, name: str) -> list[str]:
    found = account.client("sqs").receive_message(QueueUrl=queue_url(account, name), MaxNumberOfMessages=10)
    return sorted(message["Body"] for message in found.get("Messages", []))


def test_it_shows_what_waits_and_why_the_rest_was_not_counted(run, account, send):
    send("gimel-queue", "1", "2", "3")
    account.client("sqs").receive_message(QueueUrl=queue_url(account, "gimel-queue"))
    send("gimel-dead-letters", "4", "5", reason="uuid: required [/]")
    send("gimel-dead-letters", "6")
    shown = run("queue")
    lines = [line.strip() for line in shown.stdout.splitlines()]
    assert shown.exit_code == 0
    assert lines[0] == "gimel-queue in eu-west-1:"
    assert [line.split()[0] for line in lines[1:3]] == ["2", "1"]
    assert lines[4].startswith("3  dead letters: not counted, such as")
    assert lines[5:7] == ["2  uuid: required [/]", "1  could not be counted, after many attempts"]
    assert run("queue").stdout == shown.stdout, "looking at them moves nothing"


def test_empty_queues_are_shown_without_advice(run, send):
    shown = run("queue").stdout
    assert "0  dead letters: not counted\n" in shown
    assert "redrive" not in shown
    assert "There are no dead letters." in run("queue", "redrive").stdout


def test_dead_letters_are_sent_back_once_confirmed(run, account, send):
    sent = [str(number) for number in range(13)]
    send("gimel-dead-letters", *sent, reason="bad")
    refused = run("queue", "redrive", answer="n\n")
    assert "Send about 13 dead letters back to the queue?" in refused.stderr
    assert "Nothing was changed." in refused.stderr
    done = run("queue", "redrive", answer="y\n")
    assert done.stdout.startswith("13 dead letters were sent back")
    assert bodies(account, "gimel-dead-letters") == []
    assert sorted(bodies(account, "gimel-queue") + bodies(account, "gimel-queue")) == sorted(sent)


def test_what_becomes_a_dead_letter_meanwhile_is_not_sent_back_again(account, gimel_at, send):
    send("gimel-dead-letters", "1", "2")
    for _ in gimel_at().redrive(2):
        send("gimel-dead-letters", "again")
    assert len(bodies(account, "gimel-queue")) == 2
    assert bodies(account, "gimel-dead-letters") == ["again", "again"]


def test_yes_needs_no_answer_and_none_changes_nothing(run, account, send):
    send("gimel-dead-letters", "1")
    unanswered = run("queue", "redrive")
    assert (unanswered.exit_code, "answer y, or use --yes" in unanswered.stderr) == (1, True)
    assert run("queue", "redrive", "--yes").stdout.startswith("1 dead letters were sent back")


def test_the_configuration_may_be_named_before_or_after_redrive(run, send, tmp_path):
    (tmp_path / "shop.json").write_text('{"redis": {"host": "r"}, "aws": {"name": "shop"}}')
    for words in (("queue", "--config", "shop.json", "redrive"), ("queue", "redrive", "--config", "shop.json")):
        assert "there is no queue gimel-shop-queue" in run(*words).stderr


def test_without_a_queue_it_says_how_to_get_one(run):
    for words in (("queue",), ("queue", "redrive")):
        done = run(*words)
        assert (done.exit_code, "run `gimel deploy`" in done.stderr) == (1, True)
