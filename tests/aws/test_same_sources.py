"""Machines whose Pythons compile the same sources differently do not deploy over each other."""

from __future__ import annotations

import io
from collections.abc import Callable
from zipfile import ZipFile, ZipInfo

import pytest

from gimel.ops.aws import desired
from gimel.ops.aws.bundle import Bundle

from .account import apply, descriptions, small_zip

pytestmark = pytest.mark.slow


@pytest.fixture
def built_with(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], None]:
    """Let deploys use zips with the same sources and other compiled files, or None at all."""

    def use(compiled: str | None) -> None:
        buffer = io.BytesIO()
        with ZipFile(buffer, "w") as archive:
            archive.writestr(ZipInfo("a.py"), "def track(event, context): pass")
            if compiled:
                archive.writestr(ZipInfo("a.pyc"), compiled)
        built = Bundle(buffer.getvalue(), compiled is not None)
        monkeypatch.setattr(desired.bundle, "build", lambda *ignored: built)

    return use


def test_a_zip_of_the_same_sources_that_another_python_compiled_is_no_drift(gimel_at, account, built_with):
    built_with("by 3.13.0")
    apply(gimel_at())
    built_with("by 3.13.2")
    assert descriptions(gimel_at().plan()) == []
    built_with(None)
    assert descriptions(gimel_at().plan()) == [], "compiled code is not replaced by sources"


def test_sources_are_replaced_by_compiled_code_once(gimel_at, account, built_with):
    built_with(None)
    apply(gimel_at())
    built_with("by 3.13.0")
    assert "update code of gimel-track" in descriptions(gimel_at().plan())
    apply(gimel_at())
    assert descriptions(gimel_at().plan()) == []
    for compiled in ("by 3.13.2", None):
        built_with(compiled)
        assert descriptions(gimel_at().plan()) == []


def test_code_that_was_changed_by_hand_is_drift_on_every_machine(gimel_at, account, built_with):
    built_with("by 3.13.0")
    apply(gimel_at())
    account.client("lambda").update_function_code(FunctionName="gimel-track", ZipFile=small_zip())
    for compiled in ("by 3.13.0", "by 3.13.2", None):
        built_with(compiled)
        assert "update code of gimel-track" in descriptions(gimel_at().plan())
    apply(gimel_at())
    assert descriptions(gimel_at().plan()) == []
    built_with("by 3.13.0")
    apply(gimel_at())
    assert descriptions(gimel_at().plan()) == []
