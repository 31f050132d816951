"""Paths by their blocks are what the same paths are day by day."""

from __future__ import annotations

import numpy as np
import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._performance import blocks, bootstrap
from ansible_collections.tradingflow.maintenance.plugins.module_utils._performance.blocks import Blocks


def series(count: int, kind: str) -> np.ndarray:
    random = np.random.default_rng(count)
    values = random.normal(0.0005, 0.01, count)
    if kind == "idle":
        values[random.random(count) < 0.6] = 0.0
    if kind == "falling":
        values = -np.abs(values)
    if kind == "rising":
        values = np.abs(values)
    return values


@pytest.mark.parametrize("kind", ["usual", "idle", "falling", "rising"])
@pytest.mark.parametrize(("count", "periods"), [(3, 9), (60, 90), (251, 251), (700, 900)])
def test_blocks_and_days_agree(count: int, periods: int, kind: str) -> None:
    values = series(count, kind)
    drawn = Blocks(count, periods, 130)
    day_by_day = values[drawn.places()]
    assert day_by_day.shape == (130, periods)
    assert drawn.lengths.sum(axis=0).tolist() == [periods] * 130
    growth = np.log1p(values)
    below = bootstrap.depths_of(day_by_day)
    found = blocks.deepest(growth, drawn)
    assert np.abs(found - np.minimum(below.min(axis=1), 0)).max() < 1e-12
    depth, ago = bootstrap.lasting(values, periods, 130)
    assert np.abs(depth - below[:, -1]).max() < 1e-12
    # By logarithms as well, as levels that are equal must be so in both.
    levels = np.cumsum(np.log1p(day_by_day), axis=1)
    at_peak = levels >= np.maximum(np.maximum.accumulate(levels, axis=1), 0) - 1e-12
    last = np.where(at_peak.any(axis=1), at_peak[:, ::-1].argmax(axis=1), periods)
    assert (ago == last).mean() > 0.99
    often = drawn.counts()
    assert often.sum(axis=1).tolist() == [periods] * 130
    assert np.abs(often @ values - day_by_day.sum(axis=1)).max() < 1e-12


def test_intervals_are_those_of_the_paths() -> None:
    values, target = series(400, "usual"), 0.0001
    drawn = values[Blocks(400, 400, bootstrap.PATHS).places()]
    apart = drawn - target
    deepest = np.minimum(bootstrap.depths_of(drawn).min(axis=1), 0)
    by_hand = {
        "sortino": apart.mean(axis=1) / np.sqrt((np.minimum(apart, 0) ** 2).mean(axis=1)),
        "omega": np.maximum(apart, 0).sum(axis=1) / np.maximum(-apart, 0).sum(axis=1),
        "volatility": drawn.std(axis=1, ddof=1),
        "maximum_drawdown": deepest,
        "calmar": ((1 + drawn).prod(axis=1) ** (252 / 400) - 1) / -deepest,
    }
    found = bootstrap.intervals(values.tolist(), "x", target, 0.9, 252)
    assert found.keys() == by_hand.keys()
    for key, each in by_hand.items():
        ordered = np.sort(each)
        # The places that the shares are of, within what a float is to either side.
        assert found[key][0] == pytest.approx(ordered[int((0.5 - 0.9 / 2) * 400)], abs=1e-12), key
        assert found[key][1] == pytest.approx(ordered[int((0.5 + 0.9 / 2) * 400)], abs=1e-12), key


def test_many_strategies_get_fewer_paths_each() -> None:
    assert bootstrap.bounded(1000, 1) == bootstrap.bounded(1000, 200) == (1000, 400)
    assert bootstrap.bounded(1000, 400) == (500, 400)
    assert bootstrap.bounded(1000, 1000) == bootstrap.bounded(1000, 10**6) == (200, 200)
    # Who asks for fewer gets these.
    assert bootstrap.bounded(100, 1000) == (100, 200)
    values = series(400, "usual").tolist()
    found = bootstrap.intervals(values, "x", 0.0, 0.9, 252, 200)
    wider = bootstrap.intervals(values, "x", 0.0, 0.9, 252)
    assert found != wider
    assert found["volatility"] == pytest.approx(wider["volatility"], rel=0.03)


def test_what_loses_all_is_drawn_day_by_day() -> None:
    values = series(100, "usual")
    values[7] = -1.0
    found = bootstrap.intervals(values.tolist(), "x", 0.0, 0.95, 50)
    assert found["maximum_drawdown"][0] == -1
    depth, ago = bootstrap.lasting(values, 100, 100)
    assert depth.min() == -1
    assert ago.max() <= 100


def test_blocks_are_as_long_as_they_should_be() -> None:
    drawn = Blocks(1000, 5000, 200)
    inner = drawn.lengths[:400]
    assert inner.mean() == pytest.approx(blocks.block(1000), rel=0.02)
    assert drawn.starts.min() >= 0
    assert drawn.starts.max() == 999
    assert np.bincount(drawn.starts[:400].ravel(), minlength=1000).min() > 0
