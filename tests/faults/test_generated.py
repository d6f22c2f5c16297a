"""A short form of `python -m tests.faults.generated`."""

from __future__ import annotations

import pytest

from . import generated

pytestmark = pytest.mark.slow


def test_every_generated_input_is_answered_and_counted_as_documented(tmp_path):
    result = generated.main(5_000, folder=tmp_path)
    assert result.failures == []
    shapes = {f"{shape}{damage}" for shape in ("rest", "http", "queue", "flat", "bytes") for damage in ("", " damaged")}
    assert set(result.inputs) == shapes
    assert {"null", "ignored", "plain", "200", "400", "405", "BadRequest"} <= set(result.answers)
