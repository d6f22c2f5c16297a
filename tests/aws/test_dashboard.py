"""`gimel dashboard` finds what `gimel deploy` created."""

from __future__ import annotations

import re

import pytest

from gimel.ops.aws.errors import NotDeployed
from gimel.ops.commands.dashboard import find_deployment

from .account import apply


def test_the_deployed_api_and_its_key_are_found(account, gimel_at, tmp_path):
    apply(gimel_at())
    url, track_url, key = find_deployment(tmp_path / "config.json")
    # Reports come from the REST API, and events go to the HTTP API.
    assert re.fullmatch(r"https://\w+\.execute-api\.eu-west-1\.amazonaws\.com/prod", url)
    assert re.fullmatch(r"https://\w+\.execute-api\.eu-west-1\.amazonaws\.com/e", track_url)
    known = account.session.client("apigateway").get_api_key(apiKey=account.key(), includeValue=True)
    assert key == known["value"]


def test_without_a_deployment_the_error_says_how_to_make_one(account, gimel_at, tmp_path):
    gimel_at()
    with pytest.raises(NotDeployed, match="run `gimel deploy`"):
        find_deployment(tmp_path / "config.json")
