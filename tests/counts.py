"""Counts as a Redis of so many HyperLogLogs would read them."""

from __future__ import annotations

from gimel.hyperloglog import BITMAPS, Count, bitmap_error, hyperloglog_error, settled_error


def counted(value: int, precision: int | str = 1) -> Count:
    """This reading of a counter of this precision; 0 stands for an exact counter."""
    if precision in (0, "exact"):
        return Count(value)
    if precision in BITMAPS:
        bits = BITMAPS[precision]
        return Count(value, bitmap_error(value, bits), min(bitmap_error(max(bits, 2 * value), bits), settled_error()))
    return Count(value, hyperloglog_error(value, precision), settled_error(precision))
