"""Each kind of failure has a type of its own, which a caller can catch."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError, SSOTokenLoadError
from click.testing import CliRunner

from gimel.errors import GimelError
from gimel.ops.aws import client as aws_module
from gimel.ops.aws import errors, preflight
from gimel.ops.aws.client import Aws, failure
from gimel.ops.aws.findings import Finding, Level
from gimel.ops.commands import deployment as commands


def refused(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "ListFunctions")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (NoCredentialsError(), errors.CredentialsError),
        (SSOTokenLoadError(profile_name="me", error_msg="no token"), errors.CredentialsError),
        (refused("ExpiredTokenException"), errors.CredentialsError),
        (refused("InvalidClientTokenId"), errors.CredentialsError),
        (refused("AccessDeniedException"), errors.AwsError),
        (EndpointConnectionError(endpoint_url="https://sts.eu-west-1.amazonaws.com"), errors.AwsError),
    ],
)
def test_bad_credentials_are_told_apart_from_other_failures(error, kind):
    assert type(failure("could not verify AWS credentials", error)) is kind


def test_a_missing_region_and_a_missing_profile_have_their_types(monkeypatch):
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(errors.RegionError, match="no AWS region is set"):
        Aws().client("lambda")
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(errors.CredentialsError, match="nobody"):
        Aws().client("lambda")


@pytest.fixture
def raised(account, gimel_at, tmp_path, monkeypatch):
    """The error that a command raises, given these answers."""
    gimel_at()
    monkeypatch.setattr(aws_module.boto3, "Session", lambda **options: account.session)
    monkeypatch.setattr(preflight, "check_redis", lambda *ignored: iter(()))

    def raised(command, *options: str, answer: str = "") -> BaseException | None:
        arguments = ["--config", str(tmp_path / "config.json"), *options]
        return CliRunner().invoke(command, arguments, input=answer).exception

    return raised


def test_each_command_raises_the_type_of_its_failure(raised, monkeypatch):
    assert isinstance(raised(commands.api_key), errors.NotDeployed)
    assert isinstance(raised(commands.rollback, "--yes"), errors.NothingToRollBack)
    assert isinstance(raised(commands.deploy), errors.NotConfirmed)
    assert raised(commands.deploy, "--yes") is None
    assert isinstance(raised(commands.destroy), errors.NotConfirmed)
    assert isinstance(raised(commands.destroy, answer="shop\n"), errors.NotConfirmed)
    monkeypatch.setattr(preflight, "check_redis", lambda *ignored: iter([Finding(Level.ERROR, "Redis 2.6 is too old")]))
    assert isinstance(raised(commands.deploy), errors.PreflightFailed)


def test_an_interrupted_step_names_its_number_and_description(raised, monkeypatch):
    def interrupted(self, number, step, params):
        raise KeyboardInterrupt

    monkeypatch.setattr(Aws, "perform", interrupted)
    error = raised(commands.deploy, "--yes")
    assert isinstance(error, errors.Interrupted)
    assert (error.number, error.description) == (1, "create API key gimel")


def test_every_type_is_an_error_of_gimel_and_says_what_it_means():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and kind is not GimelError]
    assert len(kinds) > 10
    assert all(issubclass(kind, GimelError) and kind.__doc__ for kind in kinds)
