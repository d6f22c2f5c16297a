"""The simulation's HyperLogLog is Redis' own, and its sampler draws from the same distribution."""

import random
import uuid

import numpy as np
import pytest
from scipy.stats import ks_2samp

from gimel.hyperloglog import hyperloglog_error

from .validation.hyperloglog import REGISTERS, add, count, random_hashes, redis_hash, sample_counts


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
