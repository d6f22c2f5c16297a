"""Redis' HyperLogLog in numpy: the same hash, registers and estimate, and a sampler for millions of visitors.

`redis_hash`, `registers` and `estimate` do what PFADD and PFCOUNT do, to the last digit
(tests/test_hyperloglog.py compares them with a real Redis). `sample_counts` draws what PFCOUNT would read
after n distinct items, without making the items.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gimel.hyperloglog import REGISTERS, UNROUNDED_BELOW

INDEX_BITS = 14
HIGHEST_RANK = 64 - INDEX_BITS + 1
REDIS_SEED = 0xADC83B19
ALPHA_INFINITY = 0.721347520444481703680

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Hashes = npt.NDArray[np.uint64]


def redis_hash(texts: list[str]) -> Hashes:
    """MurmurHash64A (Austin Appleby, public domain) with Redis' seed, of texts of one length."""
    data = np.frombuffer("".join(texts).encode(), dtype=np.uint8).reshape(len(texts), -1)
    length = data.shape[1]
    multiplier, shift = np.uint64(0xC6A4A7935BD1E995), np.uint64(47)
    with np.errstate(over="ignore"):
        mixed = np.full(len(texts), np.uint64(REDIS_SEED) ^ (np.uint64(length) * multiplier), dtype=np.uint64)
        whole = length // 8 * 8
        words = np.ascontiguousarray(data[:, :whole]).view("<u8")
        for column in range(words.shape[1]):
            word = words[:, column] * multiplier
            word ^= word >> shift
            mixed = (mixed ^ (word * multiplier)) * multiplier
        if length > whole:
            for place in range(whole, length):
                mixed ^= data[:, place].astype(np.uint64) << np.uint64(8 * (place - whole))
            mixed *= multiplier
        mixed ^= mixed >> shift
        mixed *= multiplier
        mixed ^= mixed >> shift
    return mixed


def random_hashes(random: np.random.Generator, n: int) -> Hashes:
    """The hashes of n distinct random uuids: 64 even bits, as far as anybody can tell."""
    return random.integers(0, 2**64, n, dtype=np.uint64)


def places_and_ranks(hashes: Hashes) -> tuple[Ints, npt.NDArray[np.uint8]]:
    """The register of each item, and the number of trailing zeros of the rest of its hash, plus one."""
    places = (hashes & np.uint64(REGISTERS - 1)).astype(np.int64)
    rest = (hashes >> np.uint64(INDEX_BITS)) | np.uint64(1 << (HIGHEST_RANK - 1))
    return places, np.bitwise_count(rest ^ (rest - np.uint64(1)))


def add(registers: npt.NDArray[np.uint8], hashes: Hashes) -> None:
    """PFADD: each register keeps the highest rank that it has seen."""
    places, ranks = places_and_ranks(hashes)
    np.maximum.at(registers, places, ranks)


def count(registers: npt.NDArray[np.uint8]) -> int:
    """PFCOUNT of one HyperLogLog."""
    return int(estimate(np.bincount(registers, minlength=HIGHEST_RANK + 1)[None, :])[0])


def estimate(histograms: npt.NDArray[np.int64]) -> Ints:
    """PFCOUNT of many, from how many of their registers have each rank 0 ... 51, along the last axis.

    Ertl (2017), arXiv:1702.01284, algorithm 6 (the improved raw estimator), summed in the order in which
    Redis sums.
    """
    m = float(REGISTERS)
    total = m * _tau((m - histograms[..., HIGHEST_RANK]) / m)
    for rank in range(HIGHEST_RANK - 1, 0, -1):
        total += histograms[..., rank]
        total *= 0.5
    total += m * _sigma(histograms[..., 0] / m)
    with np.errstate(divide="ignore"):
        counted: Ints = np.floor(ALPHA_INFINITY * m * m / total + 0.5).astype(np.int64)
    return counted


def sample_counts(random: np.random.Generator, items: npt.ArrayLike, shards: int = 1) -> Ints:
    """What a counter of so many shards reads after each of these numbers of distinct items.

    Of n items, half have the rank 1, a quarter 2 and so on: a multinomial draw. From the highest rank down,
    those that fall into registers without a higher one occupy some of them, and how many is a classical
    occupancy: a normal draw with its exact mean and variance where that is large, a Poisson draw of the
    collisions or of the empty registers where it is small. The estimate needs only how many registers have
    each rank.
    """
    wanted = np.asarray(items, dtype=np.int64)
    parts = wanted[..., None]
    if shards > 1:
        parts = random.multinomial(wanted, np.full(shards, 1 / shards))
    left = parts.copy()
    by_rank: list[Ints] = []
    while left.any() and len(by_rank) < HIGHEST_RANK - 1:
        by_rank.append(random.binomial(left, 0.5))
        left = left - by_rank[-1]
    by_rank.append(left)
    free = np.full(parts.shape, REGISTERS, dtype=np.int64)
    histograms = np.zeros((*parts.shape, HIGHEST_RANK + 1), dtype=np.int64)
    for rank in range(len(by_rank), 0, -1):
        if by_rank[rank - 1].any():
            occupied = occupied_cells(random, random.binomial(by_rank[rank - 1], free / REGISTERS), free)
            histograms[..., rank] = occupied
            free = free - occupied
    histograms[..., 0] = free
    return added(estimate(histograms))


def added(readings: Ints) -> Ints:
    """The counter of which these are the shards' readings along the last axis, as `gimel.counters` adds them up."""
    taken = np.rint(-REGISTERS * np.expm1(-readings / REGISTERS))
    with np.errstate(divide="ignore", invalid="ignore"):
        estimates = np.where(readings < UNROUNDED_BELOW, -REGISTERS * np.log1p(-taken / REGISTERS), readings)
    return np.rint(estimates.sum(axis=-1)).astype(np.int64)


def occupied_cells(random: np.random.Generator, balls: Ints, cells: Ints) -> Ints:
    """In how many of the cells so many balls land."""
    e, b = np.maximum(cells, 1).astype(float), balls.astype(float)
    one, two = np.log1p(-1 / np.maximum(e, 1.5)), np.log1p(-2 / np.maximum(e, 2.5))
    empty = e * np.exp(b * one)
    variance = np.maximum(e * (e - 1) * np.exp(b * two) + empty - empty * empty, 0)
    drawn = np.rint(e - empty + random.standard_normal(e.shape) * np.sqrt(variance))
    small = variance < 12
    collisions = random.poisson(np.where(small & (b < e), np.maximum(b - (e - empty), 0), 0))
    leftover = random.poisson(np.where(small & (b >= e), empty, 0))
    drawn = np.where(small, np.where(b < e, b - collisions, e - leftover), drawn)
    return np.clip(drawn, np.minimum(balls, 1), np.minimum(balls, cells)).astype(np.int64)


def _sigma(x: Floats) -> Floats:
    x = np.array(x, dtype=np.float64)
    full = x == 1.0
    x[full] = 0.5
    weight, total = 1.0, x.copy()
    while True:
        x *= x
        before = total.copy()
        total += x * weight
        weight += weight
        if np.array_equal(before, total):
            break
    total[full] = np.inf
    return total


def _tau(x: Floats) -> Floats:
    x = np.array(x, dtype=np.float64)
    trivial = (x == 0.0) | (x == 1.0)
    if trivial.all():
        return np.zeros_like(x)
    weight, total = 1.0, 1 - x
    while True:
        x = np.sqrt(x)
        before = total.copy()
        weight *= 0.5
        total -= (1 - x) ** 2 * weight
        if np.array_equal(before, total):
            break
    return np.where(trivial, 0.0, total / 3)
