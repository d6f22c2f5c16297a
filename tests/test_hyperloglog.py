"""What a counter reads and its error; and the simulation's HyperLogLog, which counts as Redis does."""

import random
import uuid
from math import floor, inf, log1p, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from gimel.hyperloglog import (
    BITMAPS,
    REGISTERS,
    Count,
    bitmap_error,
    hyperloglog_error,
    linear_count,
    settled_error,
    total,
    unrounded,
)

from .validation.hyperloglog import add, count, random_hashes, redis_hash, sample_counts


def counted(hashes):
    registers = np.zeros(REGISTERS, dtype=np.uint8)
    if len(hashes):
        add(registers, hashes)
    return count(registers)


@pytest.mark.parametrize("n", [0, 1, 3, 100, 1500, 20_000, 120_000])
def test_it_counts_uuids_to_the_last_digit_as_redis_does(real, n):
    chance = random.Random(n)
    uuids = [str(uuid.UUID(int=chance.getrandbits(128), version=4)) for _ in range(n)]
    real.delete("uuids")
    for start in range(0, n, 10_000):
        real.pfadd("uuids", *uuids[start : start + 10_000])
    assert counted(redis_hash(uuids) if uuids else []) == real.pfcount("uuids")


def test_it_counts_sha1_uuids_as_redis_does(real):
    chance = random.Random(1)
    uuids = [f"{chance.getrandbits(160):040x}" for _ in range(5000)]
    real.delete("sha1")
    real.pfadd("sha1", *uuids)
    assert counted(redis_hash(uuids)) == real.pfcount("sha1")


@pytest.mark.parametrize("n", [30, 1000, 30_000, 200_000])
def test_the_sampler_draws_what_hashed_visitors_give(n):
    chance = np.random.default_rng(n)
    hashed = np.array([counted(random_hashes(chance, n)) for _ in range(400)])
    sampled = sample_counts(chance, np.full(20_000, n))
    spread = ks_2samp(hashed + chance.random(hashed.size), sampled + chance.random(sampled.size))
    assert spread.pvalue > 0.001
    assert sampled.std() / hashed.std() == pytest.approx(1, abs=0.12)


@pytest.mark.parametrize("shards", [1, 16])
@pytest.mark.parametrize("n", [300, 10_000, 100_000, 10_000_000])
def test_the_counters_error_is_at_most_the_stated_one(n, shards):
    sampled = sample_counts(np.random.default_rng(n), np.full(6000, n), shards)
    assert sampled.mean() / n == pytest.approx(1, abs=0.003)
    assert 0.78 < sampled.std() / n / hyperloglog_error(n, shards) < 1.04


class TestCount:
    @pytest.mark.parametrize(
        ("value", "error"), [(-1, 0.0), (1, -0.1), (float("nan"), 0.0), (1, float("nan")), (1, inf)]
    )
    def test_what_no_counter_reads_is_refused(self, value, error):
        with pytest.raises(ValueError, match="a counter reads"):
            Count(value, error)

    def test_it_knows_the_error_it_will_have(self):
        assert Count(100, 0.005, 0.008).settled_error == 0.008
        assert Count(10**6, 0.008).settled_error == 0.008

    def test_an_error_has_five_digits(self):
        assert total(0, [14_797]) == Count(14_797, 0.0064976, 0.008125)

    @pytest.mark.parametrize("shards", [1, 4, 16])
    def test_a_sum_of_shards_will_have_the_error_of_all_of_them(self, shards):
        assert total(0, [1000] * shards).settled_error == pytest.approx(settled_error(shards), rel=1e-3)
        assert total(0, [1000] * shards).error == pytest.approx(hyperloglog_error(1000 * shards, shards), rel=1e-3)

    def test_an_exact_part_has_no_error(self):
        assert total(1000, []) == Count(1000)
        assert total(10**6, [10**6]).error == pytest.approx(settled_error() / 2)

    def test_a_sum_is_the_same_in_whatever_order_redis_gives_its_parts(self):
        chance, found = random.Random(20261124), set()
        parts = [chance.randrange(9_000) for _ in range(256)]
        for _ in range(20):
            chance.shuffle(parts)
            found.add(total(7, parts))
        assert len(found) == 1


class TestBitmap:
    BITS = BITMAPS["bitmap"]

    def read(self, visitors: float, hyperloglog: float = 1.0, **others: int) -> Count:
        """What a bitmap of so many visitors counts whose HyperLogLog reads that many times as many."""
        bits_set = round(-self.BITS * np.expm1(-visitors / self.BITS))
        return total(0, [round(visitors * hyperloglog)], {"bitmap": bits_set, **others})

    @pytest.mark.parametrize("n", [1_000, 20_000, 300_000, 2_000_000])
    def test_its_error_is_that_of_the_formula(self, n):
        """The long run, to 10 million, is `make validate-statistics`."""
        bits, runs = self.BITS // 16, 1_000  # a smaller one of the same load
        items, chance = n // 16, np.random.default_rng(n)
        rows = np.arange(runs)[:, np.newaxis] * bits
        bits_set = np.zeros(runs, dtype=int)
        for part in range(0, runs, 100):  # bounds the memory
            taken = np.zeros(100 * bits, dtype=bool)
            taken[(rows[:100] + chance.integers(0, bits, (100, items))).ravel()] = True
            bits_set[part : part + 100] = taken.reshape(100, bits).sum(axis=1)
        counted = np.array([linear_count(int(one), bits) for one in bits_set])
        assert counted.mean() == pytest.approx(items, rel=4 * bitmap_error(items, bits) / sqrt(runs) + 1e-5)
        assert counted.std() / items == pytest.approx(bitmap_error(items, bits), rel=0.1)

    @pytest.mark.parametrize("n", [1, 100, 10_000, 1_000_000, 10_000_000])
    def test_it_counts_with_its_own_error(self, n):
        found = self.read(n)
        assert found.value == pytest.approx(n, rel=1e-3)
        assert found.error == pytest.approx(bitmap_error(n, self.BITS), rel=1e-2)
        later = bitmap_error(max(2 * n, self.BITS), self.BITS)
        assert found.settled_error == pytest.approx(min(later, settled_error()), rel=1e-3)
        assert not found.is_full

    def test_it_is_full_where_the_hyperloglog_is_more_exact(self):
        for visitors, is_full in (14_000_000, False), (14_500_000, True), (30_000_000, True):
            found = self.read(visitors)
            assert found.is_full == is_full
            assert found.value == pytest.approx(visitors, rel=0.01)
            assert (found.error == pytest.approx(settled_error())) == is_full
        assert total(0, [10**9], {"bitmap": self.BITS}) == Count(10**9, settled_error(), settled_error(), True)

    @pytest.mark.parametrize("n", [1_000, 10_000, 1_000_000])
    def test_it_has_other_visitors_where_the_hyperloglog_reads_too_many_more_or_less(self, n):
        near = 4.8 * hyperloglog_error(n)
        for factor, of_bitmap in (0.94, False), (1 - near, True), (1 + near, True), (1.06, False):
            assert (self.read(n, factor).value == pytest.approx(n, rel=1e-3)) == of_bitmap
            assert not self.read(n, factor).is_full

    def test_a_few_visitors_that_share_registers_cast_no_doubt(self):
        assert self.read(10, 0.8).value == 10

    def test_without_its_hyperloglog_it_counts_nothing(self):
        assert self.read(1_000, 0) == Count(0)

    def test_the_more_exact_of_two_counts(self):
        assert self.read(10_000, **{"bitmap-768": 9_990}).value == pytest.approx(10_000, abs=20)
        assert self.read(10_000, **{"bitmap-768": 9_990}).error < bitmap_error(10_000, self.BITS) * 0.6

    def test_what_other_counters_have_is_added(self):
        found = total(500, [10_000, 2_000, 3_000], {"bitmap": 9_968})
        assert found.value == pytest.approx(15_500, abs=3)
        assert found.error < total(500, [10_000, 2_000, 3_000]).error / 2
        assert total(500, [10_000, 2_000, 3_000], {"bitmap": 0}) == total(500, [10_000, 2_000, 3_000])


class TestHyperloglogError:
    def test_nothing_is_counted_without_error(self):
        assert hyperloglog_error(0) == 0.0

    def test_a_large_count_has_redis_own_error(self):
        assert hyperloglog_error(10_000_000) == pytest.approx(0.0081, rel=0.01)

    def test_a_small_count_has_linear_countings_error(self):
        assert hyperloglog_error(1000) == pytest.approx(1 / sqrt(2 * 16384), rel=0.02)

    def test_sixteen_shards_have_a_quarter_of_the_error(self):
        assert hyperloglog_error(16_000_000, 16) == hyperloglog_error(1_000_000) / 4

    @given(st.floats(0, 1e18), st.integers(1, 1000))
    def test_it_never_exceeds_the_plateau(self, n, shards):
        assert 0 <= hyperloglog_error(n, shards) <= 1.04 / 128 / sqrt(shards) * (1 + 1e-12)

    def test_a_counter_without_shards_is_refused(self):
        with pytest.raises(ValueError, match="shard"):
            hyperloglog_error(10, 0)


class TestUnrounded:
    def test_a_few_visitors_are_read_as_they_are(self):
        assert [round(unrounded(reading)) for reading in range(100)] == list(range(100))

    def test_it_gives_back_what_was_rounded(self):
        for taken in range(900):
            estimate = -REGISTERS * log1p(-taken / REGISTERS)
            assert unrounded(floor(estimate + 0.5)) == pytest.approx(estimate)

    @pytest.mark.parametrize("reading", [REGISTERS // 16, 123_456])
    def test_a_large_reading_stays(self, reading):
        assert unrounded(reading) == reading
