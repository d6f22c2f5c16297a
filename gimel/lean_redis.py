"""Imports redis-py without loading what only its asyncio half uses, which would be a third of a cold start.

It imports that half, asyncio and importlib.metadata by itself, but a synchronous client uses none of them. So it gets
stand-ins, which load the real module when something of it is used after all. Nothing of redis-py is changed.
"""

from __future__ import annotations

import gc
import importlib
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

UNUSED = ("asyncio", "redis.asyncio", "importlib.metadata")


class Empty:
    """What a stand-in has while redis-py is imported, under any name."""


class StandIn(ModuleType):
    """Has any name: while redis-py is imported, as an empty class, which annotations may contain; later the real one.

    Names that are imported *from* it stay empty classes. In redis-py, these are for its asyncio half alone: a test has
    the list.
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__} has no attribute {name}")
        if _finder in sys.meta_path:
            return type(name, (Empty,), {})
        return getattr(importlib.import_module(self.__name__), name)


class _Finder:
    """Finds stand-ins for the unused modules and everything in them."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        parts = name.split(".")
        if any(".".join(parts[:length]) in UNUSED for length in (1, 2)):
            return ModuleSpec(name, self, is_package=True)  # type: ignore[arg-type]
        return None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


_finder = _Finder()


def load() -> None:
    """Import redis. Whoever imports the unused modules afterwards gets the real ones."""
    if "redis" in sys.modules:
        return
    sys.meta_path.insert(0, _finder)
    gc.disable()  # imports leave hardly any garbage, and looking for it is a twentieth of a cold start
    try:
        import redis  # noqa: F401
    finally:
        gc.enable()
        sys.meta_path.remove(_finder)
        for name in [name for name, module in sys.modules.items() if isinstance(module, StandIn)]:
            del sys.modules[name]
            parent, _, own = name.rpartition(".")
            if parent in sys.modules:
                vars(sys.modules[parent]).pop(own, None)
