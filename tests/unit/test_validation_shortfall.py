"""Backtests of expected shortfall: quantiles, published critical values, and what the statistics say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._validation import shortfall


@pytest.mark.parametrize(
    ("degrees", "value"),
    [(None, 1.959964), (3, 3.182446), (4, 2.776445), (5, 2.570582), (6, 2.446912), (10, 2.228139), (30, 2.042272)],
)
def test_quantiles_as_in_tables(degrees: int | None, value: float) -> None:
    assert shortfall.quantile(0.025, degrees) == pytest.approx(value, abs=1e-6)


def test_expected_shortfall_of_a_tail() -> None:
    assert shortfall.tail(0.025, None).shortfall == pytest.approx(2.337803, abs=1e-6)
    drawn = np.random.default_rng(3).standard_t(5, 1_000_000)
    known = shortfall.tail(0.025, 5)
    assert -drawn[drawn < -known.quantile].mean() == pytest.approx(known.shortfall, abs=0.02)


@pytest.mark.parametrize(("degrees", "bound"), [(None, -0.70), (5, -0.73), (3, -0.81)])
def test_published_critical_values_of_z2(degrees: int | None, bound: float) -> None:
    found = shortfall.drawn(250, 0.025, degrees, 2.0, 0.05)
    assert found.critical[1] == pytest.approx(bound, abs=0.02)
    # Never more than the level, by its own draws.
    assert float((found.z2 <= found.critical[1]).mean()) == pytest.approx(0.05, abs=0.002)
    assert 0.5 < found.power[1] < 0.8


def test_the_same_in_every_run() -> None:
    first = shortfall.drawn(100, 0.05, None, 2.0, 0.05)
    shortfall.drawn.cache_clear()
    assert np.array_equal(first.z2, shortfall.drawn(100, 0.05, None, 2.0, 0.05).z2)


def test_power_is_that_of_losses_that_are_as_much_larger() -> None:
    """By drawing whole paths of returns instead of their tails."""
    random, known = np.random.default_rng(7), shortfall.tail(0.05, 4)
    scale = known.quantile / shortfall.quantile(0.10, 4)
    found = shortfall.drawn(120, 0.05, 4, 2.0, 0.05)
    returns = random.standard_t(4, (4000, 120)) * scale
    hit = returns < -known.quantile
    assert hit.mean() == pytest.approx(0.10, abs=0.003)
    z2 = (np.where(hit, returns, 0).sum(axis=1) / (120 * 0.05 * known.shortfall)) + 1
    assert float((z2 <= found.critical[1]).mean()) == pytest.approx(found.power[1], abs=0.03)


def test_statistics_of_a_model_that_is_right_and_of_none() -> None:
    # As many exceptions as expected, each as large as forecast.
    assert shortfall.statistics([2.0, 3.0], [2.0, 3.0], 40, 0.05) == [0.0, 0.0]
    z1, z2 = shortfall.statistics([4.0, 6.0], [2.0, 3.0], 40, 0.05)
    assert (z1, z2) == (-1.0, -1.0)
    assert shortfall.statistics([], [], 40, 0.05) == [None, 1.0]
    found = shortfall.drawn(40, 0.05, None, 2.0, 0.05)
    assert found.chance(None, 1.0) == (None, 1.0)
    one, two = found.chance(-3.0, -9.0)
    assert one is not None
    assert one < 0.001
    assert two < 0.001


def test_the_tail_is_the_one_that_was_forecast() -> None:
    for degrees in shortfall.TAILS:
        known = shortfall.tail(0.01, degrees)
        assert shortfall.like(known.shortfall / known.quantile, 0.01).degrees == degrees
    assert shortfall.like(1.0, 0.01).degrees is None
    assert shortfall.like(9.0, 0.01).degrees == 3
    assert math.isclose(shortfall.beyond(0.0, 3), 0.5)
