"""What can go wrong with a deployment: one type for each thing that a caller may want to handle."""

from __future__ import annotations

from gimel.errors import GimelError


class CredentialsError(GimelError):
    """AWS credentials are missing, expired or invalid."""


class RegionError(GimelError):
    """No AWS region is set."""


class WrongAccount(GimelError):
    """The credentials are for another account or region than `aws.account` and `aws.region` name."""


class AwsError(GimelError):
    """AWS could not be reached, or refused a call that changes nothing."""


class NameTaken(GimelError):
    """A function or role with a name that this deployment needs belongs to somebody else."""


class AmbiguousApi(GimelError):
    """Several APIs could be the one of this deployment."""


class BundleError(GimelError):
    """The zip could not be built."""


class PreflightFailed(GimelError):
    """Preflight found an error. Nothing was changed."""


class SelfTestFailed(GimelError):
    """The deployed URL does not count events. Everything is deployed."""


class NotConfirmed(GimelError):
    """A question was left unanswered, or the wrong name was given. Nothing was changed."""


class NotDeployed(GimelError):
    """There is no API, or no API key, in this account and region."""


class NothingToRollBack(GimelError):
    """There is no release to roll back to."""


class RollbackRefused(GimelError):
    """Functions of an earlier release could not reach Redis."""


class StepFailed(GimelError):
    """AWS refused a step, or its result never became ready. All steps before it are done."""

    def __init__(self, message: str, hint: str, number: int, description: str) -> None:
        super().__init__(message, hint)
        self.number = number
        self.description = description


class Interrupted(StepFailed):
    """Ctrl-C was pressed during a step."""
